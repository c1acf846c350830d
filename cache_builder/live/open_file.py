"""An open file whose frames are decoded on demand. Each run of the decoder is as short as possible."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from cache_builder.errors import UnitNotIndependentError, VideoError
from cache_builder.video.decode import DecodedFrame, VideoReader
from frame_store.shared import counted


class DecodeStarts:
    """Frames of all files at whose packets decoding may start. It learns from failures; threads share it.

    A *line* counts the frames of all files: those of the first file come first, then those of the next.
    """

    def __init__(self, lines: npt.NDArray[np.int64]) -> None:
        """Take the lines in ascending order. They include the first frame of every file."""
        self._lines = lines

    def before(self, lines: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The last start at or before each line."""
        starts = self._lines
        return starts[np.searchsorted(starts, lines, side="right") - 1]

    def drop(self, line: int) -> None:
        """Never start at this line again. If two threads drop at once, one drop may be lost and learned again."""
        starts = self._lines
        self._lines = starts[starts != line]


@dataclass(slots=True)
class LearnedOfFile:
    """What reading a file has shown. It is kept while the file is closed."""

    is_sparse: bool = True
    """Whether decoding with pictures left out has given the expected frames so far."""


class _WrongStartError(Exception):
    """Frames depend on pictures before the start."""


class _DamageError(Exception):
    """Frames depend on damage, and so on everything decoded since the start that a build uses."""


class _NotAsExpectedError(Exception):
    """Decoding with pictures left out did not give the expected frames."""


class ConvertsFrames(Protocol):
    """Turns a decoded frame into pixels: `FrameConverter` into arrays, other converters into tensors."""

    def convert(
        self,
        frame: VideoFrame,
        out: Any,  # noqa: ANN401 - an array, or a tensor on a device
        *,
        sample_aspect_ratio: Fraction | None,
    ) -> object:
        """Write the frame into `out`, (H, W, 3). Raises `ValueError` for colours that it cannot convert.

        The frame's own aspect is None where the video's aspect holds.
        """
        ...


class Outs(Protocol):
    """An output (H, W, 3) for each frame: an array or a tensor (B, H, W, 3), or a list of them."""

    def __getitem__(self, position: int, /) -> Any: ...  # noqa: ANN401 - as above


@dataclass(kw_only=True)
class LiveFile:
    """An open file. One thread at a time uses it."""

    reader: VideoReader
    packet_of_frame: npt.NDArray[np.int32]
    """Ordinal of the packet that each frame of the file was coded in, in output order."""
    converter: ConvertsFrames
    unit_starts: npt.NDArray[np.int64]
    """As `FrameTable.unit_starts`."""
    first_line: int
    """Line of the file's first frame, as `DecodeStarts` counts."""
    starts: DecodeStarts
    learned: LearnedOfFile

    @property
    def num_bytes_idle(self) -> int:
        """Memory of the idle decoder, about eight pictures: 25 MB for 1080p H.264."""
        facts = self.reader.scan.facts
        return facts.width * facts.height * 12

    def read(self, wanted: list[int], positions: list[int], outs: Outs) -> None:
        """Decode the frames `wanted` (ascending, duplicates allowed), each to its position in `outs`.

        Raises:
            VideoError: the video changed since it was scanned, or decodes to other frames than the scan predicted.
        """
        done = 0
        while done < len(wanted):
            start, end = self._next_run(wanted, done)
            run = wanted[done:end]
            try:
                if self.learned.is_sparse and self._may_be_sparse():
                    self._read_sparsely(start, run, positions[done:end], outs)
                else:
                    self._read_from(start, run, positions[done:end], outs)
            except _NotAsExpectedError:
                self.learned.is_sparse = False
            except (UnitNotIndependentError, _WrongStartError):
                # The loop tries the start before this one. The first start never fails.
                self.starts.drop(self.first_line + start)
            except _DamageError:
                self._drop_up_to_builds_start(start)
            else:
                done = end

    def _next_run(self, wanted: list[int], done: int) -> tuple[int, int]:
        """(Start for wanted[done], end in `wanted` up to which it is cheaper to go on than to start again)."""
        starts = (
            self.starts.before(np.array(wanted[done:], np.int64) + self.first_line) - self.first_line
        ).tolist()
        end = done + 1
        while end < len(wanted) and starts[end - done] <= wanted[end - 1] + 1:
            end += 1
        return starts[0], end

    def _may_be_sparse(self) -> bool:
        """Whether pictures without references to them are reliably marked, and the packets give the frames.

        H.264's nal_ref_idc is 0 only if no other picture refers to the picture. (HEVC's marks hold in one layer only.)
        """
        facts = self.reader.scan.facts
        return facts.codec == "h264" and facts.uncounted_reason is None

    def _read_sparsely(self, start: int, wanted: list[int], positions: list[int], outs: Outs) -> None:
        expected = self.packet_of_frame
        packets = expected[wanted].tolist()
        decoder = self.reader.decode_sparsely(self._first_packet(start), packets)
        place_of = dict(zip(packets, wanted, strict=True))
        done = 0
        try:
            for decoded in decoder:
                if decoded.is_corrupt or decoder.errors:
                    raise _NotAsExpectedError
                frame_in_video = place_of.get(decoded.packet)
                if frame_in_video is None:
                    continue
                if done == len(wanted) or frame_in_video != wanted[done]:
                    raise _NotAsExpectedError
                done = self._hand_out(decoded, wanted, positions, done, outs)
                if done == len(wanted):
                    return
        except UnitNotIndependentError:
            raise _NotAsExpectedError from None
        raise _NotAsExpectedError

    def _read_from(self, start: int, wanted: list[int], positions: list[int], outs: Outs) -> None:
        """Decode everything from `start` to the last wanted frame, as a build does."""
        expected = self.packet_of_frame
        facts = self.reader.scan.facts
        decoder = self.reader.decode(self._first_packet(start), facts.num_packets)
        is_damaged = False
        done = 0
        for frame_in_video, decoded in enumerate(decoder, start=start):
            # A decoder's result for damage depends on everything before, so start where a build starts.
            is_damaged = is_damaged or decoded.is_corrupt or bool(decoder.errors)
            if is_damaged and not self._is_in_builds(start):
                raise _DamageError
            if frame_in_video >= len(expected) or decoded.packet != expected[frame_in_video]:
                break
            if frame_in_video < wanted[done]:
                continue
            done = self._hand_out(decoded, wanted, positions, done, outs)
            if done == len(wanted):
                return
        if start:
            raise _WrongStartError
        raise VideoError(
            facts.path,
            f"damaged: near frame {wanted[done]} it decodes to other frames than its "
            f"{counted(facts.num_packets, 'packet')} and their pts promised; "
            "open_videos(decode_all=True) counts the frames that decode",
        )

    def _drop_up_to_builds_start(self, start: int) -> None:
        """Drop `start` and the starts before it, back to the one at which a build starts."""
        while not self._is_in_builds(start):
            self.starts.drop(self.first_line + start)
            start = int(self.starts.before(np.array([self.first_line + start]))[0]) - self.first_line

    def _first_packet(self, start: int) -> int:
        # Packet 0: the frames of an open GOP at the video's beginning come before the first packet's own frame.
        return int(self.packet_of_frame[start]) if start else 0

    def _is_in_builds(self, start: int) -> bool:
        """Whether a build, too, starts a unit at this frame."""
        return bool((self.unit_starts == self._first_packet(start)).any())

    def _hand_out(
        self,
        decoded: DecodedFrame,
        wanted: list[int],
        positions: list[int],
        done: int,
        outs: Outs,
    ) -> int:
        """Convert wanted[done] to all its outputs; returns how many of `wanted` are done then."""
        first = outs[positions[done]]
        facts = self.reader.scan.facts
        aspect = facts.presentation.aspect_of_frame(decoded.sample_aspect_ratio)
        try:
            self.converter.convert(decoded.frame, first, sample_aspect_ratio=aspect)
        except ValueError as error:
            raise VideoError(facts.path, str(error)) from error
        end = done + 1
        while end < len(wanted) and wanted[end] == wanted[done]:
            outs[positions[end]][:] = first
            end += 1
        return end
