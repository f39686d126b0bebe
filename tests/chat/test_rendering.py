"""Markdown that is shown, and markup that is not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.rendering import LONGEST, TAGS, render

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
    assert not re.search(r'href="(?!https?://|mailto:|//|/|#|\?|[\w%.*~\\;&-])', html)
    assert 'href="javascript:' not in html.lower()


def test_body_that_would_grow_without_measure_is_shown_as_it_is():
    html = render("http://" * 2300)
    assert len(html) < LONGEST
    assert html.startswith("<pre>http://")
