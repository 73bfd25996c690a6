"""Text as XML can carry it."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

# What XML 1.0 has no way to write: https://www.w3.org/TR/xml/#charsets
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'


def legal(text: str) -> str:
    """Gives a text without the characters that XML cannot carry."""
    return _ILLEGAL.sub("", text)


def written(element: ET.Element) -> str:
    """Gives an element as text, indented."""
    ET.indent(element, " ")
    return ET.tostring(element, encoding="unicode")
