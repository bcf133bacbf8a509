"""Builds what checks the credentials of the external services in the settings."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from gateway.auth.authorizers import Authorizer
from gateway.auth.external.identity_provider_client import make_http_client
from gateway.auth.external.introspection import IntrospectedTokens
from gateway.auth.external.issuers import IssuerTokens
from gateway.auth.external.published_keys import PublishedKeys
from gateway.auth.external.users import ExternalUsers
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
            client = make_http_client(issuer.jwks_url)
            stack.push_async_callback(client.close)
            published = await stack.enter_async_context(PublishedKeys(name, issuer, client, settings, clock).running())
            users = ExternalUsers(name, issuer, database, clock, settings.default_scopes, keep_claims=keep_claims)
            authorizers[name] = IssuerTokens(issuer, published, users, clock)
        for name, described in settings.introspection.items():
            client = make_http_client(described.url)
            stack.push_async_callback(client.close)
            users = ExternalUsers(name, described, database, clock, settings.default_scopes, keep_claims=keep_claims)
            authorizers[name] = IntrospectedTokens(name, described, client, users, settings, clock)
        yield authorizers
