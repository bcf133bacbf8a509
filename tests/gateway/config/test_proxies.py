"""The gateway believes only the proxies of `GATEWAY_TRUSTED_PROXIES` about a client's address."""

import json
import logging
from typing import Any

import pytest
import uvicorn

from gateway.config.proxies import MAX_WARNINGS, TrustedProxies
from gateway.config.settings import load_settings
from gateway.core.start_error import StartError
from tests.conftest import OwnGateway
from tests.support.client import App

WRONG = {
    "nginx": "names are not looked up",
    "true": "names are not looked up",
    '"10.0.0.5"': "leave out the quotes",
    "10.0.0.5  # the proxy": "put the comment on a line of its own",
    '["10.0.0.5"]': "leave out the quotes",
    "10.0.0.5,,10.0.0.6": "nothing between two commas",
    "10.0.0.5,": "nothing between two commas",
    "10.0.0.5 10.0.0.6": "separated by commas",
    "*": "any client could claim any address",
    "0.0.0.0/0": "any client could claim any address",
    "::/0": "any client could claim any address",
    "::ffff:0.0.0.0/96": "any client could claim any address",
    "10.0.0.5/8": "its network is 10.0.0.0/8",
    "10.0.0.0/33": "such as 10.0.0.5 or 10.0.0.0/8",
    "10.0.0.5:8080": "such as 10.0.0.5 or 10.0.0.0/8",
    "010.0.0.5": "such as 10.0.0.5 or 10.0.0.0/8",
    "10.0.0.1-10.0.0.9": "such as 10.0.0.5 or 10.0.0.0/8",
    "[::1]": "leave out the brackets",
    "fe80::1%eth0": "leave out the zone",
    "/run/gateway.sock": "unix",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_address_or_network_stops_the_start_in_one_line(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GATEWAY_TRUSTED_PROXIES", text)
    with pytest.raises(StartError) as refused:
        load_settings(_env_file=None)
    line = str(refused.value)
    assert line.startswith("GATEWAY_TRUSTED_PROXIES: expected addresses or networks of proxies")
    assert "\n" not in line
    assert WRONG[text] in line


def test_the_line_says_what_came_and_no_line_break_of_it_gets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_TRUSTED_PROXIES", "10.0.0.5, a\nforged line")
    with pytest.raises(StartError, match=r"got 'a\\nforged line'"):
        load_settings(_env_file=None)


@pytest.mark.parametrize("text", ["", " ", "10.0.0.5", " 10.0.0.5 , fd00::/8,unix", "::ffff:10.0.0.0/104"])
def test_addresses_networks_and_nothing_are_taken(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GATEWAY_TRUSTED_PROXIES", text)
    assert load_settings(_env_file=None).trusted_proxies == text.strip()


def applied(trusted: str, peer: str | None, *headers: tuple[str, str], type: str = "http") -> tuple[Any, Any]:
    """Return the client's address and the scheme for a request from `peer`."""
    raw = [(f"x-forwarded-{name}".encode(), value.encode("latin-1")) for name, value in headers]
    scheme = "ws" if type == "websocket" else "http"
    scope = {"type": type, "scheme": scheme, "client": peer and (peer, 4711), "headers": raw}
    TrustedProxies(trusted).apply(scope)
    client: Any = scope["client"]
    return client and client[0], scope["scheme"]


PROXY, CDN, CLIENT, CLAIM = "10.0.0.5", "203.0.113.9", "198.51.100.7", "192.0.2.66"

ADDRESSES = {
    "of a client without a proxy": ("", PROXY, [], PROXY),
    "that a stranger claims": ("", CLIENT, [CLAIM], CLIENT),
    "that a proxy adds": (PROXY, PROXY, [CLIENT], CLIENT),
    "that a proxy of a network adds": ("10.0.0.0/8", PROXY, [CLIENT], CLIENT),
    "behind a claim of the client": (PROXY, PROXY, [f"{CLAIM}, {CLIENT}"], CLIENT),
    "behind a claim to be a proxy": (PROXY, PROXY, [f"{CLAIM}, {PROXY}, {CLIENT}"], CLIENT),
    "through two proxies": (f"{PROXY},{CDN}", PROXY, [f"{CLAIM}, {CLIENT}, {CDN}"], CLIENT),
    "through a second proxy that is not named": (PROXY, PROXY, [f"{CLIENT}, {CDN}"], CDN),
    "in several headers": (f"{PROXY},{CDN}", PROXY, [CLAIM, CLIENT, CDN], CLIENT),
    "of a proxy itself": (f"{PROXY},{CDN}", PROXY, [CDN], CDN),
    "with a port": (PROXY, PROXY, [f"{CLIENT}:50123"], CLIENT),
    "of IPv6": (PROXY, PROXY, ["2001:db8::7"], "2001:db8::7"),
    "of IPv6 in brackets": (PROXY, PROXY, ["[2001:db8::7]"], "2001:db8::7"),
    "of IPv6 with a port": (PROXY, PROXY, ["[2001:DB8:0::7]:443"], "2001:db8::7"),
    "of IPv4 within IPv6": (PROXY, PROXY, [f"::ffff:{CLIENT}"], CLIENT),
    "that the proxy does not know": (PROXY, PROXY, [f"{CLAIM}, unknown"], PROXY),
    "that is none": (PROXY, PROXY, ["<script>\r\n"], PROXY),
    "that is far too long": (PROXY, PROXY, ["1" * 60_000], PROXY),
    "between empty items": (PROXY, PROXY, [f",, {CLIENT} ,"], CLIENT),
    "in an empty header": (PROXY, PROXY, [""], PROXY),
    "of a proxy on a socket of ::": (PROXY, f"::ffff:{PROXY}", [CLIENT], CLIENT),
    "of a proxy named as the socket shows it": (f"::ffff:{PROXY}", PROXY, [CLIENT], CLIENT),
    "of a client on a socket of ::": ("", f"::ffff:{CLIENT}", [], CLIENT),
    "of a proxy in a network within IPv6": ("::ffff:10.0.0.0/104", f"::ffff:{PROXY}", [CLIENT], CLIENT),
    "of a proxy on a link": ("fe80::1", "fe80::1%eth0", [CLIENT], CLIENT),
    "over a Unix socket": ("unix", None, [CLIENT], CLIENT),
    "over a Unix socket that is not named": (PROXY, None, [CLIENT], None),
    "that IPv6 has in two writings": ("2001:0db8::0001", "2001:db8::1", [CLIENT], CLIENT),
}


@pytest.mark.parametrize(("trusted", "peer", "forwarded", "address"), ADDRESSES.values(), ids=ADDRESSES)
def test_the_address(trusted: str, peer: str | None, forwarded: list[str], address: str | None) -> None:
    assert applied(trusted, peer, *(("for", value) for value in forwarded))[0] == address


def test_an_address_that_the_server_has_applied_already_stays() -> None:
    assert applied(f"{PROXY},{CDN}", CDN, ("for", f"{CLIENT}, {CDN}"))[0] == CLIENT
    assert applied(PROXY, CLIENT, ("for", CLIENT))[0] == CLIENT


SCHEMES = {
    "of a trusted proxy": (PROXY, [("proto", "https")], "https"),
    "in capitals": (PROXY, [("proto", "HTTPS")], "https"),
    "of a stranger": ("", [("proto", "https")], "http"),
    "that is none": (PROXY, [("proto", "gopher")], "http"),
    "of the last proxy, which alone is trusted": (
        PROXY,
        [("for", f"{CLIENT}, {CDN}"), ("proto", "https, http")],
        "http",
    ),
    "of the first of two": (f"{PROXY},{CDN}", [("for", f"{CLIENT}, {CDN}"), ("proto", "https, http")], "https"),
    "behind a claim": (PROXY, [("for", CLIENT), ("proto", "https"), ("proto", "http")], "http"),
    "of the last of two proxies, for both": (
        f"{PROXY},{CDN}",
        [("for", f"{CLIENT}, {CDN}"), ("proto", "https")],
        "https",
    ),
    "of a WebSocket": (PROXY, [("proto", "wss")], "https"),
}


@pytest.mark.parametrize(("trusted", "headers", "scheme"), SCHEMES.values(), ids=SCHEMES)
def test_the_scheme(trusted: str, headers: list[tuple[str, str]], scheme: str) -> None:
    assert applied(trusted, PROXY, *headers)[1] == scheme
    assert applied(trusted, PROXY, *headers, type="websocket")[1] == scheme.replace("http", "ws")


def test_a_proxy_that_is_not_named_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    proxies = TrustedProxies("10.0.0.1")

    def come_from(peer: str) -> None:
        proxies.apply({"type": "http", "client": (peer, 1), "headers": [(b"x-forwarded-for", CLIENT.encode())]})

    for _ in range(3):
        come_from(f"::ffff:{PROXY}")
    [line] = [record.getMessage() for record in caplog.records]
    assert "GATEWAY_TRUSTED_PROXIES=10.0.0.5" in line
    for number in range(100):
        come_from(f"192.0.2.{number}")
    assert len(caplog.records) == MAX_WARNINGS


async def told_addresses(app: App) -> set[str]:
    """Return a user's address according to the sessions and the audit log."""
    headers = {"X-Forwarded-For": f"{CLAIM}, {CLIENT}"}
    app.http.headers.update(headers)
    token = (await app.grant("alice"))["access_token"]  # over HTTP, with the header
    sessions = (await app.ask("GET", "/users/me/sessions", token)).json()["sessions"]
    lines = (app.gateway.settings.data_dir / "audit.log").read_text().splitlines()
    return {sessions[0]["address"]} | {json.loads(line)["address"] for line in lines}


async def test_the_limits_the_audit_log_and_the_sessions_see_the_same_address(own_gateway: OwnGateway) -> None:
    gateway = own_gateway(trusted_proxies="127.0.0.1", max_connections_per_address=1)
    async with App(gateway) as app:
        assert await told_addresses(app) == {CLIENT}
        token = await app.token("alice")
        for address in (CLIENT, CLAIM):
            headers = {"X-Forwarded-For": address}
            async with app.socket(f"?token={token}", additional_headers=headers) as client:
                await client.expect("welcome")
                async with app.socket(f"?token={token}", additional_headers=headers) as another:
                    await another.expect("bye", code=1013)


async def test_a_stranger_is_not_believed_by_any_of_them(
    own_gateway: OwnGateway, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with App(own_gateway()) as app:
            assert await told_addresses(app) == {"127.0.0.1"}
    assert [record.getMessage().count("GATEWAY_TRUSTED_PROXIES=127.0.0.1") for record in caplog.records] == [1]


async def test_another_asgi_server_changes_nothing(own_gateway: OwnGateway) -> None:
    plain = uvicorn.Config("gateway.asgi:app", log_config=None)
    options = {"http": "h11", "ws": "websockets-sansio", "proxy_headers": plain.proxy_headers}
    gateway = own_gateway(trusted_proxies="127.0.0.1", options=options)
    async with App(gateway) as app:
        assert plain.proxy_headers
        assert await told_addresses(app) == {CLIENT}
