"""Which route takes a message."""

import pytest

from gateway.routes.model import NO_ROUTES, Route, Routes

ROUTES = Routes(
    (Route("orders.*"), Route("orders.create"), Route("orders.stock.*"), Route("orders.stock.list"), Route("ping2"))
)


@pytest.mark.parametrize(
    ("type", "pattern"),
    [
        ("orders.create", "orders.create"),
        ("orders.cancel", "orders.*"),
        ("orders.create.now", "orders.*"),
        ("orders.stock.list", "orders.stock.list"),
        ("orders.stock.add", "orders.stock.*"),
        ("orders.stock.add.more", "orders.stock.*"),
        ("orders.stock", "orders.*"),
        ("orders..", "orders.*"),
        ("ping2", "ping2"),
        ("ping2.more", None),
        ("orders", None),
        ("orders.", None),
        ("orders2.create", None),
        (".orders.create", None),
        ("", None),
        (".", None),
        ("Orders.create", None),
    ],
)
def test_its_own_route_goes_before_that_of_the_longest_prefix(type: str, pattern: str | None) -> None:
    found = ROUTES.find(type)
    assert (found and found.pattern) == pattern


def test_without_routes_no_message_has_one() -> None:
    assert NO_ROUTES.find("orders.create") is None


def test_routes_are_equal_if_they_say_the_same() -> None:
    assert Routes((Route("a.*", url="http://127.0.0.1/"),)) == Routes((Route("a.*", url="http://127.0.0.1/"),))
    assert Routes((Route("a.*"),)) != Routes((Route("a.*", rate=1),))


def test_a_route_without_a_url_is_for_workers() -> None:
    assert Route("a.*").is_for_workers
    assert not Route("a.*", url="http://127.0.0.1/").is_for_workers
