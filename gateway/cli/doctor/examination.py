"""Runs the checks: all at once, each within its time, so that one that hangs keeps no other from its findings."""

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from gateway.cli.doctor.checks import CHECKS, Check
from gateway.cli.doctor.findings import AS_OWNER, Finding, Verdict, problem, warning
from gateway.cli.doctor.subject import Subject
from gateway.core.logs import redact
from gateway.core.start_error import StartError

CHECK_SECONDS = 10.0
"""How long a check may take."""

MISTAKES = "settings"
"""The name under which mistakes in the settings are shown."""

_BY_SEVERITY = (Verdict.OK, Verdict.WARNING, Verdict.PROBLEM)


@dataclass(frozen=True)
class Result:
    """What one check has found."""

    name: str
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict of the findings."""
        return max((finding.verdict for finding in self.findings), key=_BY_SEVERITY.index, default=Verdict.OK)

    def fails(self, *, strict: bool) -> bool:
        """Return whether the command is to fail."""
        return self.verdict is Verdict.PROBLEM or (strict and self.verdict is Verdict.WARNING)


async def examine(
    subject: Subject | None,
    mistakes: Iterable[str] = (),
    checks: Mapping[str, Check] = CHECKS,
    seconds: float = CHECK_SECONDS,
) -> list[Result]:
    """Run the checks. Without a subject, the mistakes in the settings are all that can be found."""
    if subject is None:
        found = [problem(line, _line_of(line)) for line in mistakes]
        return [Result(MISTAKES, tuple(found))]
    return list(await asyncio.gather(*(_run(name, check, subject, seconds) for name, check in checks.items())))


def _line_of(mistake: str) -> str:
    """Return the line that a mistake in the settings is about."""
    name = mistake.partition(":")[0]
    return f"{name}=…" if name.startswith("GATEWAY_") else f"correct {name}"


async def _run(name: str, check: Check, subject: Subject, seconds: float) -> Result:
    try:
        async with asyncio.timeout(seconds):
            found = await _findings(check, subject)
    except TimeoutError:
        found = [warning(f"no answer within {seconds:g} seconds", "look whether the disk or the server hangs")]
    except StartError as error:
        found = [problem(line, _line_of(line)) for line in str(error).splitlines()]
    except PermissionError as error:
        found = [problem(f"this user may not look at {error.filename or 'it'}", AS_OWNER)]
    except Exception as error:  # a check must not hide what the others have found
        found = [warning(f"the check itself failed: {type(error).__name__}", "report this as a bug, with --json")]
    # Words of servers and libraries may be in them.
    return Result(name, tuple(Finding(each.verdict, redact(each.found), each.change) for each in found))


async def _findings(check: Check, subject: Subject) -> list[Finding]:
    if inspect.isasyncgenfunction(check):
        return [finding async for finding in check(subject)]
    return await _in_thread(lambda: list(cast("Iterable[Finding]", check(subject))))


async def _in_thread(work: Callable[[], list[Finding]]) -> list[Finding]:
    """Run `work` in a thread that the end of the command does not wait for: a call of a dead disk never returns."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[Finding]] = loop.create_future()

    def settle(found: list[Finding] | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(found or [])

    def run() -> None:
        found, failure = None, None
        try:
            found = work()
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop has ended without it
            loop.call_soon_threadsafe(settle, found, failure)

    threading.Thread(target=run, daemon=True).start()
    return await done
