"""Sections of a documentation page, HTML or a manual page: a heading and the paragraphs below it.

What a page shows beside its text is left out: menus, tables of contents, footers, legal notices,
tables, and lists of links. Which pages are read is said in ``training.data.documentation``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lxml import etree, html

BREAK, HEADING = "\ue000", "\ue001"
"""Mark the end of a paragraph, and the heading that follows: private characters, that XML allows and no text holds."""

SKIPPED = frozenset({"script", "style", "nav", "footer", "form", "table", "button", "select", "iframe", "sup"})
FURNITURE = re.compile(
    r"(?<!\S)(anchor|author|authorgroup|breadcrumbs?|copyright|footer|footnotes?|header|headerlink|indexterm|legalnotice|linktype|menu"
    r"|mobile-nav|nav|navfooter|navheader|navigation|pubdate|pull-right|related|revhistory|short-?contents|sidebar|sphinxsidebar|toc"
    r"|toc-backlink)(?!\S)",
    re.IGNORECASE,
)
"""Classes and ids of what is not the page's text, as DocBook, Sphinx, Texinfo and hand-written pages name them."""

LINKED = frozenset({"p", "li", "dd", "dt", "ul", "ol", "dl", "div"})
BLOCKS = LINKED | {"pre", "blockquote", "section", "article", "br", "hr", "center"}
MOST_LINKED = 0.5
"""Share of a block's letters that may stand in links; above, it is a list of links."""

REMARKS = frozenset({"note", "notes", "important", "tip", "warning", "caution", "caveat", "example", "see", "also", "answer"})
"""A heading of nothing but such words belongs to the section it stands in."""

NUMBER = re.compile(
    r"^((chapter|part|appendix|section|question|q|faq)\s*)?(\(?(faq\s+)?([A-Z]{1,2}-?)?\d+([.-]\d+)*[a-z]?[.):]*|[A-Z]((\.\d+)+\.?|\.)|q:)\s+",
    re.IGNORECASE,
)
PARAGRAPH_MACRO = re.compile(r"\.(PP|P|LP|TP|IP|HP|RS|RE|nf|fi|EX|EE|Vb|Ve|sp)\b")
FONT_MACRO = re.compile(r"\.(BR|IR|RB|RI|BI|IB|B|I|SM|SB)\s+(.*)")
ESCAPES = {r"\-": "-", r"\(aq": "'", r"\(em": "—", r"\(en": "-", r"\(dq": '"', r"\ ": " ", r"\e": "\\"}
OTHER_ESCAPE = re.compile(r"\\[f*](\(..|\[[^]]*\]|.)|\\s[-+]?\d|\\\(..|\\\[[^]]*\]|\\[hv]'[^']*'|\\[&|^/,%:c]")


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its paragraphs."""

    title: str
    paragraphs: tuple[str, ...]


def html_sections(content: bytes) -> Iterator[Section]:
    """Yield the sections of an HTML page; the page's own title heads what stands before the first heading."""
    page = html.fromstring(content)
    title = re.split(r"\s+[|\u2014\u2013-]\s+", page.findtext(".//title") or "")[0]
    body = page.find("body")
    body = page if body is None else body
    for element in [element for element in body.iterdescendants() if _is_furniture(element)]:
        if element.getparent() is not None:
            element.drop_tree()
    for element in list(body.iter(etree.Element)):
        if _is_heading(element):
            name = _flat(element.text_content())
            for child in list(element):
                element.remove(child)
            element.text = f"{BREAK}{HEADING}{name}{BREAK}"
        elif element.tag in BLOCKS:
            element.text = BREAK + (element.text or "")
            element.tail = BREAK + (element.tail or "")
    yield from _sections(title, body.text_content().split(BREAK))


def manual_sections(source: str) -> Iterator[Section]:
    """Yield the sections of a manual page that is written with the macros of man(7)."""
    lines = []
    for line in re.sub(r"^\.de1? .*?^\.\.$", "", source, flags=re.MULTILINE | re.DOTALL).splitlines():  # without its own macros
        font = FONT_MACRO.match(line)
        if line.startswith((".SH", ".SS")):
            name = _plain(line[3:]).strip('" ')
            lines.append(f"{BREAK}{HEADING}{name}{BREAK}")
        elif PARAGRAPH_MACRO.match(line):
            lines.append(BREAK)
        elif font:
            lines.append(_in_fonts(font[1], font[2]))
        elif not line.startswith((".", "'")):
            lines.append(_plain(line))
    yield from _sections("", "\n".join(lines).split(BREAK))


def _sections(title: str, pieces: list[str]) -> Iterator[Section]:
    paragraphs: list[str] = []
    for piece in [*pieces, HEADING]:
        if piece.startswith(HEADING):
            heading = _heading(piece[1:])
            if heading and set(heading.lower().strip(":").split()) <= REMARKS:
                continue
            if paragraphs:
                yield Section(_heading(title), tuple(paragraphs))
            title, paragraphs = heading, []
        elif text := re.sub(r"^Answer:\s*", "", _flat(piece)):
            paragraphs.append(text)


def _heading(text: str) -> str:
    return NUMBER.sub("", _flat(text).strip("¶#* ")).strip()


def _flat(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _is_furniture(element: html.HtmlElement) -> bool:
    """Say whether it is no text of the page: a comment, a menu, a list of links."""
    if not isinstance(element.tag, str) or element.tag in SKIPPED:
        return True
    if FURNITURE.search(f"{element.get('class', '')} {element.get('id', '')}"):
        return True
    linked = sum(len(link.text_content()) for link in element.iter("a") if link.get("href")) if element.tag in LINKED else 0
    return linked > MOST_LINKED * len(_flat(element.text_content()))


def _is_heading(element: html.HtmlElement) -> bool:
    """Say whether it is a heading, or a question that is set as a term or as a bold paragraph."""
    if re.fullmatch(r"h[1-6]", element.tag):
        return True
    text = _flat(element.text_content()) if element.tag in {"dt", "p"} else ""
    if not text.endswith("?") or len(text.split()) < 3:
        return False
    bold = _flat(" ".join(part.text_content() for part in element.iter("b", "strong")))
    return element.tag == "dt" or bold == text


def _in_fonts(macro: str, words: str) -> str:
    """Return the words of a font macro: one of two letters, such as ``.BR``, sets them without spaces between."""
    pieces = [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|(\S+)', words)]
    return _plain(("" if len(macro) == 2 and macro[0] != "S" else " ").join(pieces))


def _plain(text: str) -> str:
    """Return text without the escapes of roff."""
    text = re.sub(r'\\".*', "", text)
    for escape, letter in ESCAPES.items():
        text = text.replace(escape, letter)
    return OTHER_ESCAPE.sub("", text)
