"""What decoding a unit gave, beside its frames."""

import msgspec
import numpy as np
import numpy.typing as npt

from frame_store.frame_findings import PictureFormat


class UnitReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What decoding a unit gave. Positions count the unit's decoded frames in output order."""

    first_packet: int
    end_packet: int
    """The unit is packets [first_packet, end_packet)."""
    num_frames_decoded: int
    frames: bytes
    """`FRAME_DTYPE` row per decoded frame."""
    luma_hashes: bytes
    """uint32 per decoded frame (`picture_hash.luma_hash`); empty where a GPU decoded them."""
    kept: bytes
    """`KEPT_DTYPE` row per stored frame."""
    corrupt_positions: list[int]
    """Decoded frames that the decoder flagged corrupt."""
    formats: list[tuple[int, PictureFormat]]
    """(position from which on, format of the decoded pictures), the first frame's first."""
    corrupt_packets: list[int]
    """Packets that the demuxer flagged corrupt."""
    decoder_errors: list[tuple[int, str]]
    """(packet ordinal, the decoder's message)."""
    sampled_errors: list[tuple[int, float]]
    """(position, mean squared error of the stored against the unencoded pixels) of the frames sampled."""
    num_bytes: int
    first_pictures: list[tuple[int, int | None]] = []
    """Packet and `picture_hash` of the first frames; hashes are None where a GPU decoded them."""
    following_pictures: list[tuple[int, int | None]] = []
    """The same of the first frames behind the unit, as they come out when decoding goes on over its end."""
    death: str | None = None
    """How the decoder process died of the unit, twice: nothing of it is known."""
    is_by_device: bool = False
    """Whether the device decoded every frame: each frame came out in the device's memory."""
    device_failure: str | None = None
    """Why the CPU decoded the unit, although a device was to decode it."""

    @property
    def is_damaged(self) -> bool:
        """Whether demuxer or decoder complained about anything in the unit."""
        return bool(self.corrupt_positions or self.corrupt_packets or self.decoder_errors or self.death)

    @property
    def kept_rows(self) -> npt.NDArray[np.void]:
        """The stored frames, `KEPT_DTYPE`."""
        return np.frombuffer(self.kept, KEPT_DTYPE)

    @property
    def frame_rows(self) -> npt.NDArray[np.void]:
        """All decoded frames, `FRAME_DTYPE`."""
        return np.frombuffer(self.frames, FRAME_DTYPE)


FRAME_DTYPE = np.dtype([("packet", "<u4"), ("is_intra", "?"), ("is_interlaced", "?"), ("pts_seconds", "<f8")])
"""A decoded frame: the packet it was coded in, whether it was coded without others, whether the decoder calls it
interlaced, NaN where it has no pts."""

KEPT_DTYPE = np.dtype(
    [("position", "<u4"), ("byte_length", "<u4"), ("byte_offset", "<u8"), ("crc32c", "<u4")]
)

SOURCE_DTYPE = np.dtype(
    [
        ("video_id", "<u4"),
        ("frame_in_video", "<u4"),
        ("pts_seconds", "<f8"),
        ("unit", "<u4"),
        ("byte_length", "<u4"),
        ("byte_offset", "<u8"),
        ("crc32c", "<u4"),
    ]
)
"""A stored frame and where it lies spilled; `unit` indexes the names in `plan/units.json`."""
