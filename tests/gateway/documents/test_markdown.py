"""The small part of Markdown that docstrings may have."""

import time

import pytest

from gateway.documents.markdown import inline_html, plain_text, safe_markdown, to_html

MOST_SECONDS = 3


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("One line\nand one more.", "<p>One line and one more.</p>"),
        (
            "A `type`, **bold** and *not* a*b*c.",
            "<p>A <code>type</code>, <strong>bold</strong> and <em>not</em> a*b*c.</p>",
        ),
        ("``x`` and `<b>`", "<p><code>x</code> and <code>&lt;b&gt;</code></p>"),
        ("Two:\n- a\n- b,\n  longer\n\nEnd", "<p>Two:</p><ul><li>a</li><li>b, longer</li></ul><p>End</p>"),
        ("1. a\n2. b", "<ol><li>a</li><li>b</li></ol>"),
        ('```json\n{"a": 1}\n```\nx', "<pre><code>{&quot;a&quot;: 1}</code></pre><p>x</p>"),
        ("x\n\n    code\n    more", "<p>x</p><pre><code>code\nmore</code></pre>"),
        ("```\nnever closed", "<pre><code>never closed</code></pre>"),
        ("[a](https://example.org/?a=1&b)", '<p><a href="https://example.org/?a=1&amp;b" rel="noreferrer">a</a></p>'),
        ("[a](javascript:alert)", "<p>a</p>"),
        ('[a](https://x/"onclick="y)', '<p><a href="https://x/&quot;onclick=&quot;y" rel="noreferrer">a</a></p>'),
        ("<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"),
        ("", ""),
    ],
)
def test_a_text_becomes_html(text: str, html: str) -> None:
    assert to_html(text) == html


def test_one_line_has_no_paragraph_and_no_marks_where_none_are_shown() -> None:
    assert inline_html("See `a`.") == "See <code>a</code>."
    assert plain_text("See `a`, **b** and [c](https://example.org).") == "See a, b and c."


def test_for_other_readers_no_html_and_no_script_is_left() -> None:
    assert safe_markdown("<b> `<b>` [x](javascript:y)") == "&lt;b> `<b>` [x\\](javascript:y)"
    assert safe_markdown("[x](https://example.org)") == "[x](https://example.org)"
    assert safe_markdown("[x]: javascript:y") == "[x\\]: javascript:y"


@pytest.mark.parametrize("part", ["`", "*", "[", "`a", "**a", "*a ", "[a](", "- \n", "```\n", "[a](b", "1. ", "\t"])
def test_no_text_takes_long(part: str) -> None:
    start = time.perf_counter()
    to_html(part * 30_000)
    safe_markdown(part * 30_000)
    assert time.perf_counter() - start < MOST_SECONDS
