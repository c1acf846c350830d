"""The packets of a video as columns, filled by the scan."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

NO_PTS: Final = -(2**63)
"""FFmpeg's AV_NOPTS_VALUE, in the columns `pts` and `dts`."""

NO_POS: Final = -1

PACKET_COLUMNS: Final[dict[str, np.dtype[Any]]] = {
    "pts": np.dtype("<i8"),
    "dts": np.dtype("<i8"),
    "pos": np.dtype("<i8"),
    "size": np.dtype("<i4"),
    "is_keyframe": np.dtype(np.bool_),
    "is_discarded": np.dtype(np.bool_),
    "is_corrupt": np.dtype(np.bool_),
    "is_at_demuxer_error": np.dtype(np.bool_),
    "hides_picture": np.dtype(np.bool_),
    "shows_again": np.dtype(np.bool_),
    "holds_no_picture": np.dtype(np.bool_),
    "is_skippable": np.dtype(np.bool_),
    "resets_decoder": np.dtype(np.bool_),
    "can_start_unit": np.dtype(np.bool_),
}
"""Columns of a `PacketTable`, in order."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PacketTable:
    """Packets of the chosen stream in file order, shape (num_packets,) each: a packet's row is its ordinal."""

    pts: npt.NDArray[np.int64]
    """Ticks, `NO_PTS` where missing."""
    dts: npt.NDArray[np.int64]
    """Ticks, `NO_PTS` where missing."""
    pos: npt.NDArray[np.int64]
    """Byte position in the file, `NO_POS` where the demuxer does not report it."""
    size: npt.NDArray[np.int32]
    """Bytes."""
    is_keyframe: npt.NDArray[np.bool_]
    is_discarded: npt.NDArray[np.bool_]
    """Decoded but not shown: outside the edit list."""
    is_corrupt: npt.NDArray[np.bool_]
    """The demuxer flagged the packet: bytes are missing or fail a checksum."""
    is_at_demuxer_error: npt.NDArray[np.bool_]
    """The demuxer reported an error after this packet, or between this packet and the one before.

    An error before a keyframe is not counted against the keyframe: it needs nothing of the bytes that were lost.
    """
    hides_picture: npt.NDArray[np.bool_]
    """The codec's header states that the packet's picture is not shown."""
    shows_again: npt.NDArray[np.bool_]
    """The codec's header states that the packet shows a picture of an earlier packet again."""
    holds_no_picture: npt.NDArray[np.bool_]
    """The codec's headers contain and show no picture: the packet ends a stream, or contains metadata."""
    is_skippable: npt.NDArray[np.bool_]
    """HEVC's RASL pictures: they lead up to a keyframe, and a decoder that starts at the keyframe leaves them out."""
    resets_decoder: npt.NDArray[np.bool_]
    """A keyframe by proof of the codec's header: later packets use nothing that was decoded before it."""
    can_start_unit: npt.NDArray[np.bool_]
    """A shown keyframe of a video that may be split. The first packet counts, too."""

    def __post_init__(self) -> None:
        """Check that the columns fit together, and freeze them."""
        for name, dtype in PACKET_COLUMNS.items():
            column = getattr(self, name)
            if column.dtype != dtype or column.shape != self.pts.shape:
                raise ValueError(f"column {name} must be {dtype} of shape {self.pts.shape}")
            column.flags.writeable = False

    def __len__(self) -> int:
        return len(self.pts)
