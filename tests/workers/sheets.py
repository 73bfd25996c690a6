"""Pages with tables, columns and figures, drawn for tests."""

import io

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 1240, 1754
PROSE = (
    "The committee met in the morning and heard",
    "three reports on the state of the harbour.",
    "Nobody had expected that the ferry would",
    "leave before the storm, and yet it did so",
    "with all of the mail that had been waiting",
    "since the end of the week. The chairman",
    "thanked the crew and closed the meeting.",
)


class Sheet:
    """A page to draw on; A4 at 150 dpi."""

    def __init__(self, *, width=WIDTH, height=HEIGHT):
        self.image = Image.new("RGB", (width, height), "white")
        self._draw = ImageDraw.Draw(self.image)

    def text(self, left, top, text, *, size=22, bold=False):
        """Writes a line."""
        self._draw.text((left, top), text, fill="black", font=ImageFont.load_default(size), stroke_width=int(bold))

    def prose(self, left, top, count, *, size=22, lines=PROSE):
        """Writes lines of running text."""
        for index in range(count):
            self.text(left, top + index * round(size * 1.5), lines[index % len(lines)], size=size)

    def line(self, *ends, width=2):
        """Draws a line."""
        self._draw.line(ends, fill="black", width=width)

    def chart(self, left, top, width, height):
        """Draws bars on an axis."""
        self.line(left, top, left, top + height)
        self.line(left, top + height, left + width, top + height)
        for index, share in enumerate((0.4, 0.8, 0.6, 0.95, 0.3)):
            x = left + width * (index + 0.25) / 5
            box = (x, top + height * (1 - share), x + width / 10, top + height)
            self._draw.rectangle(box, fill=("steelblue", "firebrick")[index % 2])

    def table(self, left, top, rows, *, widths, height=50, ruled=True, size=22, spans=()):
        """Draws a table.

        Args:
            rows: Texts; None is covered by another cell.
            widths: Of the columns.
            spans: (row, column, rows, columns) of the cells that cover several places.
        """
        xs = [left]
        for width in widths:
            xs.append(xs[-1] + width)
        covering = {(row, column): (down, across) for row, column, down, across in spans}
        for row, texts in enumerate(rows):
            for column, text in enumerate(texts):
                if text is None:
                    continue
                down, across = covering.get((row, column), (1, 1))
                box = (xs[column], top + row * height, xs[column + across], top + (row + down) * height)
                if ruled:
                    self._draw.rectangle(box, outline="black", width=2)
                self.text(box[0] + 14, (box[1] + box[3]) / 2 - size * 0.65, text, size=size, bold=row == 0)


def pdf_table(rows, *, widths, top=700, height=30, ruled=True):
    """A PDF of one page with a table in its text layer."""
    document = pdfium.PdfDocument.new()
    page = document.new_page(595, 842)
    font = pdfium_c.FPDFText_LoadStandardFont(document, b"Helvetica")
    for row, texts in enumerate(rows):
        left = 60
        for width, text in zip(widths, texts, strict=True):
            bottom = top - row * height
            if text:
                _write(document, page, font, left + 8, bottom + 10, text)
            if ruled:
                border = pdfium_c.FPDFPageObj_CreateNewRect(left, bottom, width, height)
                pdfium_c.FPDFPath_SetDrawMode(border, pdfium_c.FPDF_FILLMODE_NONE, True)
                pdfium_c.FPDFPage_InsertObject(page, border)
            left += width
    pdfium_c.FPDFPage_GenerateContent(page)
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def _write(document, page, font, left, bottom, text):
    written = pdfium_c.FPDFPageObj_CreateTextObj(document, font, 12)
    encoded = (text + "\0").encode("utf-16-le")
    pdfium_c.FPDFText_SetText(written, (pdfium_c.c_ushort * (len(encoded) // 2)).from_buffer_copy(encoded))
    pdfium_c.FPDFPageObj_Transform(written, 1, 0, 0, 1, left, bottom)
    pdfium_c.FPDFPage_InsertObject(page, written)


def matrix(table):
    """The texts of a table by row and column; None where a spanning cell covers."""
    texts = [[None] * table.column_count for _ in range(table.row_count)]
    for cell in table.cells:
        texts[cell.row_index][cell.column_index] = cell.text
    return texts
