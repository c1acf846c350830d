"""How much a video may ask for. A file made to exhaust the machine fails alone, and no real video is refused."""

from typing import Final

import msgspec

SECONDS_TO_BEGIN: Final = 60.0
"""Start of a process, its imports, and an open: a second on a quiet machine, much more on a crowded one."""

BYTES_READ_PER_SECOND: Final = 500_000
"""A slow network disk, shared by many workers."""

SECONDS_PER_PACKET: Final = 0.5
SECONDS_PER_MEGAPIXEL: Final = 0.5
"""A packet gets 1.5 s at 1080p by both constants together. Decoding, resizing and encoding take 0.01 to 0.05 s."""


class VideoLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The most that a video may have, or claim in its header to have. A video with more is refused with a message.

    Raises:
        ValueError: a limit is not positive.
    """

    max_pixels: int = 142_606_336
    """Pixels of a frame: 16384 x 8704, the largest picture in any level of HEVC or AV1 (16K; H.264: 8K)."""
    max_packets: int = 10_000_000
    """Packets of a video: 46 hours at 60 frames a second. The scan holds about 300 bytes for each."""
    max_seconds: float = 50 * 86400.0
    """Claimed duration. FLV's clock (32 bits of milliseconds) ends after 49.7 days; real recordings are cut daily."""
    max_streams: int = 500
    """Streams of every kind. A whole television multiplex of 20 programmes has about 100."""
    max_memory_bytes: int = 8 * 2**30
    """Data of one worker process. A decoder of 16K frames (10 bits, 4:2:0) holds 7 frames of 0.43 GB (HEVC, A.4.2)."""

    def __post_init__(self) -> None:
        """Refuse a limit that would refuse every video."""
        for name in self.__struct_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, found {getattr(self, name)}")

    def excess_of_header(
        self, *, num_streams: int, width: int, height: int, num_frames: int, seconds: float | None
    ) -> str | None:
        """What a header claims beyond the limits, and the limit; None if the header is within them."""
        claims = (
            (num_streams, self.max_streams, f"it has {num_streams:,} streams"),
            (width * height, self.max_pixels, f"its frames are {width} x {height} pixels"),
            (num_frames, self.max_packets, f"its header claims {num_frames:,} frames"),
            (seconds or 0.0, self.max_seconds, f"its header claims {seconds or 0:,.0f} seconds"),
        )
        return next(
            (f"{text}; the limit is {limit:,}" for found, limit, text in claims if found > limit), None
        )


DEFAULT_LIMITS: Final = VideoLimits()


def seconds_to_scan(num_bytes: int) -> float:
    """The longest time that reading a file of `num_bytes` may take: once for the packets, once for the hash."""
    return SECONDS_TO_BEGIN + 2 * num_bytes / BYTES_READ_PER_SECOND


def seconds_to_decode(num_packets: int, *, width: int, height: int, num_bytes: int) -> float:
    """The longest time that a unit may take. At worst its file of `num_bytes` is read from the start.

    >>> seconds_to_decode(150, width=1920, height=1080, num_bytes=10_000_000)
    330.52
    """
    seconds_per_packet = SECONDS_PER_PACKET + SECONDS_PER_MEGAPIXEL * width * height / 1e6
    return seconds_to_scan(num_bytes) + num_packets * seconds_per_packet
