"""Decodes one unit in a worker: decode, keep, convert, encode, spill."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from cache_builder.errors import DeviceError, UnitNotIndependentError, VideoError
from cache_builder.executors import JobLimits
from cache_builder.findings import FRAME_DTYPE, KEPT_DTYPE, FrameNotes, UnitReceipt
from cache_builder.jobs.objects import SECONDS_TO_PUT
from cache_builder.jobs.spill import SpilledUnit, SpillPlace, spilled_unit
from cache_builder.plan import DecodeUnit, Selection, make_selection
from cache_builder.settings import BuildConfig
from cache_builder.staging import StagedVideoJob
from cache_builder.video.decode import (
    CPU,
    DecodeBackend,
    DecodedFrame,
    NumberedFrames,
    UnitDecoder,
    VideoReader,
    num_to_decode_after,
)
from cache_builder.video.ffmpeg_log import decoder_log
from cache_builder.video.opening import DEFAULT_LIMITS, out_of_memory_text, seconds_to_decode
from cache_builder.video.packets import NO_PTS
from cache_builder.video.scan import VideoScan
from frame_store.codec import crc32c, make_codec
from frame_store.protocol import Frames

FRAMES_PER_FIDELITY_SAMPLE: Final = 16
"""Every 16th stored frame of a unit, its first one included, is decoded again and compared."""


class UnitJob(StagedVideoJob, frozen=True, kw_only=True, eq=False):
    """Decode `unit` of the video at `path` into `spill`."""

    scan: VideoScan
    unit: DecodeUnit
    first_ordinal: int
    """Ordinal in the video of the unit's first frame, as far as it is known. Only `--stride` needs it."""
    output_pts: bytes | None = None
    """int64 ticks of the unit's frames in output order and of the next frame, as far as they are known; None if each
    frame has the timestamp of its packet. Only `--fps` needs them."""
    keep: bytes | None = None
    """Of a file that holds several episodes: a bool for each frame of the unit, whether it is kept, as far as known.
    Frames after the last one are not kept. None: the configuration alone decides."""
    config: BuildConfig
    spill: SpillPlace
    backend: DecodeBackend = CPU

    @property
    def name(self) -> str:
        """The video, as messages name it."""
        return self.scan.facts.path

    @property
    def spill_name(self) -> str:
        """Name of the unit's spill files: all that their content depends on, except inputs and configuration."""
        unit = self.unit
        phase = self.first_ordinal % self.config.stride
        clock = "" if self.output_pts is None else f"-{crc32c(self.output_pts):08x}"
        kept = "" if self.keep is None else f"-k{crc32c(self.keep):08x}"
        return f"{unit.video_id:06d}-{unit.first_packet:09d}-{unit.end_packet:09d}-{phase}{clock}{kept}"

    @property
    def limits(self) -> JobLimits:
        """By the unit's packets and the size of the frames. CUDA reserves much memory: on a GPU it has no limit."""
        facts = self.scan.facts
        is_device = self.backend.is_device
        # Where a device fails, the CPU decodes the unit again.
        num_packets = self.unit.num_packets * (2 if is_device else 1)
        seconds = seconds_to_decode(
            num_packets, width=facts.width, height=facts.height, num_bytes=facts.num_bytes
        )
        if not isinstance(self.spill, Path):
            seconds += SECONDS_TO_PUT  # a slow store is no fault of the video
        return JobLimits(
            seconds=seconds,
            memory_bytes=None if is_device else DEFAULT_LIMITS.max_memory_bytes,
            num_gpus=int(is_device),
        )

    def run(self) -> UnitReceipt:
        """Decode and spill the unit, unless an earlier run did so and its files are intact.

        Raises:
            UnitNotIndependentError: the unit cannot be decoded from its first packet alone.
            VideoError: the video changed since the scan, or its frames cannot be converted.
            OSError: disk full or failing.
            ObjectStoreError: the object store of the spill cannot be reached.
            CudaError: the GPU can no longer be used.
        """
        spill = spilled_unit(self.spill, self.spill_name)
        receipt = spill.read_receipt()
        if receipt is None:
            try:
                receipt = self._decode(spill)
                spill.write_receipt(receipt)
            finally:
                spill.close()
        return receipt

    def _decode(self, spill: SpilledUnit) -> UnitReceipt:
        if not self.backend.is_device:
            try:
                return self._decode_with(self.backend, spill)
            except MemoryError as error:
                raise VideoError(self.scan.facts.path, out_of_memory_text()) from error
        try:
            receipt = self._decode_with(self.backend, spill)
        except (DeviceError, UnitNotIndependentError) as error:
            failure = error.reason if isinstance(error, DeviceError) else "no frame came of its first packet"
        else:
            if not receipt.is_damaged:
                return msgspec.structs.replace(receipt, is_by_device=True)
            failure = next(
                (reason for _, reason in receipt.decoder_errors), "frames or packets flagged corrupt"
            )
        # Only the CPU decides what is damaged and what is left of it, because each GPU conceals damage in its own way.
        return msgspec.structs.replace(self._decode_with(CPU, spill), device_failure=failure)

    def _decode_with(self, backend: DecodeBackend, spill: SpilledUnit) -> UnitReceipt:
        config = self.config
        codec = make_codec(config.encoding)
        decoded_again = np.empty(config.frame_shape, config.frame_dtype)
        notes = FrameNotes(is_first=self.unit.first_packet == 0)
        kept: list[tuple[int, int, int, int]] = []
        sampled_errors: list[tuple[int, float]] = []
        num_bytes = 0
        with (
            VideoReader(self.path, self.scan, opens_quickly=True, backend=backend) as reader,
            decoder_log(self.scan.facts.codec) as log,
            spill.written_path.open("wb", buffering=1 << 20) as file,
        ):
            decoder = reader.decode(
                self.unit.first_packet,
                self.unit.end_packet,
                log=log,
                num_following=num_to_decode_after(self.unit.first_packet),
            )
            frames = self._kept_frames(decoder, notes)
            stored = backend.convert_frames(frames, self.scan.facts, config.geometry, config.pixel)
            for position, pixels in stored:
                payload = codec.encode(pixels)
                if config.encoding.name == "jpeg" and len(kept) % FRAMES_PER_FIDELITY_SAMPLE == 0:
                    codec.decode_into(payload, decoded_again)
                    sampled_errors.append((position, mean_squared_error(pixels, decoded_again)))
                kept.append((position, len(payload), num_bytes, crc32c(payload)))
                file.write(payload)
                num_bytes += len(payload)
        unit, is_corrupt = self.unit, self.scan.packets.is_corrupt
        rows = np.zeros(len(notes.packets), FRAME_DTYPE)
        rows["packet"], rows["is_intra"] = notes.packets, notes.is_intra
        rows["pts_seconds"], rows["is_interlaced"] = notes.pts_seconds, notes.is_interlaced
        return UnitReceipt(
            first_packet=unit.first_packet,
            end_packet=unit.end_packet,
            num_frames_decoded=len(rows),
            frames=rows.tobytes(),
            repeats=np.array(notes.repeats, bool).tobytes(),
            edge_hashes=notes.edge_hashes,
            kept=np.array(kept, KEPT_DTYPE).tobytes(),
            corrupt_positions=notes.corrupt_positions,
            formats=notes.formats,
            corrupt_packets=(
                unit.first_packet + is_corrupt[unit.first_packet : unit.end_packet].nonzero()[0]
            ).tolist(),
            decoder_errors=[(error.packet, error.reason) for error in decoder.errors],
            sampled_errors=sampled_errors,
            num_bytes=num_bytes,
            first_pictures=notes.first_pictures,
            following_pictures=decoder.following,
        )

    def _kept_frames(self, decoder: UnitDecoder, notes: FrameNotes) -> NumberedFrames:
        """(position in the unit, frame as decoded) of the frames to store."""
        keeps = self._selection()
        # A frame is converted at once where it can be, while its pixels are in the CPU's cache.
        has_to_wait = self.config.exact_fps is not None and self.keep is None and self.output_pts is None
        frames = _with_following_pts(decoder) if has_to_wait else ((frame, None) for frame in decoder)
        for position, (frame, following_pts) in enumerate(frames):
            notes.take(frame)
            shown_from_to = (frame.pts, following_pts)
            if self.output_pts is not None:
                shown_from_to = (self._output_pts_at(position), self._output_pts_at(position + 1))
            if keeps(self.first_ordinal + position, *shown_from_to):
                yield position, frame

    def _selection(self) -> Selection:
        if self.keep is None:
            return make_selection(self.config, self.scan)
        keep, first = self.keep, self.first_ordinal
        return lambda ordinal, pts, following_pts: ordinal - first < len(keep) and bool(keep[ordinal - first])

    def _output_pts_at(self, position: int) -> int | None:
        ticks = np.frombuffer(self.output_pts or b"", np.int64)
        return int(ticks[position]) if position < len(ticks) and ticks[position] != NO_PTS else None


def _with_following_pts(decoder: UnitDecoder) -> Iterator[tuple[DecodedFrame, int | None]]:
    """Each frame with the pts of the next frame; None for the last frame of the video."""
    previous: DecodedFrame | None = None
    for frame in decoder:
        if previous is not None:
            yield previous, frame.pts
        previous = frame
    if previous is not None:
        yield previous, decoder.following_pts


def mean_squared_error(one: Frames, other: Frames) -> float:
    """Mean squared difference over all pixels and channels of two uint8 frames.

    Small types keep the arrays small: fresh memory costs more here than arithmetic.
    """
    difference = np.maximum(one, other) - np.minimum(one, other)
    squares = np.square(difference, dtype=np.uint16)  # at most 255**2
    return float(np.mean(squares, dtype=np.float64))


def empty_receipt(unit: DecodeUnit, *, death: str) -> UnitReceipt:
    """The receipt of a unit that could not be decoded at all."""
    return UnitReceipt(
        first_packet=unit.first_packet,
        end_packet=unit.end_packet,
        num_frames_decoded=0,
        frames=b"",
        repeats=b"",
        edge_hashes=None,
        kept=b"",
        corrupt_positions=[],
        formats=[],
        corrupt_packets=[],
        decoder_errors=[],
        sampled_errors=[],
        num_bytes=0,
        death=death,
    )
