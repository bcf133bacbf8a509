"""`gateway status`: the nodes, and how they are."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from gateway.cli.durations import briefly
from gateway.cli.processes import Answers, ask_all, counted, data_folder, end, run, short
from gateway.core.local_socket import Data, LocalUnavailable
from gateway.core.start_error import StartError

LOOK_SECONDS = 1.0
"""The rates are averages of so many seconds."""

RATES = ("messages", "deliveries", "errors", "bus_published", "bus_received", "connections_ended", "newcomers_refused")

NEEDED = (
    *("host", "pid", "version", "uptime_seconds", "draining", "hooks", "routes", "log_levels"),
    *(f"now.{name}" for name in ("connections", "rooms_heard", "writes_waiting", "newcomers_waiting", "memory_bytes")),
    *(f"since_start.{name}" for name in RATES),
    *("store", "health.store", "bus", "health.bus", "health.status"),
)
"""What the answer of a node must have."""


@dataclass(frozen=True)
class Look:
    """What the nodes have answered at a time, with rates since the look before."""

    nodes: dict[str, Data]
    rates: dict[str, dict[str, float]]
    problems: list[str]

    def as_json(self) -> str:
        """Return it as one line."""
        nodes = [{**each, "rates": self.rates.get(node, {})} for node, each in sorted(self.nodes.items())]
        return json.dumps({"nodes": nodes, "problems": self.problems})

    def total(self, name: str) -> int:
        """Return the sum of a number over all nodes."""
        return sum(each["now"][name] for each in self.nodes.values())


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a look.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Look again each second, until Ctrl-C.")] = False,
) -> None:
    """Show all nodes: connections, rooms, rates, and how the store, the bus, hooks and routes are.

    The exit status is 1 if a node does not answer or cannot serve, or if all of them drain.
    """
    folder = data_folder()
    if not watch:
        look = run(_look_once(folder))
        print_look(look, as_json=as_json)
        end([*look.problems, *_unready(look)] if as_json else look.problems or [""] * bool(_unready(look)))
        return
    try:
        run(_watch(folder, as_json=as_json))
    except KeyboardInterrupt:
        raise typer.Exit from None


def print_look(look: Look, *, as_json: bool) -> None:
    """Print one look."""
    if as_json:
        print(look.as_json(), flush=True)  # noqa: T201 - this is the command's output
    else:
        Console().print(view(look))


async def _look_once(folder: Path) -> Look:
    looks = _looks(folder)
    await anext(looks)
    return await anext(looks)


async def _watch(folder: Path, *, as_json: bool) -> None:
    console = Console()
    if as_json or not console.is_terminal:
        async for look in _looks(folder, lasting=True):
            if look.rates or look.problems:
                print(look.as_json() if as_json else "\n".join(lines(look)), flush=True)  # noqa: T201 - as above
        return
    with Live(console=console, auto_refresh=False, screen=False, vertical_overflow="crop") as live:
        async for look in _looks(folder, lasting=True):
            live.update(view(look), refresh=True)


async def _looks(folder: Path, *, lasting: bool = False) -> AsyncIterator[Look]:
    """Yield what the nodes answer, about once in `LOOK_SECONDS`. A lasting view waits for a gateway to come back."""
    before: dict[str, Data] = {}
    looked_at = time.monotonic()
    while True:
        try:
            answers = await ask_all(folder, "status", {}, NEEDED)
        except (StartError, LocalUnavailable) as error:
            if not lasting or not before:
                raise
            answers = Answers(problems=[str(error)])
        now = time.monotonic()
        yield Look(answers.nodes, dict(_rates(before, answers.nodes, now - looked_at)), answers.problems)
        before, looked_at = answers.nodes or before, now
        await asyncio.sleep(LOOK_SECONDS)


def _rates(before: dict[str, Data], now: dict[str, Data], seconds: float) -> Iterator[tuple[str, dict[str, float]]]:
    for node, each in now.items():
        if node in before:
            had, has = before[node]["since_start"], each["since_start"]
            yield node, {name: round(max(0, has[name] - had[name]) / seconds, 1) for name in RATES}


def view(look: Look) -> RenderableType:
    """Return a look for a terminal."""
    parts: list[RenderableType] = [_summary(look)]
    if look.nodes:
        parts += ["", _table(look)]
    details = list(_details(look))
    if details:
        parts += ["", *details]
    parts += [Text(f"! {problem}", style="bold red") for problem in look.problems]
    return Group(*parts)


def lines(look: Look) -> Iterator[str]:
    """Yield a look as plain lines, one for each node and problem."""
    now = time.strftime("%H:%M:%S")
    for node, each in sorted(look.nodes.items()):
        rates = look.rates.get(node, {})
        yield (
            f"{now} {short(node)} {_state(each)} connections={each['now']['connections']}"
            f" rooms={each['now']['rooms_heard']} messages/s={rates.get('messages', 0):g}"
            f" deliveries/s={rates.get('deliveries', 0):g}"
            f" errors/s={rates.get('errors', 0):g} waiting={each['now']['writes_waiting']}"
            f" memory={_megabytes(each['now']['memory_bytes'])}"
        )
    for problem in look.problems:
        yield f"{now} {problem}"


def _summary(look: Look) -> Text:
    versions = sorted({each["version"] for each in look.nodes.values()})
    rates = look.rates.values()
    facts = [
        counted(len(look.nodes), "node"),
        counted(look.total("connections"), "connection"),
        f"{sum(each['messages'] for each in rates):,.0f} messages/s in",
        f"{sum(each['deliveries'] for each in rates):,.0f} out",
    ]
    text = Text("json-gateway ", style="bold").append(" and ".join(versions)).append("  ")
    text.append(" · ".join(facts), style="bold")
    if len(versions) > 1:
        text.append("  two versions run", style="yellow")
    return text


def _table(look: Look) -> Table:
    number = {"justify": "right", "no_wrap": True}
    table = Table(
        Column("node", no_wrap=True),
        Column("process", overflow="fold"),
        Column("up", **number),  # type: ignore[arg-type]
        Column("conns", **number),  # type: ignore[arg-type]
        Column("rooms", **number),  # type: ignore[arg-type]
        Column("in/s", **number),  # type: ignore[arg-type]
        Column("out/s", **number),  # type: ignore[arg-type]
        Column("err/s", **number),  # type: ignore[arg-type]
        Column("waits", **number),  # type: ignore[arg-type]
        Column("memory", **number),  # type: ignore[arg-type]
        Column("state", no_wrap=True),
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="dim",
    )
    for node, each in sorted(look.nodes.items(), key=lambda item: (item[1]["host"], item[1]["pid"])):
        now, rates = each["now"], look.rates.get(node, {})
        state = _state(each)
        table.add_row(
            short(node),
            f"{each['host']}:{each['pid']}",
            briefly(each["uptime_seconds"]),
            f"{now['connections']:,}",
            f"{now['rooms_heard']:,}",
            f"{rates.get('messages', 0):,.0f}",
            f"{rates.get('deliveries', 0):,.0f}",
            f"{rates.get('errors', 0):,.0f}",
            f"{now['writes_waiting'] + now['newcomers_waiting']:,}",
            _megabytes(now["memory_bytes"]),
            Text(state, style=_STYLES.get(state, "bold red")),
        )
    return table


_STYLES = {"ready": "green", "degraded": "yellow", "draining": "yellow"}


def _state(each: Data) -> str:
    return "draining" if each["draining"] else str(each["health"]["status"]).replace("_", " ")


def _unready(look: Look) -> list[str]:
    if look.nodes and all(each["draining"] for each in look.nodes.values()):
        return ["no node takes newcomers: all of them drain"]
    return [f"node {short(node)} is {_state(each)}" for node, each in look.nodes.items() if _state(each) == "not ready"]


def _details(look: Look) -> Iterator[Table]:
    table = Table(box=None, show_header=False, pad_edge=False)
    for what in ("store", "bus"):
        for place, state in sorted({(each[what], each["health"][what]) for each in look.nodes.values()}):
            table.add_row(what, _up(state), Text(place))
    for name, hook in sorted(_merged(look, "hooks").items()):
        table.add_row("hook", *_of_hook(name, hook))
    for name, breaker in sorted(_merged(look, "routes").items()):
        table.add_row("route", _up("up" if breaker == "closed" else f"breaker {breaker.replace('_', ' ')}"), Text(name))
    for name, level in sorted({item for each in look.nodes.values() for item in each["log_levels"].items()}):
        if name or level not in ("info", "warning"):
            table.add_row("log level", Text(level), Text(name or "all loggers"))
    if table.row_count:
        yield table


def _of_hook(name: str, hook: dict[str, Any]) -> tuple[Text, Text]:
    waits = f"{name}: {hook['waiting']:,} waiting, {hook['parked']:,} parked"
    return _up("disabled" if hook["disabled"] else "up"), Text(waits)


def _merged(look: Look, key: str) -> dict[str, Any]:
    return {name: value for each in look.nodes.values() for name, value in each[key].items()}


def _up(state: str) -> Text:
    return Text(state, style="green" if state == "up" else "bold red")


def _megabytes(size: int | None) -> str:
    return "?" if size is None else f"{size / 1_048_576:,.0f} MB"
