"""Meanings of a frame's colour tags, and the matrix of each: one table for the two ways in which frames become RGB.

Tags are those of ITU-T H.273: MatrixCoefficients (`int(frame.colorspace)` in PyAV) and TransferCharacteristics.
"""

from dataclasses import dataclass
from typing import Final

from av.video.reformatter import Colorspace

MATRIX_NAMES: Final = {
    0: "rgb",
    1: "bt709",
    2: "unspecified",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
}
"""FFmpeg's names of matrices."""

RANGE_NAMES: Final = {0: "unspecified", 1: "limited", 2: "full"}
"""FFmpeg's AVColorRange."""

TRANSFER_NAMES: Final = {
    1: "bt709",
    2: "unspecified",
    4: "gamma22",
    5: "gamma28",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    9: "log100",
    10: "log316",
    11: "iec61966-2-4",
    12: "bt1361e",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428",
    18: "arib-std-b67",
}
"""FFmpeg's names of transfers from light to code values."""

HDR_TRANSFERS: Final = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
"""Transfers of pictures that are brighter than displays. They should be tone-mapped; this package does not do it."""


@dataclass(frozen=True, kw_only=True)
class ColourMatrix:
    """A conversion between Y'CbCr and R'G'B'.

    Attributes:
        kr: Weight of red in luma (ITU-T H.273, table 4).
        kb: Weight of blue in luma.
        swscale_table: swscale's name of its table with the same weights.
    """

    kr: float
    kb: float
    swscale_table: Colorspace


_BT601 = ColourMatrix(kr=0.299, kb=0.114, swscale_table=Colorspace.ITU601)
_BT2020 = ColourMatrix(kr=0.2627, kb=0.0593, swscale_table=Colorspace.BT2020)

# Tags without an entry are read as BT.601, as FFmpeg does: 0 (RGB), 2 (unspecified), 3 (reserved), 5 and 6 (BT.601).
# BT.2020 constant luminance is read as the common variant.
_MATRIX_OF_TAG = {
    1: ColourMatrix(kr=0.2126, kb=0.0722, swscale_table=Colorspace.ITU709),
    4: ColourMatrix(kr=0.30, kb=0.11, swscale_table=Colorspace.FCC),
    7: ColourMatrix(kr=0.212, kb=0.087, swscale_table=Colorspace.SMPTE240M),
    9: _BT2020,
    10: _BT2020,
}
# swscale has no table for these. Read as BT.601 they would give wrong colours (green faces) without an error.
_UNSUPPORTED_MATRICES = {
    8: "YCgCo",
    11: "SMPTE ST 2085",
    12: "chromaticity-derived",
    13: "chromaticity-derived constant luminance",
    14: "ICtCp",
    15: "IPT-PQ-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}


def find_colour_matrix(tag: int) -> ColourMatrix:
    """The matrix of a frame's tag.

    Raises:
        ValueError: the tag's matrix has no conversion; names the matrix.

    >>> find_colour_matrix(1).kr
    0.2126
    """
    if tag in _UNSUPPORTED_MATRICES:
        raise ValueError(f"colour matrix {tag} ({_UNSUPPORTED_MATRICES[tag]}) has no conversion to RGB")
    return _MATRIX_OF_TAG.get(tag, _BT601)
