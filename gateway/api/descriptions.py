"""The refusals of the API for services, in its description."""

from gateway.http.documented_errors import Responses, refusals

_TOO_LARGE = "The body has over 1 MiB. In plain text, where its head says so."
_FORBIDDEN = "The service lacks a scope, or may not use this room. Or the credential is a user's."
_HOOK_TOO_LARGE = "The body has over 64 KiB. In plain text, where its head says so."
_NO_HOOK = "There is no such incoming webhook, or its room does not exist any more."


def hook_refusals() -> Responses:
    """Return the description of the refusals of an incoming webhook."""
    described = refusals(400, 403, 404, 413, 415, 422, 503)
    described[403]["description"] = "The room may store no more."
    described[404]["description"] = _NO_HOOK
    described[413]["description"] = _HOOK_TOO_LARGE
    return described


def service_refusals(*statuses: int, body: bool = False) -> Responses:
    """Return the description of an operation's refusals, with those that every operation has."""
    of_body = (400, 413, 415) if body else ()
    described = refusals(401, 403, 422, 503, *of_body, *statuses)
    described[403]["description"] = _FORBIDDEN
    if body:
        described[413]["description"] = _TOO_LARGE
    return described
