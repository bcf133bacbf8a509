"""A small part of Markdown, for docstrings: paragraphs, lists, code, bold, emphasis and links.

Everything else, HTML above all, is shown as the text that it is.
"""

import re
from collections.abc import Iterator
from html import escape

_FENCE = re.compile(r"(?:```|~~~)")
_ITEM = re.compile(r"(?:[-*+]|\d{1,9}[.)])\s+")
_NUMBERED = re.compile(r"\d")
_CODE = re.compile(r"(?<!`)(?P<mark>`{1,3})(?!`)(?P<code>[^`]{1,1000})(?P=mark)(?!`)")
_SPAN = re.compile(
    r"\[(?P<label>[^\[\]\n]{1,300})\]\((?P<url>[^()\s]{1,2000})\)"
    r"|\*\*(?P<bold>[^*\s](?:[^*]{0,500}[^*\s])?)\*\*"
    r"|(?<![\w*])\*(?P<emphasis>[^*\s](?:[^*]{0,500}[^*\s])?)\*(?![\w*])"
)
_UNSAFE = re.compile(r"\]\((?!https?://|mailto:|#)|\](?=:)", re.IGNORECASE)
"""A link to something else than a page, or the beginning of a definition of one."""
_SAFE_URL = re.compile(r"(?:https?://|mailto:|#)[^\s]+", re.IGNORECASE)


def to_html(text: str) -> str:
    """Return the HTML of a text in Markdown."""
    return "".join(_blocks(text.expandtabs(4).splitlines()))


def inline_html(text: str) -> str:
    """Return the HTML of one line: no paragraph around it."""
    return "".join(
        f"<code>{escape(part)}</code>" if is_code else _spans(part) for is_code, part in _with_code_apart(text)
    )


def safe_markdown(text: str) -> str:
    """Return the same text in Markdown that holds no HTML and no link that runs a script."""
    return "".join(part if is_code else _without_html(part) for is_code, part in _with_code_apart(text, marks=True))


def plain_text(text: str) -> str:
    """Return a text in Markdown without its marks."""
    shown = (part if is_code else _SPAN.sub(_words, part) for is_code, part in _with_code_apart(text))
    return "".join(shown)


def _with_code_apart(text: str, *, marks: bool = False) -> Iterator[tuple[bool, str]]:
    """Return the parts of a text, each with whether it is code."""
    start = 0
    for found in _CODE.finditer(text):
        yield False, text[start : found.start()]
        yield True, found[0] if marks else found["code"].strip() or found["code"]
        start = found.end()
    yield False, text[start:]


def _without_html(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"\\{found[0]}", text).replace("<", "&lt;")


def _words(found: re.Match[str]) -> str:
    return found["label"] or found["bold"] or found["emphasis"] or ""


def _spans(text: str) -> str:
    parts = []
    start = 0
    for found in _SPAN.finditer(text):
        parts += [escape(text[start : found.start()]), _span(found)]
        start = found.end()
    return "".join((*parts, escape(text[start:])))


def _span(found: re.Match[str]) -> str:
    if found["url"] is None:
        name = "strong" if found["bold"] else "em"
        return f"<{name}>{escape(_words(found))}</{name}>"
    if _SAFE_URL.fullmatch(found["url"]):
        return f'<a href="{escape(found["url"])}" rel="noreferrer">{escape(found["label"])}</a>'
    return escape(found["label"])


def _blocks(lines: list[str]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line = lines[at]
        end = at + 1
        if not line.strip():
            pass
        elif fence := _FENCE.match(line.strip()):
            while end < len(lines) and not lines[end].strip().startswith(fence[0]):
                end += 1
            yield _code_block(lines[at + 1 : end])
            end += 1
        elif line.startswith("    "):
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield _code_block([each[4:] for each in lines[at:end]])
        else:
            is_list = _ITEM.match(line.lstrip()) is not None
            while end < len(lines) and lines[end].strip() and not _FENCE.match(lines[end].strip()):
                if not is_list and _ITEM.match(lines[end].lstrip()):
                    break
                end += 1
            yield _list(lines[at:end]) if is_list else f"<p>{inline_html(' '.join(map(str.strip, lines[at:end])))}</p>"
        at = end


def _code_block(lines: list[str]) -> str:
    return f"<pre><code>{escape(chr(10).join(lines).strip(chr(10)))}</code></pre>"


def _list(lines: list[str]) -> str:
    items: list[str] = []
    for line in map(str.lstrip, lines):
        if mark := _ITEM.match(line):
            items.append(line[mark.end() :].rstrip())
        else:
            items[-1] += f" {line.rstrip()}"
    name = "ol" if _NUMBERED.match(lines[0].lstrip()) else "ul"
    return f"<{name}>{''.join(f'<li>{inline_html(item)}</li>' for item in items)}</{name}>"
