"""Examples to copy: frames as coloured JSON, and the same call in other languages."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pprint import pformat
from shlex import quote as shell_quoted
from textwrap import indent
from typing import Any
from urllib.parse import quote

from gateway.documents.catalog import MessageDescription
from gateway.documents.place import Place
from gateway.documents.plain import plain, plain_json
from gateway.documents.reference.html import Content, Html, joined, tag

LONGEST = 6000
"""Characters of an example. A longer one loses its end."""

SHORT = 44
"""Characters of JSON that stays on one line."""

_TOKEN = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*"(?=\s*:))|(?P<text>"(?:[^"\\]|\\.)*")'
    r"|(?P<word>\b(?:true|false|null)\b)|(?P<number>-?\d[\d.eE+-]*)"
)


@dataclass(frozen=True)
class Sample:
    """A text to copy, under a label."""

    label: str
    text: str
    is_json: bool = False


def frame_sample(label: str, frame: Any) -> Sample:
    """Return a frame as a sample."""
    return Sample(label, _json(frame), is_json=True)


def calls(message: MessageDescription, data: Any, place: Place) -> Iterator[Sample]:
    """Return the call of a message with each client, and over HTTP."""
    given = [] if message.may_be_empty and data == {} else [data]
    yield Sample("JavaScript", _javascript(message, [_json(each) for each in (message.type, *given)]))
    yield Sample(
        "Python", _python(message, [pformat(plain(each), sort_dicts=False) for each in (message.type, *given)])
    )
    if not message.needs_connection:
        yield Sample("curl", _curl(message, data, place))


def _javascript(message: MessageDescription, arguments: list[str]) -> str:
    if message.chunk is None:
        return f"const reply = await gateway.call({', '.join(arguments)});"
    return f"for await (const chunk of gateway.stream({', '.join(arguments)})) {{\n  console.log(chunk);\n}}"


def _python(message: MessageDescription, arguments: list[str]) -> str:
    written = ", ".join(arguments)
    if "\n" in written or len(written) > 60:
        written = "\n" + "".join(f"{indent(each, '    ')},\n" for each in arguments)
    if message.chunk is None:
        return f"reply = await gateway.call({written})"
    return f"async for chunk in gateway.stream({written}):\n    print(chunk)"


def _curl(message: MessageDescription, data: Any, place: Place) -> str:
    stream = "" if message.chunk is None else "N -H 'Accept: text/event-stream'"
    url = shell_quoted(f"{place.http_url}/call/{quote(str(plain(message.type)), safe='')}")
    lines = [f'curl -sS{stream} -H "Authorization: Bearer $TOKEN"', f"--json {shell_quoted(_line(data))}", url]
    return " \\\n  ".join(lines)


def card(title: str, samples: Iterable[Sample], *actions: Content) -> Html:
    """Return a card with a sample, and with tabs if there are several."""
    found = list(samples)
    tabs = [
        tag("button", sample.label, type="button", role="tab", aria_selected="false" if number else "true")
        for number, sample in enumerate(found)
    ]
    panels = [tag("pre", _code(each), tabindex="0", hidden=number > 0) for number, each in enumerate(found)]
    head = tag(
        "header",
        tag("span", title, class_="title"),
        tag("div", tabs, class_="tabs", role="tablist", hidden=True) if len(found) > 1 else None,
        tag("span", class_="space"),
        *actions,
        tag("button", "Copy", type="button", class_="copy", hidden=True),
    )
    return tag("figure", head, panels, class_="card")


def _code(sample: Sample) -> Html:
    text = sample.text
    if len(text) > LONGEST:
        return tag("code", text[:LONGEST], "…", tag("i", f"\n{len(text) - LONGEST} more characters"))
    return tag("code", _coloured(text) if sample.is_json else text)


def _coloured(text: str) -> Html:
    parts: list[Content] = []
    start = 0
    for found in _TOKEN.finditer(text):
        parts += [text[start : found.start()], tag("span", found[0], class_=found.lastgroup)]
        start = found.end()
    return joined(*parts, text[start:])


def _json(value: Any) -> str:
    """Return JSON on several lines, but on one if it is short."""
    line = _line(value)
    return line if len(line) <= SHORT else plain_json(value)


def _line(value: Any) -> str:
    return json.dumps(plain(value), ensure_ascii=False)
