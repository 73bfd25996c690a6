"""What is written beside a report for each place: a picture, and for a recording its sound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.cli.report import page_picture
from triptych.cli.report.places import Place
from triptych.cli.report.sound_file import write_playable
from triptych.cli.report.wave_picture import wave_image

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A place with what was written for it.

    Attributes:
        place: What is shown.
        picture: Name of the picture's file; empty: there is none.
        size: Of the picture in pixels, width and height.
        sound: Name of the file to play; empty: there is none.
        duration_ms: Of the sound.
        failure: Why there is no picture; empty if there is one, or could be none.
    """

    place: Place
    picture: str = ""
    size: tuple[int, int] = (0, 0)
    sound: str = ""
    duration_ms: int = 0
    failure: str = ""


def show_place(place: Place, number: int, folder: Path, password: str = "") -> Shown:
    """Writes what shows a place, `<folder>/place-<number>.png` and so on.

    A file that cannot be shown costs its picture only: the answer is there, and was paid for.
    """
    document = place.document
    if document is None or place.kind in ("text", "nowhere"):
        return Shown(place=place)
    if document.file is None or not document.media_type:
        return Shown(place=place, failure=f"{document.name} is not at hand as a page or a sound")
    stem = f"place-{number}"
    try:
        if place.kind == "sound":
            image, duration_ms = wave_image(document.file, place.marks)
            sound = write_playable(document.file, folder, stem).name
            return _written(place, image, folder / f"{stem}.png", sound=sound, duration_ms=duration_ms)
        if place.kind == "frame":
            image = page_picture.frame_image(document.file, place.position)
        else:
            image = page_picture.page_image(document.file, document.media_type, place.position, password)
        page_picture.draw_marks(image, place.marks)
        return _written(place, image, folder / f"{stem}.png")
    except Exception as error:  # noqa: BLE001 - decoders raise nearly anything on damaged files
        return Shown(place=place, failure=f"{document.name} cannot be shown: {error}")


def _written(place: Place, image: Image, path: Path, *, sound: str = "", duration_ms: int = 0) -> Shown:
    image.save(path, optimize=True)
    return Shown(place=place, picture=path.name, size=image.size, sound=sound, duration_ms=duration_ms)
