"""Pages that a toy can read: a word of up to eight letters, drawn as eight by eight black and white squares."""

import io

import numpy as np
from PIL import Image

SIDE = 8
SQUARE_PX = 8


def png(word):
    """The page of a word as a PNG file."""
    return _file([word], "PNG")


def pdf(words):
    """A PDF with one page for each word."""
    return _file(words, "PDF", save_all=True)


def read(pixels):
    """Gives the word of a page of any size, from pixels of shape (height, width, 3)."""
    rows, columns = ((np.arange(SIDE) * 2 + 1) * side // (2 * SIDE) for side in pixels.shape[:2])
    black = pixels[rows][:, columns, 0] < 128
    return np.packbits(black).tobytes().rstrip(b"\0").decode("ascii")


def _page(word):
    bits = np.unpackbits(np.frombuffer(word.encode("ascii").ljust(SIDE, b"\0"), np.uint8)).reshape(SIDE, SIDE)
    return Image.fromarray(np.kron(255 - 255 * bits, np.ones((SQUARE_PX, SQUARE_PX), np.uint8)))


def _file(words, kind, **options):
    buffer = io.BytesIO()
    first, *rest = [_page(word) for word in words]
    more = {"append_images": rest, **options} if rest else {}
    first.save(buffer, kind, **more)
    return buffer.getvalue()
