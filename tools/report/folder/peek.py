"""A few frames of a video, decoded in a worker process with limits: a decoder may crash, hang or want all memory."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from cache_builder.errors import ConfigError, UnitNotIndependentError, VideoError
from cache_builder.executors import JobLimits
from cache_builder.plan import resolved_geometry
from cache_builder.video.decode import CPU, DecodedFrame, UnitDecoder, VideoReader, gop_units
from cache_builder.video.ffmpeg_log import decoder_log
from cache_builder.video.opening import DEFAULT_LIMITS, out_of_memory_text, seconds_to_decode
from cache_builder.video.picture import MAX_SIZE, MIN_SIZE, NATIVE, FrameGeometry, why_no_levels
from cache_builder.video.scan import VideoScan, ticks_to_seconds
from frame_store.html import Picture, picture_of
from frame_store.names import PixelName

MOST_FRAMES: Final = 48
"""Frames of a video that are decoded, at most; fewer of large pictures."""
_MOST_PIXELS: Final = MOST_FRAMES * 1280 * 720
MOST_SECONDS: Final = 20.0
"""For the frames of one video."""
_QUALITY: Final = 70


class PeekedFrame(msgspec.Struct, frozen=True, kw_only=True):
    """A decoded frame."""

    seconds: float | None
    """Its pts; None where it has none."""
    picture: Picture
    is_corrupt: bool
    """Whether the decoder flagged it."""


class Peek(msgspec.Struct, frozen=True, kw_only=True):
    """What decoding a few frames of a video gave."""

    frames: list[PeekedFrame]
    num_decoded: int
    problems: list[str]
    """Errors of the decoder, one line each, with their times."""


class PeekJob(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Decode some frames at a few places of a scanned video, and make pictures of them."""

    row: int
    path: Path
    scan: VideoScan
    num_pictures: int
    max_side: int
    """Of a picture, in pixels."""

    @property
    def name(self) -> str:
        """The video, as messages name it."""
        return self.scan.facts.path

    @property
    def limits(self) -> JobLimits:
        """Those of a build, and at most `MOST_SECONDS`."""
        facts = self.scan.facts
        seconds = seconds_to_decode(
            MOST_FRAMES, width=facts.width, height=facts.height, num_bytes=facts.num_bytes
        )
        return JobLimits(seconds=min(MOST_SECONDS, seconds), memory_bytes=DEFAULT_LIMITS.max_memory_bytes)

    def run(self) -> Peek:
        """Decode.

        Raises:
            VideoError: the file is not the one that was scanned, or its pictures cannot be converted.
            OSError: the machine failed to read the file.
        """
        try:
            return self._peek()
        except MemoryError as error:
            raise VideoError(self.name, out_of_memory_text()) from error

    def _peek(self) -> Peek:
        units = places_to_decode(gop_units(self.scan.packets, min_packets=1), self.num_pictures)
        try:
            return self._peek_into(units)
        except UnitNotIndependentError:  # a build decodes such a video from its start, too
            pass
        try:
            return self._peek_into([(0, self.scan.facts.num_packets)])
        except UnitNotIndependentError:
            return Peek(frames=[], num_decoded=0, problems=["no frame comes out of its packets"])

    def _peek_into(self, units: Sequence[tuple[int, int]]) -> Peek:
        """The first frames of each unit; of a single one the pictures are spread over what is decoded."""
        facts = self.scan.facts
        num_frames = max(
            self.num_pictures, min(MOST_FRAMES, _MOST_PIXELS // max(1, facts.width * facts.height))
        )
        geometry, pixel = self._geometry(), self._pixel()
        frames: list[PeekedFrame] = []
        problems: list[str] = []
        num_decoded = 0
        with VideoReader(self.path, self.scan) as reader:
            for first, end in units:
                most = min(max(1, num_frames // len(units)), end - first)
                with decoder_log(facts.codec) as log:
                    decoder = reader.decode(first, end, log=log)
                    taken = _Taken(
                        decoder, [0] if len(units) > 1 else places_of(most, self.num_pictures), most
                    )
                    for number, image in CPU.convert_frames(taken.wanted(), facts, geometry, pixel):
                        shown = taken.kept[number]
                        frames.append(
                            PeekedFrame(
                                seconds=None if np.isnan(shown.pts_seconds) else shown.pts_seconds,
                                picture=picture_of(image, quality=_QUALITY),
                                is_corrupt=shown.is_corrupt,
                            )
                        )
                    problems += [f"{error.reason} {self._when(error.packet)}" for error in decoder.errors[:3]]
                num_decoded += taken.num_decoded
                if taken.first_corrupt is not None:
                    problems.append(f"a frame is flagged corrupt {self._when(taken.first_corrupt)}")
        return Peek(frames=frames, num_decoded=num_decoded, problems=list(dict.fromkeys(problems)))

    def _when(self, packet: int) -> str:
        """Where a packet lies: `at 1.20 s`, or `at packet 30` without pts."""
        pts = self.scan.packets.pts
        place = min(packet, len(pts) - 1)
        seconds = float(ticks_to_seconds(pts[place : place + 1], self.scan.time_base)[0])
        return f"at packet {packet}" if np.isnan(seconds) else f"at {seconds:.2f} s"

    def _geometry(self) -> FrameGeometry:
        """The whole picture, upright, in a box of its shape; bars make up for pixels that are not square."""
        try:
            native = resolved_geometry(FrameGeometry(height=NATIVE, width=NATIVE), [self.scan.facts])
        except ConfigError:  # larger or smaller than a stored frame may be
            return FrameGeometry(height=self.max_side, width=self.max_side, resize="pad")
        longer = max(native.height, native.width)
        sides = [
            min(MAX_SIZE, max(MIN_SIZE, round(side * min(1.0, self.max_side / longer))))
            for side in (native.height, native.width)
        ]
        return FrameGeometry(height=sides[0], width=sides[1], resize="pad")

    def _pixel(self) -> PixelName:
        pixel_format = self.scan.facts.pixel_format
        return "gray16" if "16" in pixel_format and why_no_levels(pixel_format) is None else "rgb8"


class _Taken:
    """Some of the first frames of a decoder, which is left when the last of them is there."""

    def __init__(self, decoder: UnitDecoder, places: Sequence[int], num_frames: int) -> None:
        self._decoder, self._places, self._num_frames = decoder, frozenset(places), num_frames
        self.kept: dict[int, DecodedFrame] = {}
        self.num_decoded = 0
        self.first_corrupt: int | None = None
        """The packet of the first frame that the decoder flagged."""

    def wanted(self) -> Iterator[tuple[int, DecodedFrame]]:
        """The frames at the places, with their numbers."""
        for number, decoded in enumerate(self._decoder):
            self.num_decoded += 1
            if decoded.is_corrupt and self.first_corrupt is None:
                self.first_corrupt = decoded.packet
            if number in self._places:
                self.kept[number] = decoded
                yield number, decoded
            if self.num_decoded >= self._num_frames:
                return


def places_to_decode(units: Sequence[tuple[int, int]], at_most: int) -> list[tuple[int, int]]:
    """Some units, spread evenly over all.

    >>> places_to_decode([(0, 5), (5, 9), (9, 12), (12, 20), (20, 30)], 2)
    [(5, 9), (12, 20)]
    """
    return [units[place] for place in places_of(len(units), at_most)]


def places_of(number: int, at_most: int) -> list[int]:
    """Some of the numbers below `number`, spread evenly.

    >>> places_of(10, 3), places_of(2, 3)
    ([1, 5, 8], [0, 1])
    """
    count = min(number, at_most)
    return [(2 * place + 1) * number // (2 * count) for place in range(count)]
