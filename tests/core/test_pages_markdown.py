"""Markdown and HTML, read back by parsers that are not ours."""

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from triptych.core.pages_html import page_html, table_html
from triptych.core.pages_markdown import block_markdown, page_markdown, table_markdown
from triptych.core.pages_paragraphs import flowing
from triptych.v1 import ocr_pb2
from triptych.v1.ocr_pb2 import OcrPage, OcrTable, TextLine


def line(text, left=0.1, top=0.1, right=0.5, height=0.02):
    return TextLine(text=text, polygon=[left, top, right, top, right, top + height, left, top + height])


def page_of(*blocks, tables=()):
    """A page of (kind, texts) blocks."""
    page = OcrPage(page_number=3, tables=tables)
    for kind, *texts in blocks:
        block = page.blocks.add(kind=getattr(ocr_pb2, f"BLOCK_KIND_{kind}"))
        for text in texts:
            block.line_indices.append(len(page.lines))
            page.lines.append(line(text, top=0.03 * len(page.lines)))
        if kind == "TABLE":
            block.table_index = 0
    return page


def table(*rows, header=1):
    made = OcrTable(row_count=len(rows), column_count=len(rows[0]))
    for row, texts in enumerate(rows):
        for column, text in enumerate(texts):
            made.cells.add(
                row_index=row, column_index=column, row_span=1, column_span=1, text=text, header=row < header
            )
    return made


def rendered(markdown):
    return MarkdownIt("commonmark").enable("table").enable("strikethrough").render(markdown)


class Texts(HTMLParser):
    """The texts of a document, and its tags."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts = [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_blocks_become_headings_paragraphs_and_lists():
    page = page_of(
        ("TITLE", "Annual", "report"),
        ("PARAGRAPH", "It was a good busi-", "ness year."),
        ("HEADING", "Goals"),
        ("LIST", "• more", "of it", "• less"),
        ("LIST", "3. three", "4) four"),
        ("FIGURE",),
        ("CAPTION", "Figure 1: growth"),
    )
    assert page_markdown(page) == (
        "# Annual report\n\nIt was a good business year.\n\n## Goals\n\n- more of it\n- less\n\n3. three\n4. four\n\n"
        "<!-- figure -->\n\nFigure 1: growth\n"
    )
    assert page_html(page) == (
        '<section class="page" data-page="3">\n<h1>Annual report</h1>\n<p>It was a good business year.</p>\n'
        "<h2>Goals</h2>\n<ul><li>more of it</li><li>less</li></ul>\n"
        '<ol><li value="3">three</li><li value="4">four</li></ol>\n<figure></figure>\n'
        '<p class="caption">Figure 1: growth</p>\n</section>\n'
    )


def test_a_plain_table_is_markdown_and_one_with_spans_is_html():
    plain = table(["a|b", "c"], ["1\n2", "*"])
    assert table_markdown(plain) == "| a\\|b | c |\n| --- | --- |\n| 1<br>2 | \\* |"
    spanning = OcrTable(row_count=2, column_count=2)
    spanning.cells.add(row_span=1, column_span=2, text="R & D", header=True)
    spanning.cells.add(row_index=1, row_span=1, column_span=1, text="1 < 2")
    spanning.cells.add(row_index=1, column_index=1, row_span=1, column_span=1)
    html = '<table>\n<tr><th colspan="2">R &amp; D</th></tr>\n<tr><td>1 &lt; 2</td><td></td></tr>\n</table>'
    assert table_markdown(spanning) == html
    assert table_html(spanning) == html
    assert table_html(OcrTable()) == table_markdown(OcrTable()) == ""


def test_a_table_without_a_header_gets_an_empty_one_in_markdown():
    tokens = MarkdownIt("commonmark").enable("table").parse(table_markdown(table(["1", "2"], ["3", "4"], header=0)))
    cells = [token.content for token in tokens if token.type == "inline"]
    assert cells == ["", "", "1", "2", "3", "4"]


def test_a_page_without_blocks_is_paragraphs_by_the_places_of_its_lines():
    page = OcrPage(
        lines=[
            line("Dear", top=0.10),
            line("reader,", top=0.125),
            line("Total", top=0.20, right=0.2),
            line("5.00", left=0.3, top=0.20),
            line("Cash", top=0.23, right=0.2),
            line("* 9", left=0.3, top=0.23),
            line("# 1. Big", top=0.30, height=0.06),
        ]
    )
    assert page_markdown(page) == "Dear reader,\n\nTotal  5.00\\\nCash  \\* 9\n\n\\# 1. Big\n"
    assert "<p>Dear reader,</p>\n<p>Total  5.00<br>Cash  * 9</p>\n<p># 1. Big</p>\n" in page_html(page)
    assert page_markdown(OcrPage()) == ""


@pytest.mark.parametrize(
    ("texts", "joined"),
    [
        (["exam-", "ple"], "example"),
        (["2019-", "2020"], "2019- 2020"),
        (["well-", "Known"], "well- Known"),
        (["全文", "検索"], "全文検索"),
        (["한국", "어"], "한국 어"),
        (["", " a "], "a"),
        ([], ""),
    ],
)
def test_lines_flow_together(texts, joined):
    assert flowing(texts) == joined


@given(st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126), max_size=40))
def test_any_text_reads_back_from_markdown_and_html_as_it_was(text):
    text = " ".join(text.split())
    for kind in ("PARAGRAPH", "HEADING", "CAPTION"):
        page = page_of((kind, text))
        if kind != "HEADING" or text:
            seen = Texts(rendered(block_markdown(page, page.blocks[0])))
            assert " ".join("".join(seen.texts).split()) == text
            assert seen.tags == ([] if not text else ["h2" if kind == "HEADING" else "p"])
    assert "".join(Texts(page_html(page_of(("PARAGRAPH", text)))).texts).strip("\n") == text
    made = table(["head"], [text])
    cells = [token.content for token in MarkdownIt("commonmark").enable("table").parse(table_markdown(made))]
    assert sum(content != "" for content in cells) == 1 + bool(text)
