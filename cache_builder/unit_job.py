"""Decodes one unit in a worker: decode, keep, convert, encode, spill."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import av
import msgspec
import numpy as np

from cache_builder.config import BuildConfig
from cache_builder.errors import VideoError
from cache_builder.plan import DecodeUnit
from cache_builder.selection import make_selection
from cache_builder.spill import KEPT_DTYPE, UnitReceipt, UnitSpill
from cache_builder.video.convert import FrameConverter
from cache_builder.video.decode import DecodedFrame, UnitDecoder, VideoReader
from cache_builder.video.scan import VideoScan
from frame_store.pixel_codec import Pixels, crc32c, make_codec

FRAMES_PER_FIDELITY_SAMPLE: Final = 16
"""Every 16th stored frame of a unit, its first one included, is decoded again and compared."""


class UnitJob(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Decode `unit` of the video at `path` into `spill`."""

    path: Path
    scan: VideoScan
    unit: DecodeUnit
    first_ordinal: int
    """Ordinal in the video of the unit's first frame, as far as is known; matters to `--stride` alone."""
    config: BuildConfig
    spill: Path
    is_retry: bool = False

    @property
    def spill_name(self) -> str:
        """Name of the unit's spill files: all that its content depends on beside inputs and configuration."""
        unit = self.unit
        phase = self.first_ordinal % self.config.stride
        return f"{unit.video_id:06d}-{unit.first_packet:09d}-{unit.end_packet:09d}-{phase}"

    def run(self) -> UnitReceipt:
        """Decode and spill the unit; what an earlier run spilled intact is taken as it is.

        Raises:
            UnitNotIndependentError: the unit cannot be decoded from its first packet alone.
            VideoError: the video changed since the scan, or its frames cannot be converted.
            OSError: disk full or failing.
        """
        spill = UnitSpill(self.spill, self.spill_name)
        return spill.read_receipt() or self._decode(spill)

    def _decode(self, spill: UnitSpill) -> UnitReceipt:
        config, facts = self.config, self.scan.facts
        keeps = make_selection(config, self.scan)
        converter = FrameConverter(
            config.geometry,
            rotation_degrees=facts.rotation_degrees,
            sample_aspect_ratio=self.scan.sample_aspect_ratio,
        )
        codec = make_codec(config.encoding)
        pixels = np.empty(config.frame_shape, np.uint8)
        decoded_again = np.empty_like(pixels)
        pts_seconds: list[float] = []
        corrupt_positions: list[int] = []
        kept: list[tuple[int, int, int, int]] = []
        sampled_errors: list[tuple[int, float]] = []
        num_bytes = 0
        with (
            VideoReader(self.path, self.scan) as reader,
            spill.frames_path.open("wb", buffering=1 << 20) as file,
        ):
            decoder = reader.decode(self.unit.first_packet, self.unit.end_packet)
            for position, (frame, following_pts) in enumerate(_with_following_pts(decoder)):
                pts_seconds.append(frame.pts_seconds)
                if frame.is_corrupt:
                    corrupt_positions.append(position)
                if not keeps(self.first_ordinal + position, frame.pts, following_pts):
                    continue
                try:
                    converter.convert(frame.frame, pixels)
                except (ValueError, av.FFmpegError) as error:
                    raise VideoError(facts.path, str(error)) from error
                payload = codec.encode(pixels)
                if config.encoding.name == "jpeg" and len(kept) % FRAMES_PER_FIDELITY_SAMPLE == 0:
                    codec.decode_into(payload, decoded_again)
                    sampled_errors.append((position, mean_squared_error(pixels, decoded_again)))
                kept.append((position, len(payload), num_bytes, crc32c(payload)))
                file.write(payload)
                num_bytes += len(payload)
        receipt = UnitReceipt(
            num_frames_decoded=len(pts_seconds),
            pts_seconds=np.array(pts_seconds, np.float64).tobytes(),
            kept=np.array(kept, KEPT_DTYPE).tobytes(),
            corrupt_positions=corrupt_positions,
            decoder_errors=[(error.packet, error.reason) for error in decoder.errors],
            sampled_errors=sampled_errors,
            num_bytes=num_bytes,
        )
        spill.write_receipt(receipt)
        return receipt


def _with_following_pts(decoder: UnitDecoder) -> Iterator[tuple[DecodedFrame, int | None]]:
    """Each frame with the pts of the one behind it, None behind the video's last."""
    previous: DecodedFrame | None = None
    for frame in decoder:
        if previous is not None:
            yield previous, frame.pts
        previous = frame
    if previous is not None:
        yield previous, decoder.following_pts


def mean_squared_error(one: Pixels, other: Pixels) -> float:
    """Mean squared difference over all pixels and channels."""
    difference = one.astype(np.int32) - other
    return float(np.mean(np.square(difference), dtype=np.float64))


def empty_receipt() -> UnitReceipt:
    """The receipt of a unit that could not be decoded at all."""
    return UnitReceipt(
        num_frames_decoded=0,
        pts_seconds=b"",
        kept=b"",
        corrupt_positions=[],
        decoder_errors=[],
        sampled_errors=[],
        num_bytes=0,
    )
