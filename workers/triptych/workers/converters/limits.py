"""What opening one archive, message, office file, web page or video may take, and what may come of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    # The process that opens documents has no settings, and need not spend a third of a second on how they are read.
    from triptych.core.settings import Settings

# By the clock a guarded process gets so many times the processor's time that it may use.
WALL_PER_CPU = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionLimits:
    """Bounds of one document and of the process that opens it.

    Attributes:
        max_member_count: Documents in it.
        max_bytes: That come out of it.
        max_depth: Of archives and messages in each other.
        max_video_frames: Key frames of a video.
        max_page_pixels: Of one frame.
        max_cpu_s: CPU seconds.
        max_memory_bytes: Memory.
    """

    max_member_count: int = 256
    max_bytes: int = 512 << 20
    max_depth: int = 3
    max_video_frames: int = 64
    max_page_pixels: int = 100_000_000
    max_cpu_s: int = 120
    max_memory_bytes: int = 1 << 30

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Gives the limits that the operator has set."""
        return cls(
            max_member_count=settings.max_member_count,
            max_bytes=settings.max_unpacked_bytes,
            max_depth=settings.max_unpack_depth,
            max_video_frames=settings.max_video_frames,
            max_page_pixels=settings.max_page_pixels,
            max_cpu_s=settings.max_unpack_cpu_s,
            max_memory_bytes=settings.max_decoder_bytes,
        )

    def less(self, *, member_count: int, size_bytes: int) -> Self:
        """Gives what is left of them."""
        return replace(
            self,
            max_member_count=max(0, self.max_member_count - member_count),
            max_bytes=max(0, self.max_bytes - size_bytes),
        )
