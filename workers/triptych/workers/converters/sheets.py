"""Reads Excel files: the values that were saved with them, as they are shown, by sheet, row and column."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.utils import get_column_letter

from triptych.core.document_types import XLSX_TYPE
from triptych.core.errors import InputTooLarge
from triptych.workers.converters import office_file
from triptych.workers.converters.contents import Contents
from triptych.workers.converters.limits import ConversionLimits
from triptych.workers.converters.lines import Cell, Lines

# Formats of numbers: "#,##0.00 [$€-407]", "0.0%", '"EUR" 0'; ECMA-376, part 1, 18.8.31.
_CURRENCY = re.compile(r"\[\$([^\]-]*)(?:-[^\]]*)?\]|\"([^\"]{1,4})\"|([$€£¥₹])")
_DECIMALS = re.compile(r"[0#]\.(0+)")
_LEADING_ZEROS = re.compile(r"0{2,}")
# Empty ones count, too: a sheet with a cell at its far end makes many.
_MAX_CELLS = 2_000_000


def convert(path: Path, folder: Path, limits: ConversionLimits) -> Contents:  # noqa: ARG001 - as all converters
    """Reads an Excel file. Formulas count with the result that was saved last, if there is one.

    Raises:
        MediaCorrupt: It is none, or damaged.
        InputTooLarge: Too much is in it.
    """
    office_file.check(path, limits)
    lines = Lines()
    left = _MAX_CELLS
    # A file, not its path: the library goes by the ends of names.
    with path.open("rb") as file:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
        for sheet in book.worksheets:
            # What it claims to be its size is not to be relied on.
            sheet.reset_dimensions()
            lines.add(f"Sheet {sheet.title}", f"sheet '{sheet.title}'")
            rows = _Rows(sheet, left)
            lines.table(rows)
            left = rows.left
    return Contents(media_type=XLSX_TYPE, text=lines.text, lines=lines.spans, parts=lines.parts)


class _Rows:
    """The rows of a sheet that have something in them; counts its cells."""

    def __init__(self, sheet: Any, left: int) -> None:
        self._sheet = sheet
        self.left = left

    def __iter__(self) -> Iterator[list[Cell]]:
        for row in self._sheet.iter_rows():
            self.left -= 1 + len(row)
            if self.left < 0:
                raise InputTooLarge(f"it has more than {_MAX_CELLS} cells", limit=_MAX_CELLS, value=_MAX_CELLS + 1)
            while row and row[-1].value is None:
                row = row[:-1]  # noqa: PLW2901
            if row:
                yield [self._cell(cell, column) for column, cell in enumerate(row, 1)]

    def _cell(self, cell: Any, column: int) -> Cell:
        if cell.value is None:
            return Cell(text="", part="")
        place = f"{get_column_letter(column)}{cell.row}"
        return Cell(text=shown(cell.value, cell.number_format or ""), part=f"sheet '{self._sheet.title}', {place}")


def shown(value: object, number_format: str) -> str:
    """Gives a value about as the program shows it: dates by ISO 8601, numbers with their decimals and currency."""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime.datetime):
        return value.date().isoformat() if value.time() == datetime.time() else value.isoformat(" ", "minutes")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, int | float):
        return _number(value, number_format.partition(";")[0])
    return str(value)


def _number(value: float, number_format: str) -> str:
    currency = _CURRENCY.search(number_format)
    sign = next((found.strip() for found in currency.groups() if found), "") if currency else ""
    plain = _CURRENCY.sub("", number_format)
    decimals = _DECIMALS.search(plain)
    percent = "%" in plain
    if _LEADING_ZEROS.fullmatch(plain) and value == int(value):  # a code, not an amount
        return f"{int(value):0{len(plain)}d}"
    if plain in {"", "General", "@"} or not re.search(r"[0#]", plain):
        text = f"{value:.12g}" if isinstance(value, float) else str(value)
    else:
        scaled = value * 100 if percent else value
        text = f"{scaled:{',' if ',' in plain else ''}.{len(decimals[1]) if decimals else 0}f}"
    if percent:
        text += "%" if not text.endswith("%") else ""
    if currency is None or not sign:
        return text
    before = not re.search(r"[0#]", number_format[: currency.start()])
    glue = "" if len(sign) == 1 else " "
    return f"{sign}{glue}{text}" if before else f"{text} {sign}"
