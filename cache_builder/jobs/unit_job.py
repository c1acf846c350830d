"""Decodes one unit in a worker: decode, keep, convert, encode, spill."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

import av
import msgspec
import numpy as np

from cache_builder.errors import DeviceError, UnitNotIndependentError, VideoError
from cache_builder.findings import FRAME_DTYPE, KEPT_DTYPE, FrameNotes, UnitReceipt
from cache_builder.gpu import NvdecDevice
from cache_builder.jobs.spill import UnitSpill
from cache_builder.plan import DecodeUnit, make_selection
from cache_builder.settings import BuildConfig
from cache_builder.video.decode import (
    DecodedFrame,
    UnitDecoder,
    VideoReader,
    decoder_log,
    num_to_decode_behind,
)
from cache_builder.video.opening import DEFAULT_LIMITS, out_of_memory_text, seconds_to_decode
from cache_builder.video.packets import NO_PTS
from cache_builder.video.picture import FrameConverter
from cache_builder.video.scan import VideoScan
from cache_builder.worker_pool import JobLimits
from frame_store.codec import crc32c, make_codec
from frame_store.protocol import Frames

FRAMES_PER_FIDELITY_SAMPLE: Final = 16
"""Every 16th stored frame of a unit, its first one included, is decoded again and compared."""

FRAMES_PER_DOWNLOAD: Final = 32
"""Frames that leave the GPU in one copy: the host waits once for all of them."""

KeptFrames: TypeAlias = Iterator[tuple[int, DecodedFrame]]
"""(position in the unit, frame as decoded) of the frames to store."""
KeptPixels: TypeAlias = Iterator[tuple[int, Frames]]
"""(position in the unit, RGB), each valid until the next."""


class UnitJob(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Decode `unit` of the video at `path` into `spill`."""

    path: Path
    scan: VideoScan
    unit: DecodeUnit
    first_ordinal: int
    """Ordinal in the video of the unit's first frame, as far as is known; matters to `--stride` alone."""
    output_pts: bytes | None = None
    """int64 ticks of the unit's frames in output order and of the one behind them, as far as is known; None where each
    frame has that of its packet. Matters to `--fps` alone."""
    config: BuildConfig
    spill: Path
    nvdec: NvdecDevice | None = None
    """The GPU to decode on; None for the CPU."""
    is_retry: bool = False

    @property
    def spill_name(self) -> str:
        """Name of the unit's spill files: all that its content depends on beside inputs and configuration."""
        unit = self.unit
        phase = self.first_ordinal % self.config.stride
        clock = "" if self.output_pts is None else f"-{crc32c(self.output_pts):08x}"
        return f"{unit.video_id:06d}-{unit.first_packet:09d}-{unit.end_packet:09d}-{phase}{clock}"

    @property
    def limits(self) -> JobLimits:
        """By the unit's packets and the size of the frames. CUDA takes what memory it takes."""
        facts = self.scan.facts
        num_packets = self.unit.num_packets * (
            1 if self.nvdec is None else 2
        )  # the CPU may have to do it again
        seconds = seconds_to_decode(
            num_packets, width=facts.width, height=facts.height, num_bytes=facts.num_bytes
        )
        return JobLimits(
            seconds=seconds, memory_bytes=DEFAULT_LIMITS.max_memory_bytes if self.nvdec is None else None
        )

    def run(self) -> UnitReceipt:
        """Decode and spill the unit; what an earlier run spilled intact is taken as it is.

        Raises:
            UnitNotIndependentError: the unit cannot be decoded from its first packet alone.
            VideoError: the video changed since the scan, or its frames cannot be converted.
            OSError: disk full or failing.
            CudaError: the GPU can no longer be used.
        """
        spill = UnitSpill(self.spill, self.spill_name)
        receipt = spill.read_receipt()
        if receipt is None:
            receipt = self._decode(spill)
            spill.write_receipt(receipt)
        return receipt

    def _decode(self, spill: UnitSpill) -> UnitReceipt:
        if self.nvdec is None:
            try:
                return self._decode_with(None, spill)
            except MemoryError as error:
                raise VideoError(self.scan.facts.path, out_of_memory_text()) from error
        try:
            receipt = self._decode_with(self.nvdec, spill)
        except (DeviceError, UnitNotIndependentError) as error:
            failure = error.reason if isinstance(error, DeviceError) else "no frame came of its first packet"
        else:
            if not receipt.is_damaged:
                return msgspec.structs.replace(receipt, is_by_nvdec=True)
            failure = next(
                (reason for _, reason in receipt.decoder_errors), "frames or packets flagged corrupt"
            )
        # What is damaged, and what is left of it, is for one decoder alone to say: GPUs conceal damage as they like.
        return msgspec.structs.replace(self._decode_with(None, spill), nvdec_failure=failure)

    def _decode_with(self, nvdec: NvdecDevice | None, spill: UnitSpill) -> UnitReceipt:
        config = self.config
        codec = make_codec(config.encoding)
        decoded_again = np.empty(config.frame_shape, np.uint8)
        notes = FrameNotes()
        kept: list[tuple[int, int, int, int]] = []
        sampled_errors: list[tuple[int, float]] = []
        num_bytes = 0
        with (
            VideoReader(self.path, self.scan, opener=nvdec) as reader,
            decoder_log(self.scan.facts.codec) as log,
            spill.frames_path.open("wb", buffering=1 << 20) as file,
        ):
            decoder = reader.decode(
                self.unit.first_packet,
                self.unit.end_packet,
                log=log,
                num_following=num_to_decode_behind(self.unit.first_packet),
            )
            frames = self._kept_frames(decoder, notes)
            for position, pixels in self._on_cpu(frames) if nvdec is None else self._on_gpu(frames, nvdec):
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
            luma_hashes=np.array(notes.luma_hashes, np.uint32).tobytes(),
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

    def _kept_frames(self, decoder: UnitDecoder, notes: FrameNotes) -> KeptFrames:
        keeps = make_selection(self.config, self.scan)
        for position, (frame, following_pts) in enumerate(_with_following_pts(decoder)):
            notes.take(frame)
            shown_from_to = (frame.pts, following_pts)
            if self.output_pts is not None:
                shown_from_to = (self._output_pts_at(position), self._output_pts_at(position + 1))
            if keeps(self.first_ordinal + position, *shown_from_to):
                yield position, frame

    def _output_pts_at(self, position: int) -> int | None:
        ticks = np.frombuffer(self.output_pts or b"", np.int64)
        return int(ticks[position]) if position < len(ticks) and ticks[position] != NO_PTS else None

    def _on_cpu(self, frames: KeptFrames) -> KeptPixels:
        presentation = self.scan.facts.presentation
        converter = FrameConverter(self.config.geometry, presentation.plain)
        pixels = np.empty(self.config.frame_shape, np.uint8)
        for position, decoded in frames:
            aspect = presentation.aspect_of_frame(decoded.sample_aspect_ratio)
            try:
                converter.convert(decoded.frame, pixels, sample_aspect_ratio=aspect)
            except (ValueError, av.FFmpegError) as error:
                raise VideoError(self.scan.facts.path, str(error)) from error
            yield position, pixels

    def _on_gpu(self, frames: KeptFrames, nvdec: NvdecDevice) -> KeptPixels:
        """Convert on the GPU, where the frames are, and bring the small results here, many at a time."""
        import torch

        from cache_builder.gpu import CudaFrameConverter, YuvConverters

        presentation = self.scan.facts.presentation
        converter = CudaFrameConverter(
            YuvConverters(self.config.geometry),
            presentation.plain,
            path=self.scan.facts.path,
            nvdec=nvdec,
        )
        positions: list[int] = []
        try:
            there = torch.empty(
                (FRAMES_PER_DOWNLOAD, *self.config.frame_shape), dtype=torch.uint8, device=nvdec.torch_device
            )
            for position, decoded in frames:
                aspect = presentation.aspect_of_frame(decoded.sample_aspect_ratio)
                try:
                    converter.convert(decoded.frame, there[len(positions)], sample_aspect_ratio=aspect)
                except ValueError as error:
                    raise VideoError(self.scan.facts.path, str(error)) from error
                positions.append(position)
                if len(positions) == len(there):
                    yield from zip(positions, there.cpu().numpy(), strict=True)
                    positions.clear()
            yield from zip(positions, there[: len(positions)].cpu().numpy(), strict=True)
        except torch.cuda.OutOfMemoryError as error:
            raise MemoryError(f"out of memory on the GPU; try fewer workers ({error})") from error


def _with_following_pts(decoder: UnitDecoder) -> Iterator[tuple[DecodedFrame, int | None]]:
    """Each frame with the pts of the one behind it, None behind the video's last."""
    previous: DecodedFrame | None = None
    for frame in decoder:
        if previous is not None:
            yield previous, frame.pts
        previous = frame
    if previous is not None:
        yield previous, decoder.following_pts


def mean_squared_error(one: Frames, other: Frames) -> float:
    """Mean squared difference over all pixels and channels."""
    difference = one.astype(np.int32) - other
    return float(np.mean(np.square(difference), dtype=np.float64))


def empty_receipt(unit: DecodeUnit, *, death: str) -> UnitReceipt:
    """The receipt of a unit that could not be decoded at all."""
    return UnitReceipt(
        first_packet=unit.first_packet,
        end_packet=unit.end_packet,
        num_frames_decoded=0,
        frames=b"",
        luma_hashes=b"",
        kept=b"",
        corrupt_positions=[],
        formats=[],
        corrupt_packets=[],
        decoder_errors=[],
        sampled_errors=[],
        num_bytes=0,
        death=death,
    )
