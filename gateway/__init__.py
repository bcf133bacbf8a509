"""The gateway: sockets, tokens, storage and fan-out, for handlers that only know the verbs of a session.

Read `app` first: it builds everything. `state` is what it builds. The folders import only those before them: `core`,
`config`, `store`, `transport`, `bus`, `auth`, `cluster`, `connections`, `rooms`, `http`, `chat`, and `cli` last.
`lifespan`, `embedding`, `publishing` and `testing` are for applications that build on the gateway. `asgi` is the
application for any ASGI server.
"""

__version__ = "1.0.0rc1"

import sys
from importlib import import_module
from typing import TYPE_CHECKING

from gateway.core.import_names import check_imported

try:
    check_imported()
except ImportError as error:
    if sys.argv[:1] == ["-m"]:  # Python writes this there during `python -m gateway`
        sys.exit(f"gateway: {error}")
    raise

if TYPE_CHECKING:
    from gateway.app import create_app as create_app
    from gateway.auth.external.app_authorizers import Identity as Identity
    from gateway.embedding import attach as attach
    from gateway.publishing import Publisher as Publisher
    from gateway.publishing import publisher_of as publisher_of
else:
    _MODULES = {
        "create_app": "gateway.app",
        "Identity": "gateway.auth.external.app_authorizers",
        "attach": "gateway.embedding",
        "Publisher": "gateway.publishing",
        "publisher_of": "gateway.publishing",
    }

    def __getattr__(name: str) -> object:
        """Import a public name at its first use, so that `import gateway` alone stays cheap."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)
