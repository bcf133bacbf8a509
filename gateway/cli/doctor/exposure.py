"""What the network sees of a gateway, as the settings say."""

from collections.abc import Iterator
from ipaddress import ip_address
from urllib.parse import urlsplit

from gateway.cli.doctor.findings import Finding, ok, problem, warning
from gateway.cli.doctor.subject import Subject
from gateway.config.proxies import TrustedProxies
from gateway.config.unfit_secrets import is_guessable

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
PUBLIC_ADDRESSES = ("203.0.113.7", "2001:db8::7")
"""Addresses of documents (RFC 5737, RFC 3849), which no proxy has."""

HEARTBEAT_SECONDS = 55
"""Most proxies cut a connection after 60 seconds of silence."""


def origins(subject: Subject) -> Iterator[Finding]:
    """Check which pages may use the gateway."""
    settings = subject.settings
    found = list(_origins(settings.allowed_origins, is_production=not settings.development))
    yield from found
    if not found:
        named = ", ".join(settings.allowed_origins) or "the gateway's own alone"
        yield ok(f"pages of these origins may connect: {named}")


def _origins(allowed: tuple[str, ...], *, is_production: bool) -> Iterator[Finding]:
    fit = [each.replace("http://", "https://") for each in allowed if not _is_developers(each)]
    change = f"GATEWAY_ALLOWED_ORIGINS={','.join(fit)}"
    for origin in allowed if is_production else ():
        if _is_developers(origin):
            yield warning(f"{origin} is a developer's origin, and this is production", change)
        elif origin.startswith("http://"):
            yield problem(f"pages of {origin} come without TLS, so others can change them", change)


def _is_developers(origin: str) -> bool:
    host = urlsplit(origin).hostname or ""
    return host in LOCAL or host.endswith(".localhost")


def exposure(subject: Subject) -> Iterator[Finding]:
    """Check that a gateway for development is not open to the network, and that production has TLS."""
    settings = subject.settings
    found = [*_development(subject), *_transport(subject), *_doors(subject)]
    yield from found
    if not found:
        yield ok(f"{settings.environment} on {subject.host} shows no more than it should")


def _development(subject: Subject) -> Iterator[Finding]:
    if not subject.settings.development:
        return
    change = "GATEWAY_ENVIRONMENT=production"
    if not _is_loopback(subject.host):
        yield problem(
            f"development listens on {subject.host}: registration, /docs and /metrics are open to the network", change
        )
    if subject.url is not None and urlsplit(subject.url).hostname not in LOCAL:
        yield problem("development has a public address: registration, /docs and /metrics are open", change)


def _transport(subject: Subject) -> Iterator[Finding]:
    settings = subject.settings
    if subject.url is not None and urlsplit(subject.url).scheme in {"http", "ws"} and not _is_local(subject.url):
        yield problem(
            "the public address has no TLS, so passwords and tokens can be read on the way", "--url https://…"
        )
    if settings.development or _is_loopback(subject.host) or settings.trusted_proxies:
        return
    if settings.plain_http:
        yield warning(
            f"production speaks plain HTTP on {subject.host}", "GATEWAY_TRUSTED_PROXIES=…  # a proxy that ends TLS"
        )
    else:
        yield problem(
            f"production does not start on {subject.host} without a proxy that ends TLS",
            "GATEWAY_TRUSTED_PROXIES=…  # or listen on 127.0.0.1",
        )


def _doors(subject: Subject) -> Iterator[Finding]:
    settings = subject.settings
    token = None if settings.metrics_token is None else settings.metrics_token.get_secret_value()
    if token is not None and is_guessable(token):
        yield warning(
            "GATEWAY_METRICS_TOKEN is easy to guess", "GATEWAY_METRICS_TOKEN=…  # made with: openssl rand -base64 24"
        )
    if not settings.development and settings.registration_open:
        yield warning("anyone may register in production", "GATEWAY_REGISTRATION=closed")


def proxies(subject: Subject) -> Iterator[Finding]:
    """Check which proxies the gateway believes, and that the heartbeat is quicker than they are."""
    settings = subject.settings
    trusted = TrustedProxies(settings.trusted_proxies)
    if any(map(trusted.trusts, PUBLIC_ADDRESSES)):
        yield problem(
            "every client may write its own address into X-Forwarded-For, and passes each limit",
            "GATEWAY_TRUSTED_PROXIES=…  # the addresses of the proxies alone",
        )
    elif settings.trusted_proxies:
        yield ok(f"the gateway believes the proxies at {settings.trusted_proxies}")
    else:
        yield ok("the gateway believes no proxy; behind one, all clients would share its address")
    if settings.heartbeat_seconds > HEARTBEAT_SECONDS:
        yield warning(
            f"a ping goes out every {settings.heartbeat_seconds:g} s, and most proxies cut a silence of 60 s",
            "GATEWAY_HEARTBEAT_SECONDS=25",
        )


def _is_loopback(host: str) -> bool:
    if host in LOCAL:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_local(url: str) -> bool:
    return _is_loopback(urlsplit(url).hostname or "")
