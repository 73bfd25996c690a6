"""Text as XML can carry it."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

# What XML 1.0 has no way to write: https://www.w3.org/TR/xml/#charsets
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def legal(text: str) -> str:
    """Gives a text without the characters that XML cannot carry."""
    return _ILLEGAL.sub("", text)


def document(root: ET.Element, doctype: str = "") -> str:
    """Gives a document, indented, with a line feed at line ends."""
    ET.indent(root, " ")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{doctype}{ET.tostring(root, encoding="unicode")}\n'
