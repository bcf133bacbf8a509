"""Plays the cases of RFC 6455 with a gateway, and judges its answers as Autobahn does."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from proofs.input.line import Line, Received, opened
from proofs.input.rfc6455 import INVALID, NO_CODE, PROTOCOL_ERROR, RATE_ABUSE, TOO_LARGE, Answer, Case, End, Step, Write
from tests.support.wire import CLOSE, TEXT

ERRORS = frozenset({PROTOCOL_ERROR, INVALID, TOO_LARGE, RATE_ABUSE})
"""The codes of a client's mistakes. RFC 6455 §7.1.7 allows an end without a close frame there."""

EARLY_SECONDS = 0.1
"""How long the gateway has to notice a wrong text before its end."""


class Verdict(StrEnum):
    """How a case went, in Autobahn's words."""

    STRICT = "strict"
    ALLOWED = "not strict"
    CUT = "cut"
    """It was right to end the connection, but there was no close frame, or none that reached the client."""
    FAILED = "failed"
    INFORMATIONAL = "informational"


@dataclass(frozen=True)
class Result:
    """What one case has shown."""

    number: str
    verdict: Verdict
    words: str = ""


class Wrong(Exception):
    """The gateway did something else than expected."""


class Cut(Exception):
    """The gateway has ended a connection that had to end, without a close frame."""


async def play(case: Case, port: int, token: str) -> Result:
    """Play a case on a connection of its own."""
    try:
        async with opened(port, token) as line:
            strict = [await _step(line, step) for step in case.steps]
    except (Wrong, ConnectionError, TimeoutError, ValueError) as error:
        return Result(case.number, Verdict.FAILED, f"{type(error).__name__}: {error}")
    except Cut:
        return Result(case.number, Verdict.INFORMATIONAL if case.informational else Verdict.CUT)
    if case.informational:
        return Result(case.number, Verdict.INFORMATIONAL)
    return Result(case.number, Verdict.STRICT if all(strict) else Verdict.ALLOWED)


async def _step(line: Line, step: Step) -> bool:
    """Take a step, and return whether the answer was strict. Raise `Wrong` for another one."""
    match step:
        case Write(data=data, piece=piece):
            await line.write(data, piece)
            return True
        case Answer():
            return await _answered(line, step)
        case End(early=True):
            return await _ends_early(line)
        case End():
            return await _ended(line, step)


async def _answered(line: Line, answer: Answer) -> bool:
    received = await line.look()
    if received is None or not _fits(received, answer):
        if answer.may_lack and (received is None or received[0] == CLOSE):
            return False
        raise Wrong(f"expected {_words(answer)}, got {_seen(received)}")
    await line.read()
    return True


def _fits(received: Received, answer: Answer) -> bool:
    opcode, payload = received
    if opcode != answer.opcode:
        return False
    if opcode != TEXT:
        return payload == answer.payload
    content = json.loads(payload)
    return all(content.get(name) == value for name, value in answer.parts)


async def _ends_early(line: Line) -> bool:
    try:
        await line.look(EARLY_SECONDS)
    except TimeoutError:
        return False
    return True


async def _ended(line: Line, end: End) -> bool:
    received = await line.read()
    while received is not None and received[0] == TEXT and _is_bye(received[1]):
        received = await line.read()  # the protocol's own word before a close
    if received is None:
        if end.codes & ERRORS:
            raise Cut
        raise Wrong("the connection was cut without a close frame")
    opcode, payload = received
    code = int.from_bytes(payload[:2]) if payload else NO_CODE
    if opcode != CLOSE or code not in end.codes:
        raise Wrong(f"expected a close with {sorted(end.codes)}, got {_seen(received)}")
    if (after := await line.read()) is not None:
        raise Wrong(f"expected nothing after the close, got {_seen(after)}")
    return True


def _is_bye(payload: bytes) -> bool:
    return bool(json.loads(payload).get("type") == "bye")


def _words(answer: Answer) -> str:
    return f"{answer.opcode} {dict(answer.parts) or answer.payload[:40]!r}"[:120]


def _seen(received: Received | None) -> str:
    return "the end" if received is None else f"{received[0]} {received[1][:80]!r}"


async def play_all(cases: Sequence[Case], port: int, tokens: Sequence[str]) -> list[Result]:
    """Play cases one after the other, each as another user: the limits of a user are not what they are about."""
    return [await play(case, port, token) for case, token in zip(cases, tokens, strict=True)]
