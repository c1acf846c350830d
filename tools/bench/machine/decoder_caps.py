"""Which videos the GPU's decoder supports, by `cuvidGetDecoderCaps` of libnvcuvid, called through ctypes."""

import ctypes
from dataclasses import dataclass
from typing import Final

from frame_store.shared import CudaCallError, CudaDriver

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
_CHROMA: Final = {"420": 1, "444": 3}

ASKED: Final = (
    *((codec, 8, "420") for codec in CODECS),
    ("h264", 10, "420"),
    ("hevc", 10, "420"),
    ("hevc", 12, "420"),
    ("hevc", 8, "444"),
    ("vp9", 10, "420"),
    ("av1", 10, "420"),
)
"""Codec, bits of a sample and chroma."""


class DecoderCaps(ctypes.Structure):
    """CUVIDDECODECAPS: the question, then the answer."""

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
    """Whether and how the GPU decodes videos of one codec."""

    is_supported: bool
    num_engines: int
    """Decoding engines of the chip for this codec; 0 where the driver is too old to report them."""
    min_size: tuple[int, int]
    max_size: tuple[int, int]
    """(width, height) in pixels."""

    def text(self) -> str:
        """One phrase.

        >>> CodecSupport(is_supported=True, num_engines=7, min_size=(48, 16), max_size=(4096, 4096)).text()
        'yes, 7 engines, 48x16 to 4096x4096'
        """
        if not self.is_supported:
            return "no"
        smallest, largest = ("x".join(map(str, size)) for size in (self.min_size, self.max_size))
        return f"yes, {self.num_engines} engines, {smallest} to {largest}"


def ask_caps(
    library: ctypes.CDLL, driver: CudaDriver, *, ordinal: int = 0
) -> dict[tuple[str, int, str], CodecSupport]:
    """The answer to every row of `ASKED`.

    Start the driver before. The GPU's primary context becomes current in this thread.

    Raises:
        CudaCallError: a call fails; names codec and error.
    """
    driver.bind_primary_context(ordinal)
    answers = {}
    for codec, bit_depth, chroma in ASKED:
        caps = DecoderCaps(codec=CODECS[codec], chroma=_CHROMA[chroma], bit_depth_minus_8=bit_depth - 8)
        code = library.cuvidGetDecoderCaps(ctypes.byref(caps))
        if code:
            call = f"cuvidGetDecoderCaps for {codec}, {bit_depth} bits,"
            raise CudaCallError(call, code, driver.error_text(code))
        answers[codec, bit_depth, chroma] = CodecSupport(
            is_supported=bool(caps.is_supported),
            num_engines=caps.num_engines,
            min_size=(caps.min_width, caps.min_height),
            max_size=(caps.max_width, caps.max_height),
        )
    return answers
