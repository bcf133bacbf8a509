"""Takes apart a URL that may contain a user name and a password.

No error of this module quotes the URL, because a wrong URL may have a part of its password anywhere. The parsers of
the standard library quote what they refuse, and silently drop line breaks.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

ENCODE = (
    "expected the special characters in the user name and the password percent-encoded,"
    " such as %40 for @, %2F for /, %3A for :, %23 for #, %3F for ?, %25 for % and %20 for a space"
)

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?:(?P<username>[^:@/?#]*)(?::(?P<password>[^@/?#]*))?@)?"
    r"(?P<hosts>[^@/?#]*)"
    r"(?:/(?P<path>[^@?#]*))?"
    r"(?:\?(?P<query>[^@#]*))?"
)
_WRONG_ENCODING = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(
    rf"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>{_LABEL}(?:\.{_LABEL})*\.?))?(?::(?P<port>[0-9]{{1,5}}))?"
)


@dataclass(frozen=True)
class UrlParts:
    """The parts of a URL, decoded except for the hosts and the path."""

    scheme: str
    username: str | None
    password: str | None = field(repr=False)
    hosts: str
    path: str
    query: dict[str, str] = field(repr=False)


def split(text: str, expected: str) -> UrlParts:
    """Return the parts of a URL, or raise `ValueError` with `expected`, or with which characters to encode."""
    if not text.isprintable() or " " in text or _WRONG_ENCODING.search(text):
        raise ValueError(ENCODE)
    found = _URL.fullmatch(text)
    if found is None:
        raise ValueError(ENCODE if "@" in text else expected)
    return UrlParts(
        scheme=found["scheme"].lower(),
        username=decoded(found["username"] or "") or None,
        password=decoded(found["password"] or "") or None,
        hosts=found["hosts"],
        path=found["path"] or "",
        query=_query(found["query"] or "", expected),
    )


def decoded(text: str) -> str:
    """Return a part of a URL without its percent-encoding, or raise `ValueError` if the result is not UTF-8."""
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(ENCODE) from None
    if "\0" in plain:
        raise ValueError(ENCODE)
    return plain


def host_and_port(text: str, default_port: int, expected: str) -> tuple[str, int]:
    """Return the host and the port of one server in a URL, or raise `ValueError`. The host may be empty."""
    found = _HOST.fullmatch(text)
    if found is None:
        raise ValueError(expected)
    port = default_port if found["port"] is None else int(found["port"])
    if port > 65535:
        raise ValueError(expected)
    return found["address"] or found["name"] or "", port


def _query(text: str, expected: str) -> dict[str, str]:
    query = {}
    for item in text.split("&") if text else []:
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError(expected)
        query[decoded(name)] = decoded(value)
    return query
