"""Builds what checks the credentials of the external services in the settings."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.auth.authorizers import Authorizer
from gateway.auth.external.discovery import DiscoveredDocument
from gateway.auth.external.identity_provider_client import make_http_client
from gateway.auth.external.introspection import IntrospectedTokens
from gateway.auth.external.issuers import IssuerKeys, IssuerTokens, SharedSecret
from gateway.auth.external.keys_documents import DocumentAt
from gateway.auth.external.published_keys import PublishedKeys
from gateway.auth.external.users import ExternalUsers
from gateway.config.external_services import Issuer
from gateway.config.settings import Settings
from gateway.core.clock import Clock
from gateway.store.engine import Database


@asynccontextmanager
async def external_authorizers(
    settings: Settings, database: Database, clock: Clock
) -> AsyncIterator[dict[str, Authorizer]]:
    """Build the authorizers of the external services in the settings."""
    authorizers: dict[str, Authorizer] = {}
    keep_claims = settings.routes is not None
    async with AsyncExitStack() as stack:
        # Each has its own client, so that one slow service takes no connections from the others.
        for name, issuer in settings.issuers.items():
            keys = await stack.enter_async_context(keys_of(name, issuer, settings, clock))
            users = ExternalUsers(name, issuer, database, clock, settings.default_scopes, keep_claims=keep_claims)
            authorizers[name] = IssuerTokens(issuer, keys, users, clock)
        for name, described in settings.introspection.items():
            client = make_http_client(described.url)
            stack.push_async_callback(client.close)
            users = ExternalUsers(name, described, database, clock, settings.default_scopes, keep_claims=keep_claims)
            authorizers[name] = IntrospectedTokens(name, described, client, users, settings, clock)
        yield authorizers


@asynccontextmanager
async def keys_of(name: str, issuer: Issuer, settings: Settings, clock: Clock) -> AsyncIterator[IssuerKeys]:
    """Fetch the keys of one issuer while the context lasts, or take its secret."""
    if issuer.secret is not None:
        yield SharedSecret(issuer.secret.get_secret_value().encode())
        return
    document = DiscoveredDocument(issuer.issuer, clock) if issuer.jwks_url is None else DocumentAt(issuer.jwks_url)
    try:
        async with PublishedKeys(name, issuer, document, settings, clock).running() as published:
            yield published
    finally:
        await document.close()
