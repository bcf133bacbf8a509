"""The machinery: sockets, tokens, storage and fan-out. It gives the handlers their verbs."""

__version__ = "0.1.0"

import sys

from gateway.core.import_names import check_imported

try:
    check_imported()
except ImportError as error:
    if sys.argv[:1] == ["-m"]:  # which is what Python writes there while it looks for `python -m gateway`
        sys.exit(f"gateway: {error}")
    raise
