"""A refused handshake, in the two ways that a setting chooses between."""

import pytest
from websockets.exceptions import InvalidStatus

from tests.conftest import OwnGateway
from tests.support.client import App


async def test_a_refused_handshake_can_be_a_plain_401_with_the_error_as_its_body(
    own_gateway: OwnGateway, caplog: pytest.LogCaptureFixture
) -> None:
    async with App(own_gateway(handshake_rejection="http")) as app:
        with pytest.raises(InvalidStatus) as refused:
            async with app.socket("?token=nonsense"):
                pass
        response = refused.value.response
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert response.headers["X-Request-ID"]
        assert b'"name":"authentication_failed"' in response.body
        async with app.connect("alice"):
            pass
    assert "ERROR" not in caplog.text  # any client could fill the disk


async def test_a_token_of_9000_characters_is_answered_and_not_left_waiting(app: App) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with app.socket("?token=" + "a" * 9000):
            pass
    assert refused.value.response.status_code == 431
