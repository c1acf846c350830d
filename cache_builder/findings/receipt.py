"""The receipt of a decoded unit: everything that decoding gave except the frames."""

import msgspec
import numpy as np
import numpy.typing as npt

from frame_store.frame_findings import PictureFormat


class UnitReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """The result of decoding a unit. Positions count the unit's decoded frames in output order."""

    first_packet: int
    end_packet: int
    """The unit is packets [first_packet, end_packet)."""
    num_frames_decoded: int
    frames: bytes
    """`FRAME_DTYPE` row per decoded frame."""
    repeats: bytes
    """bool per decoded frame: whether it is equal to the frame before in every fourth row of luma; False for the first
    one. Empty if a GPU decoded them."""
    edge_hashes: tuple[int, int] | None
    """`hash_of_rows` of the first and of the last frame; None if a GPU decoded them, or none came."""
    kept: bytes
    """`KEPT_DTYPE` row per stored frame."""
    corrupt_positions: list[int]
    """Decoded frames that the decoder flagged corrupt."""
    formats: list[tuple[int, PictureFormat]]
    """(position of the first frame, format of the decoded pictures), for the first frame and each change."""
    corrupt_packets: list[int]
    """Packets that the demuxer flagged corrupt."""
    decoder_errors: list[tuple[int, str]]
    """(packet ordinal, the decoder's message)."""
    sampled_errors: list[tuple[int, float]]
    """(position, mean squared error between stored and unencoded pixels) of the sampled frames."""
    num_bytes: int
    first_pictures: list[tuple[int, int | None]] = []
    """Packet and `picture_hash` of the first frames, for the edge before them: none of a video's first unit. Hashes are
    None if a GPU decoded the frames."""
    following_pictures: list[tuple[int, int | None]] = []
    """The same for the first frames after the unit, decoded by going on over its end."""
    death: str | None = None
    """How the decoder process died, twice; nothing else is known about the unit then."""
    is_by_device: bool = False
    """Whether the GPU decoded every frame of the unit."""
    device_failure: str | None = None
    """Why the CPU decoded a unit that was meant for the GPU."""

    @property
    def is_damaged(self) -> bool:
        """Whether demuxer or decoder reported an error in the unit."""
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
"""A decoded frame: its packet, whether it was coded without reference to others, whether the decoder reported it as
interlaced, and its time, NaN without a pts."""

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
"""A stored frame and its place in the spill files; `unit` is a row of `PlanNames.units`."""
