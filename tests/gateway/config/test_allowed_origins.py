"""The list of origins: which names it accepts, and which origins each name allows."""

import pytest

from gateway.config.allowed_origins import AllowedOrigins, is_valid_pattern, normalized_origin

NAMED = (
    "https://app.example.com",
    "http://localhost:3000",
    "https://*.tenants.example",
    "capacitor://localhost",
    "file://",
)

ALLOWED = [
    *NAMED[:2],
    "wss://app.example.com",
    "HTTPS://App.Example.com:443",
    "wss://app.example.com:443",
    "ws://LOCALHOST:3000",
    "https://a.tenants.example",
    "https://A-1.tenants.example:443",
    "capacitor://localhost",
    "file://",
    "FILE://",
]

REFUSED = [
    *("http://app.example.com", "ws://app.example.com", "https://app.example.com:8443", "https://app.example.com:80"),
    *(
        "https://tenants.example",
        "https://a.b.tenants.example",
        "https://evil-tenants.example",
        "https://.tenants.example",
    ),
    *("https://a.tenants.example.evil.example", "https://a.tenants.example:8443", "http://a.tenants.example"),
    *("https://*.tenants.example", "https://a@b.tenants.example", "https://evil.example/.tenants.example"),
    *("https://evil.example#.tenants.example", "https://a\n.tenants.example", "https://a.tenants.example\n"),
    *(
        f"https://{'a' * 300}.tenants.example",
        "file:///",
        "file://evil.example",
        "null",
        "",
        "*",
        "https://",
        "ionic://localhost",
        "capacitor://localhost.evil",
    ),
]


@pytest.mark.parametrize("origin", ALLOWED)
def test_an_origin_is_let_in_however_a_program_writes_it(origin: str) -> None:
    assert AllowedOrigins(NAMED).allows(origin)


@pytest.mark.parametrize("origin", REFUSED)
def test_nothing_else_is_let_in(origin: str) -> None:
    assert not AllowedOrigins(NAMED).allows(origin)


def test_without_a_list_nothing_is_let_in() -> None:
    assert not any(AllowedOrigins(()).allows(origin) for origin in [*ALLOWED, *REFUSED])


@pytest.mark.parametrize(
    "text",
    [
        *("https://*.example.com", "https://*.example.com:8443", "http://*.localhost:3000", "https://*.a.b.example"),
        *("file://", "app://.", "app://-", "chrome-extension://abcdef", "capacitor://localhost", "http://[::1]:3000"),
    ],
)
def test_a_setting_may_name(text: str) -> None:
    assert is_valid_pattern(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "https://*",
            "https://*.com",
            "https://*:443",
            "*.example.com",
            "*://app.example.com",
            "https://*example.com",
        ),
        *("https://a.*.example.com", "https://*.*.example.com", "https://app-*.example.com", "https://*.0.0.1"),
        *("https://*.example.com:443", "https://*.example.com/", "https://*.Example.com", "https://*.example.com."),
        *("null", "wss://app.example.com", "file:///", "https://", "app://*", "http://*.1:3000"),
    ],
)
def test_no_setting_may_name(text: str) -> None:
    assert not is_valid_pattern(text)


def test_the_line_to_add_has_those_of_before_and_the_browsers_writing_of_the_new_one() -> None:
    allowed = AllowedOrigins(("https://a.example",))
    assert allowed.line_to_add("WSS://B.example:443") == "GATEWAY_ALLOWED_ORIGINS=https://a.example,https://b.example"
    assert allowed.line_to_add("https://b.example\nGATEWAY_X=1") is None
    assert normalized_origin("null") is None
