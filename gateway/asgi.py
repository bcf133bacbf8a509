"""The application for any ASGI server: `uvicorn gateway.asgi:app`, `fastapi run`, and the like."""

from gateway.app import create_app

app = create_app()
