"""Image files to RGB pages: PNG, JPEG, WebP, TIFF (its frames are pages), BMP, GIF, HEIC and AVIF (first images)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pi_heif
from PIL import Image, ImageChops, UnidentifiedImageError

from triptych.core.errors import InputTooLarge, MediaCorrupt, MediaTypeUnsupported, RangeOutsideSource
from triptych.core.media import HEAD_BYTES, IMAGE_TYPES, sniff
from triptych.v1.ocr_pb2 import OcrPage

Pixels = npt.NDArray[np.uint8]

# Only these decoders are ever tried: a file that claims to be an EPS or an SVG reaches no interpreter.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "HEIF", "AVIF")
# Rows are converted so many pixels at a time: a whole page would be in memory four times.
BAND_PIXELS = 250_000
_ORIENTATION = 0x0112
# How to look at an upright page so that it lies as its file has it; by EXIF orientation.
_AS_STORED: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda page: page[:, ::-1],
    3: lambda page: page[::-1, ::-1],
    4: lambda page: page[::-1],
    5: lambda page: page.swapaxes(0, 1),
    6: lambda page: np.rot90(page, 1),
    7: lambda page: page[::-1, ::-1].swapaxes(0, 1),
    8: lambda page: np.rot90(page, -1),
}

# Pillow's own bomb check knows neither our limit nor our errors; ours looks at the claimed size before any decoding.
Image.MAX_IMAGE_PIXELS = None
pi_heif.register_heif_opener(thumbnails=False)


class ImagePages:
    """The pages of one image file, decoded one at a time.

    Args:
        file: Seekable.
        max_page_pixels: Most pixels of one page, by its claimed size.
        max_page_count: Most pages of a file.

    Raises:
        MediaTypeUnsupported: None of `FORMATS`.
        MediaCorrupt: One of them, but its header cannot be read.
        InputTooLarge: More pages, or a larger first page, than allowed.
    """

    def __init__(self, file: BinaryIO, *, max_page_pixels: int, max_page_count: int) -> None:
        self._max_page_pixels = max_page_pixels
        file.seek(0)
        head = file.read(HEAD_BYTES)
        try:
            self._image = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError as error:
            if sniff(head) in IMAGE_TYPES:
                raise MediaCorrupt("the image's header cannot be read") from error
            raise MediaTypeUnsupported("not an image of a supported type") from error
        except MemoryError:
            raise
        except Exception as error:
            # Pillow's decoders raise nearly anything on damaged files.
            raise MediaCorrupt(f"the image's header cannot be read: {error}") from error
        self._check_size()
        self.page_count = self._count_pages(max_page_count)

    def close(self) -> None:
        """Lets go of the file."""
        self._image.close()

    def pixels(self, page_number: int, *, dpi: int = 0) -> tuple[Pixels, int]:  # noqa: ARG002
        """Decodes one page.

        Args:
            page_number: From 1.
            dpi: Of no meaning: pixels come as the file has them.

        Returns:
            Shape (height, width, 3), RGB, EXIF orientation applied, transparency laid on white; and 0.

        Raises:
            RangeOutsideSource: There is no such page.
            MediaCorrupt: The page cannot be decoded, or the file ends early.
            InputTooLarge: The page claims more pixels than allowed.
        """
        if not 1 <= page_number <= self.page_count:
            raise RangeOutsideSource(f"page {page_number} of {self.page_count}")
        try:
            if self.page_count > 1:
                self._image.seek(page_number - 1)
            self._check_size()
            self._image.load()
            return _upright_rgb(self._image), 0
        except (InputTooLarge, MemoryError):
            raise
        except Exception as error:
            # Pillow's decoders raise nearly anything on damaged files.
            raise MediaCorrupt(f"page {page_number} cannot be decoded: {error}") from error

    def embedded_text(self, page_number: int, *, dpi: int, words: bool) -> OcrPage | None:  # noqa: ARG002
        """Gives None: an image has no text of its own."""
        return None

    def _check_size(self) -> None:
        width, height = self._image.size
        if width * height > self._max_page_pixels:
            raise InputTooLarge(
                f"an image of {width} x {height} pixels", limit=self._max_page_pixels, value=width * height
            )
        if width * height == 0:
            raise MediaCorrupt("an image without pixels")

    def _count_pages(self, max_page_count: int) -> int:
        if self._image.format != "TIFF":
            return 1
        # Not n_frames: that walks a file of a million frames to its end before anything can be refused.
        count = 1
        try:
            while count <= max_page_count:
                self._image.seek(count)
                count += 1
        except EOFError:
            pass
        except Exception:  # noqa: BLE001 - a damaged directory ends the chain; the pages before it stand
            return count
        if count > max_page_count:
            raise InputTooLarge("a file of too many pages", limit=max_page_count, value=count)
        return count


def decode_image(data: bytes, *, max_page_pixels: int) -> Pixels:
    """Decodes an image that can be trusted, within this process: shape (height, width, 3), RGB. See `ImagePages`."""
    with closing(ImagePages(io.BytesIO(data), max_page_pixels=max_page_pixels, max_page_count=100_000)) as pages:
        return pages.pixels(1)[0]


def _upright_rgb(image: Image.Image) -> Pixels:
    orientation = _orientation(image)
    width, height = image.size
    page = np.empty((width, height, 3) if orientation >= 5 else (height, width, 3), np.uint8)
    stored = _AS_STORED[orientation](page) if orientation in _AS_STORED else page
    top = 0
    for band in _rgb_bands(image):
        stored[top : top + len(band)] = band
        top += len(band)
    return page


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF data says nothing about the pixels, which are fine
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _rgb_bands(image: Image.Image) -> Iterator[Pixels]:
    """Yields the image as RGB, some rows at a time from the top."""
    bands = _grey_bands if image.mode.startswith("I") or image.mode == "F" else _colour_bands
    return bands(image)


def _bands(image: Image.Image) -> Iterator[Image.Image]:
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height)))


def _colour_bands(image: Image.Image) -> Iterator[Pixels]:
    # Pillow takes the inks of every JPEG for inverted, as Adobe's programs write them, and say so.
    not_inverted = image.mode == "CMYK" and image.format in {"JPEG", "MPO"} and "adobe" not in image.info
    transparent = image.mode in {"LA", "PA", "La", "RGBA", "RGBa"} or "transparency" in image.info
    for band in _bands(image):
        if band.mode == "LAB":
            # Lightness alone: text needs no colours, and a conversion would need a colour profile.
            band = band.getchannel(0)  # noqa: PLW2901
        elif not_inverted:
            band = ImageChops.invert(band)  # noqa: PLW2901
        elif transparent:
            paper = Image.new("RGBA", band.size, "white")
            band = Image.alpha_composite(paper, band.convert("RGBA"))  # noqa: PLW2901
        yield np.asarray(band.convert("RGB"))


def _grey_bands(image: Image.Image) -> Iterator[Pixels]:
    """Scales a grey image of 16 or 32 bits or floats to 0 to 255: by the range its type means, else by its own."""
    bands = [(float(grey.min()), float(grey.max())) for grey in map(_values, _bands(image))]
    low, high = min(low for low, _ in bands), max(high for _, high in bands)
    offset = 0.0
    if low < 0 or high > 65535:
        offset, full = low, high - low
    elif image.mode == "F" and high <= 1:
        full = 1.0
    elif high <= 255:
        full = 255.0
    else:
        full = 65535.0
    for grey in map(_values, _bands(image)):
        yield np.asarray((grey - offset) * (255 / (full or 1)), dtype=np.uint8)[:, :, None]


def _values(band: Image.Image) -> npt.NDArray[Any]:
    return np.nan_to_num(np.asarray(band).astype(np.float32), nan=0, posinf=0, neginf=0)
