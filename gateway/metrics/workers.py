"""The metrics of all workers of one `gateway serve --workers` in one answer, whichever of them is asked.

Each worker answers for itself over its local socket. The one that Prometheus has reached puts the answers together,
each with the label `worker`. Nothing is summed here: the counters of a worker begin again at 0 when a new one replaces
it, and Prometheus knows how to read that only for each worker.

A worker that is dead, hangs or does not answer in time costs its own lines alone: `gateway_worker_up` is 0 for it.
While a worker drains and its successor serves already, the newer one speaks for their place.
"""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path

from gateway.core import worker_place
from gateway.core.local_socket import Data, LocalSocket, LocalUnavailable, ask, sockets_in
from gateway.core.worker_place import Place
from gateway.state import GatewayState

logger = logging.getLogger(__name__)

QUESTION = "metrics"

ANSWER_SECONDS = 3.0
"""How long a worker may take. A look at the store takes up to two seconds of it, and Prometheus waits for ten."""

UP = "gateway_worker_up"


@dataclass(frozen=True, slots=True)
class Page:
    """The metrics of one worker."""

    number: int
    taken_at: float
    text: str


def serve(state: GatewayState) -> None:
    """Answer the other workers of this machine."""

    async def answer(asked: Data) -> Data:
        place = worker_place.mine
        if place is None or asked.get("of") != place.of:
            return {}  # another gateway with the same data folder
        return {"number": place.number, "taken_at": place.taken_at, "text": await own_text(state)}

    state.local_socket.serve(QUESTION, answer)


async def own_text(state: GatewayState) -> str:
    """Return the metrics of this process."""
    from gateway.metrics.text import render  # which most processes never need

    await state.database.health.check()
    return render(state).decode()


async def text(state: GatewayState) -> str:
    """Return the metrics of this process, or of all workers if it is one of several."""
    place = worker_place.mine
    if place is None or place.count == 1:
        return await own_text(state)
    own, others = await asyncio.gather(own_text(state), _others(state.local_socket, state.settings.data_dir, place))
    pages = {place.number: Page(place.number, place.taken_at, own)}
    for page in sorted(others, key=lambda page: page.taken_at):
        if page.number not in pages or page.taken_at > pages[page.number].taken_at:
            pages[page.number] = page
    return joined(pages, place.count)


async def _others(own: LocalSocket, data_dir: Path, place: Place) -> list[Page]:
    try:
        paths = [path for path in sockets_in(data_dir) if own.path is None or path.name != own.path.name]
    except OSError as error:
        logger.warning("cannot find the other workers: %s", error)
        return []
    found = await asyncio.gather(*(_page_of(path, place) for path in paths))
    return [page for page in found if page is not None]


async def _page_of(path: Path, place: Place) -> Page | None:
    try:
        answer = await ask(path, QUESTION, {"of": place.of}, timeout=ANSWER_SECONDS)
    except LocalUnavailable:
        return None  # its place shows it
    match answer:
        case {"number": int(number), "taken_at": float(taken_at), "text": str(text)} if 0 <= number < place.count:
            return Page(number, taken_at, text)
    return None


def joined(pages: dict[int, Page], count: int) -> str:
    """Return the metrics of several workers as one text: each metric once, with the lines of all workers."""
    heads: dict[str, list[str]] = {}
    lines: dict[str, list[str]] = {}
    for number in sorted(pages):
        for name, head, own_lines in _metrics_of(pages[number].text):
            heads.setdefault(name, head)
            lines.setdefault(name, []).extend(_labelled(line, number) for line in own_lines)
    parts = [f"# HELP {UP} 1 for each worker that has answered, else 0.", f"# TYPE {UP} gauge"]
    parts += [f'{UP}{{worker="{number}"}} {float(number in pages)}' for number in range(count)]
    for name, head in heads.items():
        parts += head
        parts += lines[name]
    return "\n".join(parts) + "\n"


def _metrics_of(text: str) -> list[tuple[str, list[str], list[str]]]:
    """Return each metric of a text: its name, its comments and its lines."""
    found: list[tuple[str, list[str], list[str]]] = []
    for line in text.rstrip("\n").split("\n"):  # `splitlines` would also split at characters that a label may have
        if line.startswith("# HELP "):
            found.append((line.split(" ", 3)[2], [line], []))
        elif line.startswith("#"):
            found[-1][1].append(line)
        else:
            found[-1][2].append(line)
    return found


def _labelled(line: str, number: int) -> str:
    """Add the label of a worker. Of a line, only the first brace or space can end the name."""
    name, brace, rest = line.partition("{")
    if brace and " " not in name:
        return f'{name}{{worker="{number}",{rest}'
    name, _, value = line.partition(" ")
    return f'{name}{{worker="{number}"}} {value}'
