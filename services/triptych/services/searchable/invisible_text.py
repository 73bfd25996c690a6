"""Removes text of rendering mode 3, as earlier OCR left it: pages that are read anew would have their text twice."""

from __future__ import annotations

from collections.abc import Sequence

import pikepdf
from pikepdf import (
    ContentStreamInlineImage,
    ContentStreamInstruction,
    Dictionary,
    Name,
    Object,
    Operator,
    Page,
    Pdf,
    Stream,
)

from triptych.services.searchable.flate import compressed

# Forms that are drawn by forms that are drawn by ...
MAX_DEPTH = 8
_MODES = {str(mode): mode for mode in range(8)}
_SHOW, _SHOW_MANY, _NEXT_SHOW, _SPACED_SHOW = "Tj", "TJ", "'", '"'


def remove_invisible_text(pdf: Pdf, page: Page) -> None:
    """Rewrites the content streams of a page in which there is such text; a page without any stays byte for byte.

    What is seen does not change: paths, pictures and visible text stay, and so do moves to the next line.
    """
    contents = page.obj.get(Name.Contents)
    if contents is None:
        return
    streams = list(contents) if isinstance(contents, pikepdf.Array) else [contents]
    if _mentions_mode(streams) and (stripped := _without(page)) is not None:
        page.obj[Name.Contents] = compressed(pdf, stripped)
    forms = _forms(page.get_resources())
    if forms is not None and (replaced := _stripped_forms(pdf, forms, MAX_DEPTH)):
        resources = copied(page.get_resources())
        resources[Name.XObject] = Dictionary({**dict(forms.items()), **replaced})
        page.obj[Name.Resources] = resources


def copied(found: Object | None) -> Dictionary:
    """Gives a dictionary with the same entries, for one page alone; an empty one of what is none."""
    return Dictionary(dict(found.items())) if isinstance(found, Dictionary) else Dictionary()


def _stripped_forms(pdf: Pdf, forms: Object, depth: int) -> dict[str, Object]:
    """Gives new forms in place of those that have such text; the old ones may be drawn by other pages as well."""
    replaced: dict[str, Object] = {}
    for key, form in forms.items():
        if not isinstance(form, Stream) or form.get(Name.Subtype) != Name.Form:
            continue
        inner = _forms(form.get(Name.Resources))
        within = _stripped_forms(pdf, inner, depth - 1) if inner is not None and depth else {}
        stripped = _without(form) if _mentions_mode([form]) else None
        if stripped is None and not within:
            continue
        new = compressed(pdf, form.read_bytes() if stripped is None else stripped)
        for name, value in form.items():
            if name not in {"/Length", "/Filter", "/DecodeParms"}:
                new[name] = value
        if within and inner is not None:
            resources = copied(form.get(Name.Resources))
            resources[Name.XObject] = Dictionary({**dict(inner.items()), **within})
            new[Name.Resources] = resources
        replaced[key] = new
    return replaced


def _forms(resources: Object | None) -> Object | None:
    found = resources.get(Name.XObject) if isinstance(resources, Dictionary) else None
    return found if isinstance(found, Dictionary) else None


def _mentions_mode(streams: Sequence[Object]) -> bool:
    """Whether a rendering mode is set at all: most pages are told so without being parsed."""
    try:
        return any(isinstance(stream, Stream) and b"Tr" in stream.read_bytes() for stream in streams)
    except pikepdf.PdfError:
        return False  # what cannot be decoded shows nothing


def _without(where: Page | Stream) -> bytes | None:
    """Gives the instructions that are left; None if there is no such text."""
    kept: list[ContentStreamInstruction | ContentStreamInlineImage] = []
    mode, saved, found = 0, [0], False
    try:
        instructions = pikepdf.parse_content_stream(where)
    except (pikepdf.PdfError, pikepdf.PdfParsingError):
        return None
    for instruction in instructions:
        operator, operands = str(instruction.operator), list(instruction.operands)
        if operator == "q":
            saved.append(mode)
        elif operator == "Q":
            mode = saved.pop() if len(saved) > 1 else mode
        elif operator == "Tr" and operands:
            mode = _MODES.get(str(operands[0]), mode)
        if mode == 3 and operator in {_SHOW, _SHOW_MANY, _NEXT_SHOW, _SPACED_SHOW}:
            found = True
            kept += _moves(operator, operands)
        else:
            kept.append(instruction)
    return pikepdf.unparse_content_stream(kept) if found else None


def _moves(operator: str, operands: Sequence[Object]) -> list[ContentStreamInstruction]:
    """Gives what an instruction does beside showing text: ISO 32000-1, 9.4.3."""
    moves: list[tuple[Sequence[Object], str]] = []
    if operator == _SPACED_SHOW and len(operands) == 3:
        moves += [([operands[0]], "Tw"), ([operands[1]], "Tc")]
    if operator in {_NEXT_SHOW, _SPACED_SHOW}:
        moves.append(([], "T*"))
    return [ContentStreamInstruction(list(values), Operator(name)) for values, name in moves]
