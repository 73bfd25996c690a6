"""The sections of a report that show where the evidence is: a picture per place, and a card per piece."""

from __future__ import annotations

from collections.abc import Sequence

from triptych.cli.evidence import place as place_text
from triptych.cli.printing import clock, enum_word
from triptych.cli.report.marks import COLOURS, Mark
from triptych.cli.report.markup import Html, tag
from triptych.cli.report.pictures import Shown
from triptych.cli.report.wave_picture import MIN_SPAN_PX, WIDTH_PX

# What is cited may be a syllable long: it is played with what is around it.
LEAD_MS, TAIL_MS = 300, 600


def section(shown: Shown, number: int) -> Html:
    """Gives the section of one place."""
    place = shown.place
    cards = [_card(shown, mark) for mark in place.marks]
    note = tag("p", shown.failure, class_="note") if shown.failure else None
    sides = [tag("div", note, _figure(shown), _player(shown), class_="sight")] if note or shown.picture else []
    return tag(
        "section",
        tag("h3", place.title, id=f"place-{number}", dir="auto"),
        tag("div", sides, tag("ol", cards, class_="cards", role="list"), class_="place"),
        aria_labelledby=f"place-{number}",
    )


def rules(shown: Sequence[Shown]) -> str:
    """Gives the style rules of all boxes: their places, and that a box and its card light up together."""
    found = [f".mark-{index}{{--mark:{colour}}}" for index, colour in enumerate(COLOURS)]
    for one in shown:
        for mark in one.place.marks:
            name, card = f"#box-{mark.number + 1}", f"#evidence-{mark.number + 1}"
            if one.picture:
                left, top, right, bottom = _area(one, mark)
                found.append(
                    f"{name}{{left:{left:.3f}%;top:{top:.3f}%;width:{right - left:.3f}%;height:{bottom - top:.3f}%}}"
                )
                found.append(f"body:has({card}:hover) {name},body:has({card}:target) {name}{{background:var(--glow)}}")
                found.append(
                    f"body:has({name}:hover) {card},body:has({name}:target) {card}{{outline:3px solid var(--mark)}}"
                )
    return "\n".join(found)


def _figure(shown: Shown) -> Html | None:
    if not shown.picture:
        return None
    place = shown.place
    names = ", ".join(mark.name for mark in place.marks)
    what = "Wave of" if place.kind == "sound" else "Picture of"
    width, height = shown.size
    image = tag("img", src=shown.picture, width=width, height=height, alt=f"{what} {place.title} with {names} marked")
    boxes = [
        tag(
            "a", id=f"box-{mark.number + 1}", class_=f"box mark-{mark.number % len(COLOURS)}",
            href=f"#evidence-{mark.number + 1}", aria_label=f"{mark.name}: {mark.evidence.quote or 'marked place'}",
        )
        for mark in place.marks
    ]  # fmt: skip
    return tag("figure", image, boxes)


def _player(shown: Shown) -> Html | None:
    if not shown.sound:
        return None
    first_ms, _ = _played(shown.place.marks[0])
    source = f"{shown.sound}#t={first_ms / 1000:.3f}"
    label = f"{shown.place.title}, {clock(shown.duration_ms)} long"
    return tag("audio", controls=True, preload="metadata", src=source, data_sound=shown.sound, aria_label=label)


def _card(shown: Shown, mark: Mark) -> Html:
    from triptych.v1.reasoning_pb2 import QuoteMatch

    found = mark.evidence
    name = tag("a", mark.name, class_="badge", href=f"#box-{mark.number + 1}") if shown.picture else None
    match = enum_word(QuoteMatch, found.quote_match)
    told = [_MATCHES.get(match, match)]
    if found.HasField("confidence"):
        told.append(f"recognized with confidence {found.confidence:.2f}")
    return tag(
        "li",
        tag("p", name or tag("span", mark.name, class_="badge"), " ", tag("span", place_text(found), class_="where")),
        tag("blockquote", found.quote, dir="auto") if found.quote else None,
        tag("p", ", ".join(told), class_=f"match match-{match}"),
        tag("p", "for ", tag("code", found.json_pointer)) if found.json_pointer else None,
        _play_link(shown, mark),
        id=f"evidence-{mark.number + 1}",
        class_=f"card mark-{mark.number % len(COLOURS)}",
    )


_MATCHES = {
    "exact": "found word for word",
    "fuzzy": "found with small differences",
    "none": "not found in the documents: treat with suspicion",
    "unspecified": "a place without words",
}


def _play_link(shown: Shown, mark: Mark) -> Html | None:
    if not shown.sound:
        return None
    start, end = (ms / 1000 for ms in _played(mark))
    # Without scripts it is a link to the sound at this second (W3C Media Fragments).
    return tag(
        "p", tag(
            "a", f"▶ play at {clock(mark.evidence.audio.start_ms)}", class_="play",
            href=f"{shown.sound}#t={start:.3f},{end:.3f}", data_plays=shown.sound, data_start=start, data_end=end,
        ),
    )  # fmt: skip


def _played(mark: Mark) -> tuple[int, int]:
    audio = mark.evidence.audio
    return max(0, audio.start_ms - LEAD_MS), audio.end_ms + TAIL_MS


def _area(shown: Shown, mark: Mark) -> tuple[float, float, float, float]:
    """Gives left, top, right, bottom of a mark in percent of its picture."""
    if shown.place.kind != "sound":
        left, top, right, bottom = (100 * value for value in mark.box())
        return left, top, right, bottom
    audio = mark.evidence.audio
    length_ms = max(1, shown.duration_ms)
    left = 100 * audio.start_ms / length_ms
    return left, 0.0, min(100.0, max(100 * audio.end_ms / length_ms, left + 100 * MIN_SPAN_PX / WIDTH_PX)), 100.0
