"""HTML that is put together from elements, in which every text is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable

_EMPTY = frozenset({"meta", "img", "br"})


class Html(str):
    """Text that is HTML already: it is not escaped again."""

    __slots__ = ()


Content = str | Iterable["Content"] | None
"""What an element holds: texts, which get escaped, elements, and lists of these; None is nothing."""


def inner(content: Content) -> Html:
    """Gives the HTML of what an element holds."""
    if content is None:
        return Html()
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        return Html(html.escape(content))
    return Html("".join(inner(part) for part in content))


def tag(name: str, /, *content: Content, **attributes: str | float | bool | None) -> Html:
    """Gives one element.

    Args:
        name: Of the element.
        content: What it holds.
        attributes: `class_` is class, `data_start` is data-start; True stands alone, None and False are left out.
    """
    given = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{html.escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Html(f"<{name}{given}>" if name in _EMPTY else f"<{name}{given}>{inner(content)}</{name}>")


def table(columns: Iterable[str], rows: Iterable[Iterable[Content]], caption: str) -> Html:
    """Gives a table with a heading that people see, and a caption; it scrolls by itself where it is too wide."""
    head = tag("tr", (tag("th", column, scope="col") for column in columns))
    body = (tag("tr", (tag("td", cell) for cell in row)) for row in rows)
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", body))
    return tag("div", whole, class_="wide", tabindex="0", role="region", aria_label=caption)
