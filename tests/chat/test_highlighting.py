"""Code with its words marked, at a cost that is bounded."""

from __future__ import annotations

import re
import time
from html import unescape
from pathlib import Path

import pytest
from pygments.lexers import get_lexer_by_name

from chat.highlighting import CLASSES, LANGUAGES, LINES, LONGEST, WIDTH, highlight

REPOSITORY = Path(__file__).resolve().parents[2]


def text_of(html):
    return unescape(re.sub(r"</?span[^>]*>", "", html))


@pytest.mark.parametrize(
    ("language", "code", "html"),
    [
        ("py", "def f(a): # <b>", '[k|def] [nf|f](a): [c|# &lt;b&gt;]'),
        ("JS", "let a = 'b'", "[k|let] a = [s|&#x27;b&#x27;]"),
        ("json", '{"a": 1}', "{[nt|&quot;a&quot;]: [m|1]}"),
        ("diff", "-a\n+b\n", "[gd|-a]\n[gi|+b]\n"),
        ("", "def", "def"),
        ("klingon", "def <b>", "def &lt;b&gt;"),
    ],
)  # fmt: skip
def test_words_of_a_language_are_marked(language, code, html):
    assert highlight(code, language) == re.sub(
        r"\[(\w+)\|(.*?)\]", r'<span class="\1">\2</span>', html
    )


@pytest.mark.parametrize("name", sorted(set(LANGUAGES.values())))
def test_every_language_has_a_lexer_that_keeps_the_text(name):
    assert get_lexer_by_name(name)
    code = "\n\n  if (a < b && \"c\") { return 'd'; } # e\n\t<p class=x>1.5</p>\n\n"
    html = highlight(code, name)
    assert text_of(html) == code
    assert set(re.findall('class="([^"]*)"', html)) <= CLASSES


@pytest.mark.parametrize(
    "code",
    ["if " * (LONGEST // 3 + 1), "if\n" * (LINES + 1), "if " * (WIDTH // 3 + 1)],
    ids=["too long", "too many lines", "too wide"],
)
def test_too_much_code_is_plain(code):
    assert "<span" in highlight("if\n" * LINES, "python")
    assert highlight(code, "python") == code


HOSTILE = ["a ", "a\n", '\\"', "m{", "//", "<?", "{", "a.b"]


@pytest.mark.parametrize("name", sorted(set(LANGUAGES.values())))
def test_no_code_takes_long(name):
    """A quarter of a second at the very most; what grows with the square takes seconds."""
    for unit in HOSTILE:
        assert any(seconds_to_highlight(unit, name) < 1 for _ in range(3)), unit


def seconds_to_highlight(unit, name):
    line = unit if "\n" in unit else (unit * WIDTH)[: WIDTH - 1] + "\n"
    code = "".join([line] * LINES)[:LONGEST]
    started = time.thread_time()  # of this thread alone, whatever else goes on
    highlight(code, name)
    return time.thread_time() - started


class TestColours:
    CSS = (REPOSITORY / "chat/static/chat/code.css").read_text()
    SITE = (REPOSITORY / "project/static/site/site.css").read_text()

    def test_every_class_has_its_rule(self):
        assert set(re.findall(r"[( ]\.([a-z]{1,2})\b", self.CSS)) == CLASSES

    def test_every_colour_is_seen_by_day_and_by_night(self):
        """4.5 to 1 on the ground that code has (WCAG 1.4.3)."""
        for scheme in (0, 1):
            ground = re.findall(r"--sunken: (#\w+)", self.SITE)[scheme]
            half = self.CSS.split("@media")[scheme]
            colours = re.findall(r"--code-\w+: (#\w+)", half)
            assert len(colours) == 10
            assert [c for c in colours if contrast(c, ground) < 4.5] == []


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
