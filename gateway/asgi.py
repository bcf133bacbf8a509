"""The application for any ASGI server: `uvicorn gateway.asgi:app`, `fastapi run`, and the like."""

import sys

from gateway.app import create_app
from gateway.core.start_error import StartError

try:
    app = create_app()
except StartError as error:
    sys.exit(f"gateway: {error}")
