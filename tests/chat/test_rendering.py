"""Markdown that is shown, and markup that is not."""

from __future__ import annotations

import re
import time
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.highlighting import CLASSES
from chat.rendering import CLEANER, LONGEST, NAMES, TAGS, read

PEOPLE = {"bob": 7, "all": None}
ALLOWED = {"a": {"href", "target", "rel"}, "ol": {"start"}, "span": {"class", "data-user"}}
LINK = 'target="_blank" rel="noopener noreferrer nofollow"'

TABLE = (
    "<table>\n<thead>\n<tr>\n<th>a</th>\n<th>b</th>\n</tr>\n</thead>\n<tbody>\n"
    "<tr>\n<td><em>c</em></td>\n<td>&lt;d</td>\n</tr>\n"
    "<tr>\n<td>e</td>\n<td></td>\n</tr>\n</tbody>\n</table>"
)


def render(body):
    """As it is shown where nobody is meant by a name."""
    return read(body).html({})


@pytest.mark.parametrize(
    ("body", "html"),
    [
        ("hello", "<p>hello</p>"),
        ("**a** *b* ~~c~~ `d`", "<p><strong>a</strong> <em>b</em> <s>c</s> <code>d</code></p>"),
        ("a\nb", "<p>a<br>\nb</p>"),
        ("```\nif a < b:\n    c\n```", "<pre><code>if a &lt; b:\n    c\n</code></pre>"),
        ("```py\nif a < b\n```", '<pre><code><span class="k">if</span> a &lt; b\n</code></pre>'),
        ("```py x=1\nNone\n```", '<pre><code><span class="kc">None</span>\n</code></pre>'),
        ("```nonsense\nif\n```", "<pre><code>if\n</code></pre>"),
        ("/me waves **so**", "<p>waves <strong>so</strong></p>"),
        ("@all @charlie", '<p><span class="mention">@all</span> @charlie</p>'),
        ("<s>@all</s>", '<p>&lt;s&gt;<span class="mention">@all</span>&lt;/s&gt;</p>'),
        ("_@bob_", '<p><em><span class="mention" data-user="7">@bob</span></em></p>'),
        ("> said", "<blockquote>\n<p>said</p>\n</blockquote>"),
        ("a|b\n:-|-:\n*c*|<d\ne", TABLE),
        ("a | b", "<p>a | b</p>"),
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
    assert read(body).html(PEOPLE) == html


def test_words_know_what_is_in_them():
    text = read("/me sees @Bob, @bob and @all at https://a.example `@code`")
    assert text.names == ("bob", "all")
    assert (text.has_link, text.has_code, text.is_action) == (True, True, True)
    text = read("/menu")
    assert (text.names, text.has_link, text.has_code, text.is_action) == ((), False, False, False)


def test_no_more_names_are_read_than_may_be_meant():
    assert len(read(" ".join(f"@a{number}" for number in range(60))).names) == NAMES


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
        '<span class="mention" data-user="1">@bob</span>',
        '```html\n<img src=x onerror="alert(1)">\n```',
        "```html\n</code></pre><script>alert(1)</script>\n```",
        "```py\n'</span><script>alert(1)</script>\n```",
        '```js"><script>alert(1)</script>\nif\n```',
        '@bob"><script>alert(1)</script>',
        "@bob<script>alert(1)</script> @all</span><img src=x onerror=alert(1)>",
        "/me <script>alert(1)</script>",
        "<script>alert(1)</script>|b\n:-:|-\n<img src=x onerror=alert(1)>|[x](javascript:alert(1))",
        "a|b\n-|-\n</td><td onclick=alert(1)>|</table><style>*{display:none}</style>",
        "<table><tr><td onclick=alert(1) style=color:red>",
    ],
)  # fmt: skip
def test_markup_of_the_author_is_text(body):
    check_safe(read(body).html(PEOPLE))


@pytest.mark.parametrize(
    ("html", "clean"),
    [
        ('<span class="mention k evil">a</span>', '<span class="mention k">a</span>'),
        ('<span data-user="7">a</span>', '<span data-user="7">a</span>'),
        ('<span data-user="7 8">a</span>', "<span>a</span>"),
        ('<span data-user="٧">a</span>', "<span>a</span>"),
        ('<span style="color:red" onclick="x" id="a" data-x="1">a</span>', "<span>a</span>"),
        ('<p class="mention">a</p>', "<p>a</p>"),
        ('<table border="1"><tbody><tr><td style="text-align:left" colspan="9" onclick="x">a</td>'
         "</tr></tbody></table>", "<table><tbody><tr><td>a</td></tr></tbody></table>"),
        ('<pre class="k"><code class="k" data-user="7">a</code></pre>', "<pre><code>a</code></pre>"),
    ],
)  # fmt: skip
def test_second_wall_knows_classes_by_name(html, clean):
    assert CLEANER.clean(html).replace(' class=""', "") == clean


@given(st.text(alphabet="<>&\"'`[]()*_~!#\n\\ ab:/.jsonclik=@|-", max_size=200))
def test_nothing_but_allowed_tags_comes_out(body):
    check_safe(read(body).html({"a": 1, "b": 2, "bob": 7}))


@given(
    st.sampled_from(["py", "js", "html", "sh", "yaml", "md", "php"]),
    st.text(alphabet="<>&\"'`#/=\n\\ ab:;${}()[]!-?", max_size=200),
)
def test_code_comes_out_as_it_went_in(language, code):
    html = read(f"~~~~{language}\n{code}\n~~~~").html({})
    check_safe(html)
    assert unescape(re.sub(r"<[^>]*>", "", html)).strip() == code.strip()


def check_safe(html):
    for closing, name, rest in re.findall(r"<(/?)(\w*)([^>]*)>", html):
        assert name in TAGS
        given = dict(re.findall(r'([\w-]+)="([^"]*)"', rest))
        assert given.keys() <= ALLOWED.get(name, set())
        assert set(given.get("class", "").split()) <= {"mention", *CLASSES}
        assert re.fullmatch(r"\d*", given.get("data-user", ""))
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


def table(columns, *, rows):
    return "\n".join(["a|" * columns + "a", "-|" * columns + "-", *["a"] * rows])


REPEATED = [
    "://", "http://[", "http://a", "http://a.", "http://a-", "http://a:1", "http://a.b/(", "ftp://a",
    "//", "@", "a@", "a@b", "a@b.c", "mailto:a@b.c ", "www.a", "<http://a>*", "<a@b.c>", "<a", "<!--",
    "[", "[(", "](", "[]", "[a](b", "[a](b)", '[a](b "', "[[a](b)", "![", "~~[a", "*", "_", "~~",
    "*a", "a*", "*a**a", "*a _a", "_a __b ", "***a", "`", "`a", "`` ` ", "\\", "\\\n", "&", "&#1;",
    "@a ", "@a", "@a.", "@ ",
    "|", "|\n", "a|", "-|-\n", "|a|\n", "|a|\n|-|\n", "a|b\n-|-\n\n", "\\|", "a\r-|",
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
    "a wide head, then short rows": table(127, rows=800),
    "a wide head, then carriage returns": table(127, rows=800).replace("\n", "\r"),
    "a table as large as may be": table(20, rows=97),
    "tables in quotes": "> > a|b\n> > -|-\n> > c\n\n" * 200,
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


def test_table_that_short_rows_would_fill_up_is_text():
    assert "<table>" in render(table(20, rows=97))
    assert "<table>" not in render(table(20, rows=98) + "\n")
    for end in ("\r", "\r\n"):
        assert "<table>" not in render(table(127, rows=800).replace("\n", end))


def test_line_of_dashes_is_not_deep():
    assert render("-" * 40) == "<hr>"
    assert render("- " * 9 + "<b>") == f"<pre>{'- ' * 9}&lt;b&gt;</pre>"
