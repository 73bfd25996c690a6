"""Documents made on the spot: pages of large plain text that any engine reads."""

import io

from PIL import Image, ImageDraw, ImageFont


def page(*lines, width=900):
    """One page image with these lines."""
    image = Image.new("L", (width, 60 + 60 * len(lines)), "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((30, 30 + 60 * number), line, fill="black", font=ImageFont.load_default(36))
    return image


def png(*lines):
    """The page as a PNG file."""
    buffer = io.BytesIO()
    page(*lines).save(buffer, "PNG")
    return buffer.getvalue()


def scanned_pdf(pages):
    """A PDF without a text layer; `pages` are tuples of lines."""
    buffer = io.BytesIO()
    first, *rest = [page(*lines) for lines in pages]
    first.save(buffer, "PDF", save_all=True, append_images=rest, resolution=200)
    return buffer.getvalue()
