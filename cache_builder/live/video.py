"""An open video whose frames are decoded when asked for, each run of the decoder as short as it can be."""

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
    """Frames, of all videos, at whose packets decoding may start; learns from failures, shared by threads."""

    def __init__(self, frame_ids: npt.NDArray[np.int64]) -> None:
        """Take the ids, ascending, the first frame of every video among them."""
        self._frame_ids = frame_ids

    def before(self, frame_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The last start at or before each frame."""
        starts = self._frame_ids
        return starts[np.searchsorted(starts, frame_ids, side="right") - 1]

    def drop(self, frame_id: int) -> None:
        """Never start there again. A drop lost to another thread's is learned once more."""
        starts = self._frame_ids
        self._frame_ids = starts[starts != frame_id]


@dataclass(slots=True)
class LearnedOfVideo:
    """What reading a video has shown, kept while it is closed."""

    is_sparse: bool = True
    """Whether leaving pictures out has given the frames expected so far."""


class _WrongStartError(Exception):
    """Frames depend on pictures that the decoder would have seen before."""


class _DamageError(Exception):
    """Frames depend on damage, and so on all that the decoder saw since a build's start."""


class _NotAsExpectedError(Exception):
    """Leaving pictures out did not give the frames it should."""


class ConvertsFrames(Protocol):
    """Turns a decoded frame into pixels: `FrameConverter` in arrays, others in memory of their kind."""

    def convert(
        self,
        frame: VideoFrame,
        out: Any,  # noqa: ANN401 - an array, or a tensor on a device
        *,
        sample_aspect_ratio: Fraction | None,
    ) -> object:
        """Write the frame into `out`, (H, W, 3). Raises `ValueError` for colours that it cannot convert.

        The frame's own aspect is None where it is as the video's.
        """
        ...


class Outs(Protocol):
    """A place (H, W, 3) for each frame, of the converter's kind: an array or a tensor (B, H, W, 3), or a list."""

    def __getitem__(self, position: int, /) -> Any: ...  # noqa: ANN401 - as above


@dataclass(kw_only=True)
class LiveVideo:
    """An open video, used by one thread at a time."""

    reader: VideoReader
    packet_of_frame: npt.NDArray[np.int32]
    """Ordinal of the packet that each frame of the video was coded in, in output order."""
    converter: ConvertsFrames
    unit_starts: npt.NDArray[np.int64]
    """As `FrameTable.unit_starts`."""
    first_id: int
    """Frame id of its first frame."""
    starts: DecodeStarts
    learned: LearnedOfVideo

    @property
    def num_bytes_idle(self) -> int:
        """What its decoder holds while nobody reads, about: eight pictures; 25 MB for 1080p H.264."""
        facts = self.reader.scan.facts
        return facts.width * facts.height * 12

    def read(self, wanted: list[int], positions: list[int], outs: Outs) -> None:
        """Decode the frames `wanted`, ascending and with duplicates, each to its position in `outs`.

        Raises:
            VideoError: the video changed since it was scanned, or decodes to other frames than the scan told.
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
                # The start before is tried next; the first one never fails.
                self.starts.drop(self.first_id + start)
            except _DamageError:
                self._drop_up_to_builds_start(start)
            else:
                done = end

    def _next_run(self, wanted: list[int], done: int) -> tuple[int, int]:
        """Where to start for wanted[done], and up to where in `wanted` the decoder had better go on."""
        starts = (
            self.starts.before(np.array(wanted[done:], np.int64) + self.first_id) - self.first_id
        ).tolist()
        end = done + 1
        while end < len(wanted) and starts[end - done] <= wanted[end - 1] + 1:
            end += 1
        return starts[0], end

    def _may_be_sparse(self) -> bool:
        """Whether what is not a reference is marked so, beyond doubt, and the packets tell the frames.

        H.264's nal_ref_idc is 0 only where no other picture refers to it. (HEVC's marks hold in one layer only.)
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
        """Decode everything from `start` to the last frame wanted, as a build does."""
        expected = self.packet_of_frame
        facts = self.reader.scan.facts
        decoder = self.reader.decode(self._first_packet(start), facts.num_packets)
        is_damaged = False
        done = 0
        for frame_in_video, decoded in enumerate(decoder, start=start):
            # What a decoder makes of damage depends on all that came before: start where a build does.
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
        """Give up `start` and those before it, as far as the one at which a build starts, too."""
        while not self._is_in_builds(start):
            self.starts.drop(self.first_id + start)
            start = int(self.starts.before(np.array([self.first_id + start]))[0]) - self.first_id

    def _first_packet(self, start: int) -> int:
        # Frames before the first packet's own: those of an open GOP that the video begins with.
        return int(self.packet_of_frame[start]) if start else 0

    def _is_in_builds(self, start: int) -> bool:
        """Whether a build starts a unit there, too."""
        return bool((self.unit_starts == self._first_packet(start)).any())

    def _hand_out(
        self,
        decoded: DecodedFrame,
        wanted: list[int],
        positions: list[int],
        done: int,
        outs: Outs,
    ) -> int:
        """Convert wanted[done] to all places that want it; how many of `wanted` are done then."""
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
