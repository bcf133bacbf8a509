"""The routes in use."""

from collections.abc import Callable

from gateway.routes.model import NO_ROUTES, Routes

OnChange = Callable[[Routes], None]


class RoutesReloader:
    """Holds the routes in use, and reports when they change."""

    def __init__(self, current: Routes = NO_ROUTES) -> None:
        self.current = current
        self._listeners: list[OnChange] = []

    def on_change(self, listener: OnChange) -> None:
        """Call this function with the new routes after each change."""
        self._listeners.append(listener)
