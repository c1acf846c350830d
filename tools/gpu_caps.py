"""What the GPU's video decoder takes, asked through ctypes: `cuvidGetDecoderCaps` of libnvcuvid."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from frame_store.shared import CudaDriver

# cudaVideoCodec and cudaVideoChromaFormat, as NVIDIA's Video Codec SDK numbers them.
CODECS: Final = {
    "mpeg1": 0,
    "mpeg2": 1,
    "mpeg4": 2,
    "vc1": 3,
    "h264": 4,
    "mjpeg": 5,
    "hevc": 8,
    "vp8": 9,
    "vp9": 10,
    "av1": 11,
}
CHROMA_420: Final = 1
CHROMA_444: Final = 3

ASKED: Final = (
    *((codec, CHROMA_420, 8) for codec in CODECS),
    ("h264", CHROMA_420, 10),
    ("hevc", CHROMA_420, 10),
    ("hevc", CHROMA_420, 12),
    ("hevc", CHROMA_444, 8),
    ("vp9", CHROMA_420, 10),
    ("av1", CHROMA_420, 10),
)
"""Codec, chroma and bits of a sample."""


class DecoderCaps(ctypes.Structure):
    """CUVIDDECODECAPS: what is asked, then what is answered."""

    _fields_ = (
        ("codec", ctypes.c_int),
        ("chroma", ctypes.c_int),
        ("bit_depth_minus_8", ctypes.c_uint),
        ("reserved_in", ctypes.c_uint * 3),
        ("is_supported", ctypes.c_ubyte),
        ("num_engines", ctypes.c_ubyte),
        ("output_formats", ctypes.c_ushort),
        ("max_width", ctypes.c_uint),
        ("max_height", ctypes.c_uint),
        ("max_macroblocks", ctypes.c_uint),
        ("min_width", ctypes.c_ushort),
        ("min_height", ctypes.c_ushort),
        ("reserved_out", ctypes.c_uint * 11),
    )


@dataclass(frozen=True, kw_only=True)
class CodecSupport:
    """One answer."""

    codec: str
    bit_depth: int
    chroma: str
    is_supported: bool
    num_engines: int
    """Decoding engines of the chip that take it; 0 where the driver is too old to say."""
    min_size: tuple[int, int]
    max_size: tuple[int, int]
    """(width, height) in pixels."""

    def text(self) -> str:
        """In a few words.

        >>> CodecSupport(codec="h264", bit_depth=8, chroma="420", is_supported=True, num_engines=7,
        ...     min_size=(48, 16), max_size=(4096, 4096)).text()
        'yes, 7 engines, 48x16 to 4096x4096'
        """
        if not self.is_supported:
            return "no"
        smallest, largest = ("x".join(map(str, size)) for size in (self.min_size, self.max_size))
        return f"yes, {self.num_engines} engines, {smallest} to {largest}"


class CapsError(Exception):
    """The decoder's library does not answer."""


def ask_caps(library: ctypes.CDLL, driver: CudaDriver, *, ordinal: int = 0) -> Iterator[CodecSupport]:
    """Every row of `ASKED`; needs a started driver, and makes the GPU's primary context current in this thread.

    Raises:
        CapsError: a call fails; names codec and error. What came before it has been given.
    """
    driver.bind_primary_context(ordinal)
    for codec, chroma, bit_depth in ASKED:
        caps = DecoderCaps(codec=CODECS[codec], chroma=chroma, bit_depth_minus_8=bit_depth - 8)
        code = library.cuvidGetDecoderCaps(ctypes.byref(caps))
        if code:
            raise CapsError(f"{codec}, {bit_depth} bits: {driver.error_text(code)}")
        yield CodecSupport(
            codec=codec,
            bit_depth=bit_depth,
            chroma="420" if chroma == CHROMA_420 else "444",
            is_supported=bool(caps.is_supported),
            num_engines=caps.num_engines,
            min_size=(caps.min_width, caps.min_height),
            max_size=(caps.max_width, caps.max_height),
        )
