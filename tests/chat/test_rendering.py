"""Markdown that is shown, and markup that is not."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.rendering import CLEANER, LONGEST, TAGS, render

LINK = 'target="_blank" rel="noopener noreferrer nofollow"'


@pytest.mark.parametrize(
    ("body", "html"),
    [
        ("hello", "<p>hello</p>"),
        ("**a** *b* ~~c~~ `d`", "<p><strong>a</strong> <em>b</em> <s>c</s> <code>d</code></p>"),
        ("a\nb", "<p>a<br>\nb</p>"),
        ("```py\nif a < b:\n    c\n```", "<pre><code>if a &lt; b:\n    c\n</code></pre>"),
        ("> said", "<blockquote>\n<p>said</p>\n</blockquote>"),
        ("# no heading", "<p># no heading</p>"),
        ("    no code", "<p>no code</p>"),
        ("see https://a.example/?b=1&c=2", f'<p>see <a href="https://a.example/?b=1&amp;c=2" {LINK}>https://a.example/?b=1&amp;c=2</a></p>'),
        ("notes.py", "<p>notes.py</p>"),
        ("[x](https://a.example)", f'<p><a href="https://a.example" {LINK}>x</a></p>'),
        ("<b>bold</b>", "<p>&lt;b&gt;bold&lt;/b&gt;</p>"),
        ("[a]: https://a.example", f'<p>[a]: <a href="https://a.example" {LINK}>https://a.example</a></p>'),
    ],
)  # fmt: skip
def test_markdown_is_rendered(body, html):
    assert render(body) == html


@pytest.mark.parametrize(
    "body",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<a href='javascript:alert(1)'>x</a>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](vbscript:x)",
        "![x](https://evil.example/pixel.png)",
        "<style>*{display:none}</style>",
        "<svg/onload=alert(1)>",
        '[x](https://a.example "onclick=alert(1)")',
        "[x](https://a.example/\"onmouseover=alert(1))",
        "```x\" onclick=\"alert(1)\n```",
        "<iframe src=//evil.example>",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "`<img src=x onerror=alert(1)>`",
    ],
)  # fmt: skip
def test_markup_of_the_author_is_text(body):
    check_safe(render(body))


@given(st.text(alphabet="<>&\"'`[]()*_~!#\n\\ ab:/.jsonclik=", max_size=200))
def test_nothing_but_allowed_tags_comes_out(body):
    check_safe(render(body))


def check_safe(html):
    for closing, name, rest in re.findall(r"<(/?)(\w*)([^>]*)>", html):
        assert name in TAGS
        names = set(re.findall(r'([\w-]+)="[^"]*"', rest))
        assert names <= ({"href", "target", "rel"} if name == "a" else {"start"})
        assert not closing or not rest
    assert not re.search(r'href="(?!(?i:https?://[^/]|mailto:.))', html)


def test_body_that_would_grow_without_measure_is_shown_as_it_is():
    html = render("*a*" + "`\n" * 900 + "&" * 14_000)
    assert len(html) > LONGEST
    assert html.startswith("<pre>*a*`\n")


@pytest.mark.parametrize(
    "target",
    ["/devices/", "devices/", "//evil.com", "/\\evil.com", "#top", "?a=b", "http:evil.com",
     "https:///evil.com", "ftp://a.example", "HTTPS:a", "mailto:"],
)  # fmt: skip
def test_link_that_leads_into_this_site_is_none(target):
    assert "<a" not in render(f"[x]({target})")
    assert "<a" not in render(f"see {target} there")
    assert "href" not in CLEANER.clean(f'<a href="{target}">x</a>')


@pytest.mark.parametrize(
    "target", ["https://a.example/b", "HTTP://a.example", "mailto:a@b.example"]
)
def test_link_that_leads_elsewhere_is_one(target):
    assert 'href="' in render(f"[x]({target})")
    assert f'href="{target}"' in CLEANER.clean(f'<a href="{target}">x</a>')


def filled(*units, start="", size=16_384):
    return start + "".join(units) * (size // len("".join(units)))


REPEATED = [
    "://", "http://[", "http://a", "http://a.", "http://a-", "http://a:1", "http://a.b/(", "ftp://a",
    "//", "@", "a@", "a@b", "a@b.c", "mailto:a@b.c ", "www.a", "<http://a>*", "<a@b.c>", "<a", "<!--",
    "[", "[(", "](", "[]", "[a](b", "[a](b)", '[a](b "', "[[a](b)", "![", "~~[a", "*", "_", "~~",
    "*a", "a*", "*a**a", "*a _a", "_a __b ", "***a", "`", "`a", "`` ` ", "\\", "\\\n", "&", "&#1;",
    "\n", "a\n", "`\n", ">", "> ", ">\n", "> a\n", "- ", "- a\n", "- - - a\n", "- " * 8 + "*a*\n",
    "1. a\n   ", "a\n---\n", "[a]: b\n", "```\n", " ", "\t", "é", "\u200b",
]  # fmt: skip
MIXED = {
    "quotes, then lines": ">" * 8000 + "\n" + "a\n" * 4000,
    "a list in a list": "".join("  " * depth + "- a\n" for depth in range(120)),
    "more backticks each time": "".join("a" + "`" * count for count in range(180)),
    "brackets around": "[" * 8000 + "]" * 8000,
    "links allowed, then text": filled("a-", start="http://a.b " * 49, size=15_800),
    "text, then links allowed": filled("a", size=15_800) + "http://a.b" * 49,
    "brackets allowed, then tags": filled("<a", start="[" * 99, size=16_180),
    "stars allowed": "*a" * 1999 + "[" * 99 + "<a" * 499,
}


@pytest.mark.parametrize(
    "body", [*map(filled, REPEATED), *MIXED.values()], ids=[*map(repr, REPEATED), *MIXED]
)
def test_no_body_takes_long(body):
    """A tenth of a second at the very most; what grows with the square takes seconds."""
    assert min(seconds_to_render(body) for _ in range(3)) < 1


def seconds_to_render(body: str) -> float:
    started = time.thread_time()  # of this thread alone, whatever else goes on
    render(body)
    return time.thread_time() - started


def test_rule_that_would_take_too_long_is_left_out_alone():
    many = render("*a* " + "http://a.example " * 60)
    assert "<em>a</em>" in many
    assert "<a" not in many
    assert render("[" * 101 + " *a* https://a.example").endswith("https://a.example</a></p>")


def test_line_of_dashes_is_not_deep():
    assert render("-" * 40) == "<hr>"
    assert render("- " * 9 + "<b>") == f"<pre>{'- ' * 9}&lt;b&gt;</pre>"
