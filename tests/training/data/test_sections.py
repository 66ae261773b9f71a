"""Sections of documentation pages, in the shapes that Debian's packages really have them."""

import pytest

from training.data.sections import Section, html_sections, manual_sections

DOCBOOK = """
<html><head><title>Chapter 1. Definitions</title></head><body>
<div class="navheader"><table><tr><td><a href="index.html">Prev</a></td></tr></table></div>
<div class="chapter"><h1 class="title">Chapter 1. Definitions</h1>
<div class="toc"><dl class="toc"><dt><a href="#faq">1.1. What is this FAQ?</a></dt></dl></div>
<div class="section"><h2 class="title"><a id="faq"></a>1.1. What is
this FAQ?</h2><p>It gives answers
to questions.</p><h3>Note</h3><p>Some need <a href="x.html">other pages</a> beside this one.</p></div></div>
<div class="navfooter"><p>Next</p></div></body></html>
"""

SPHINX = """
<html><head><title>Programming FAQ &#8212; Python 3.11 documentation</title></head><body>
<div class="related"><ul><li><a href="index.html">index</a> of all pages</li></ul></div>
<section><h2><a class="toc-backref" href="#id2">Can I sort a list?</a><a class="headerlink" href="#sort">¶</a></h2>
<p>Use the method sort.</p><div class="highlight"><pre>rows.sort()
print(rows)</pre></div></section>
<div class="sphinxsidebar"><p>Quick search</p></div></body></html>
"""

ASCIIDOC = """
<html><body><div class="sectionbody"><div class="dlist"><dl>
<dt class="hdlist1">What should I put in <code>user.name</code>?</dt><dd><p>Your own name.</p></dd>
<dt class="hdlist1">-v</dt><dd><p>Say more.</p></dd></dl></div>
<p><b>(2) How do I make a table?</b></p><blockquote>With a statement.</blockquote>
<ul><li><a href="a.html">A list of links</a></li></ul><script>go()</script></div></body></html>
"""

MANUAL = r"""
.\" who wrote it
.de Sp
.if t .sp .5v
..
.TH link 2 2023-02-05 "Linux man-pages 6.03"
.SH NAME
link, linkat \- make a new name for a file
.SH "DESCRIPTION"
.BR link ()
creates a new link (also known as a
.IR "hard link" ).
.PP
\fIoldpath\fP isn\(aqt changed, \s-1POSIX\s0 says.
.SS Does Perl have a \fBround()\fP function?
.IX Subsection "round"
.Vb 1
\&    printf("%.3f", 3.14);
.Ve
"""


def test_docbook_gives_a_question_without_its_number_and_no_navigation() -> None:
    assert list(html_sections(DOCBOOK.encode())) == [
        Section("What is this FAQ?", ("It gives answers to questions.", "Some need other pages beside this one."))
    ]


def test_sphinx_gives_a_heading_that_is_a_link_and_keeps_code() -> None:
    (section,) = html_sections(SPHINX.encode())
    assert section == Section("Can I sort a list?", ("Use the method sort.", "rows.sort() print(rows)"))


def test_a_term_or_a_bold_paragraph_that_asks_is_a_heading_and_other_terms_are_text() -> None:
    assert list(html_sections(ASCIIDOC.encode())) == [
        Section("What should I put in user.name?", ("Your own name.", "-v", "Say more.")),
        Section("How do I make a table?", ("With a statement.",)),
    ]


def test_the_title_of_a_page_heads_what_has_no_heading() -> None:
    page = b"<html><head><title>A.1 What is a river? | Rivers</title></head><body><div><p>It is water.</p></div></body></html>"
    assert list(html_sections(page)) == [Section("What is a river?", ("It is water.",))]


def test_a_manual_page_gives_plain_text_without_macros_and_escapes() -> None:
    assert list(manual_sections(MANUAL)) == [
        Section("NAME", ("link, linkat - make a new name for a file",)),
        Section(
            "DESCRIPTION",
            ("link() creates a new link (also known as a hard link).", "oldpath isn't changed, POSIX says."),
        ),
        Section("Does Perl have a round() function?", ('printf("%.3f", 3.14);',)),
    ]


@pytest.mark.parametrize(
    ("heading", "title"),
    [
        ("(FAQ 92a) Someone told me", "Someone told me"),
        ("D.10.1 How does it work?", "How does it work?"),
        ("G1. What is fetchmail?", "What is fetchmail?"),
        ("Appendix A. The Manifesto", "The Manifesto"),
        ("A disk is full", "A disk is full"),
        ("I have a web server", "I have a web server"),
    ],
)
def test_a_number_is_taken_off_a_heading_and_a_word_is_not(heading: str, title: str) -> None:
    (section,) = html_sections(f"<html><body><h2>{heading}</h2><p>text</p></body></html>".encode())
    assert section.title == title
