"""Image files to RGB pages: PNG, JPEG, WebP, TIFF (its frames are pages), BMP and GIF (its first frame)."""

from __future__ import annotations

import io
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from triptych.core.errors import InputTooLarge, MediaCorrupt, MediaTypeUnsupported, RangeOutsideSource
from triptych.core.media import HEAD_BYTES, IMAGE_TYPES, sniff

Pixels = npt.NDArray[np.uint8]

# Only these decoders are ever tried: a file that claims to be an EPS or an SVG reaches no interpreter.
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")

# Pillow's own bomb check knows neither our limit nor our errors; ours looks at the claimed size before any decoding.
Image.MAX_IMAGE_PIXELS = None


class ImagePages:
    """The pages of one image file, decoded one at a time.

    Args:
        data: The file's bytes.
        max_page_pixels: Most pixels of one page, by its claimed size.
        max_page_count: Most pages of a file.

    Raises:
        MediaTypeUnsupported: None of `FORMATS`.
        MediaCorrupt: One of them, but its header cannot be read.
        InputTooLarge: More pages, or a larger first page, than allowed.
    """

    def __init__(self, data: bytes, *, max_page_pixels: int, max_page_count: int) -> None:
        self._max_page_pixels = max_page_pixels
        try:
            self._image = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError as error:
            if sniff(data[:HEAD_BYTES]) in IMAGE_TYPES:
                raise MediaCorrupt("the image's header cannot be read") from error
            raise MediaTypeUnsupported("not an image of a supported type") from error
        except MemoryError:
            raise
        except Exception as error:
            # Pillow's decoders raise nearly anything on damaged files.
            raise MediaCorrupt(f"the image's header cannot be read: {error}") from error
        self._check_size()
        self.page_count = self._count_pages(max_page_count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._image.close()

    def pixels(self, page_number: int) -> Pixels:
        """Decodes one page.

        Args:
            page_number: From 1.

        Returns:
            Shape (height, width, 3), RGB, EXIF orientation applied, transparency laid on white.

        Raises:
            RangeOutsideSource: There is no such page.
            MediaCorrupt: The page cannot be decoded, or the file ends early.
            InputTooLarge: The page claims more pixels than allowed.
        """
        if not 1 <= page_number <= self.page_count:
            raise RangeOutsideSource(f"page {page_number} of {self.page_count}")
        try:
            self._image.seek(page_number - 1)
            self._check_size()
            self._image.load()
            return _rgb(_upright(self._image))
        except (InputTooLarge, MemoryError):
            raise
        except Exception as error:
            # Pillow's decoders raise nearly anything on damaged files.
            raise MediaCorrupt(f"page {page_number} cannot be decoded: {error}") from error

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
    """Decodes an image, or the first page of one: shape (height, width, 3), RGB. Raises as `ImagePages` does."""
    with ImagePages(data, max_page_pixels=max_page_pixels, max_page_count=100_000) as pages:
        return pages.pixels(1)


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # noqa: BLE001 - damaged EXIF data says nothing about the pixels, which are fine
        return image


def _rgb(image: Image.Image) -> Pixels:
    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(_eight_bits(np.asarray(image))[:, :, None], 3, axis=2)
    if image.mode == "LAB":
        # Lightness alone: text needs no colours, and a conversion would need a colour profile.
        return np.asarray(image.getchannel(0).convert("RGB"))
    if image.mode in {"LA", "PA", "La", "RGBA", "RGBa"} or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image)
    return np.asarray(image.convert("RGB"))


def _eight_bits(grey: npt.NDArray[np.generic]) -> Pixels:
    """Scales a grey image of 16 or 32 bits or floats to 0 to 255: by the range its type means, else by its own."""
    values = np.nan_to_num(grey.astype(np.float32), nan=0, posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    is_float = np.issubdtype(grey.dtype, np.floating)
    if low < 0 or high > 65535:
        values, full = values - low, high - low
    elif is_float and high <= 1:
        full = 1.0
    elif high <= 255:
        full = 255.0
    else:
        full = 65535.0
    return np.asarray(values * (255 / (full or 1)), dtype=np.uint8)
