"""A message's Markdown → HTML that is safe to show. The only renderer there is.

Two walls: the parser produces no markup of the author's own (raw HTML is text to it), and what it
produces passes an allow-list. No images: they would tell strangers who reads what, and when.
"""

from __future__ import annotations

from html import escape

import nh3
from markdown_it import MarkdownIt

LONGEST = 65_536  # a few hostile bodies grow tenfold; they are shown as plain text instead
MARKDOWN = (
    MarkdownIt("commonmark", {"html": False, "linkify": True, "breaks": True, "maxNesting": 20})
    .enable(["linkify", "strikethrough"])
    .disable(["image", "heading", "lheading", "reference", "code", "html_block", "html_inline"])
)
assert MARKDOWN.linkify is not None
MARKDOWN.linkify.set({"fuzzy_link": False})  # notes.py is a file, not a site in Paraguay
TAGS = {"p", "br", "hr", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "a"}
CLEANER = nh3.Cleaner(
    tags=TAGS,
    attributes={"a": {"href"}, "ol": {"start"}, "*": set()},
    url_schemes={"http", "https", "mailto"},
    link_rel="noopener noreferrer nofollow",
    set_tag_attribute_values={"a": {"target": "_blank"}},
)


def render(body: str) -> str:
    """The body as sanitised HTML."""
    html = CLEANER.clean(MARKDOWN.render(body)).strip()
    return html if len(html) <= LONGEST else f"<pre>{escape(body)}</pre>"
