"""What decoding one document may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from triptych.core.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLimits:
    """Bounds of a document and of the process that decodes it.

    Attributes:
        max_page_pixels: Most pixels of one page. A larger page of a PDF is drawn coarser, a larger image refused.
        max_page_count: Most pages of an image file, and of one job.
        max_page_cpu_s: CPU seconds that opening a document, or one page of it, may take.
        max_bytes: Memory that its decoder may take beside the file and the finished page.
    """

    max_page_pixels: int = 100_000_000
    max_page_count: int = 2000
    max_page_cpu_s: int = 60
    max_bytes: int = 1 << 30

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Gives the limits that the operator has set."""
        return cls(
            max_page_pixels=settings.max_page_pixels,
            max_page_count=settings.max_page_count,
            max_page_cpu_s=settings.max_page_cpu_s,
            max_bytes=settings.max_decoder_bytes,
        )


DEFAULT_LIMITS = PageLimits()
