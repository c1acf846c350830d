"""A frame's pixels as bytes: raw, JPEG, Zstandard. The libraries release the GIL while they encode and decode."""

from typing import Protocol

import numpy as np
from crc32c import crc32c as crc32c_of_buffer

from frame_store.manifest import ChromaSubsampling, Encoding
from frame_store.protocol import Frames
from frame_store.shared import counted


class PixelCodec(Protocol):
    """Encodes and decodes frames of shape (H, W, C): uint8 RGB, or uint16 gray except for JPEG."""

    def encode(self, frame: Frames) -> bytes:
        """Bytes of a C-contiguous frame; equal frames give equal bytes."""
        ...

    def decode_into(self, payload: bytes, out: Frames) -> None:
        """Decode into `out` (H, W, C), C-contiguous. Raises ValueError if the payload is not such a frame."""
        ...


class RawCodec:
    """The pixels row by row: H*W*3 bytes of colour, H*W*2 of 16-bit gray, the low byte first."""

    def encode(self, frame: Frames) -> bytes:
        """The pixels as they are."""
        return frame.tobytes()

    def decode_into(self, payload: bytes, out: Frames) -> None:
        """Decode a payload."""
        if len(payload) != out.nbytes:
            raise ValueError(f"raw frame of {counted(len(payload), 'byte')}, expected {out.nbytes}")
        out.reshape(-1).view(np.uint8)[:] = np.frombuffer(payload, np.uint8)


class JpegCodec:
    """Baseline JPEG through libjpeg-turbo, accurate DCT both ways. Of colour alone."""

    def __init__(self, *, quality: int, chroma: ChromaSubsampling) -> None:
        import simplejpeg

        self._quality = quality
        self._chroma = chroma
        self._encode, self._decode = simplejpeg.encode_jpeg, simplejpeg.decode_jpeg

    def encode(self, frame: Frames) -> bytes:
        """Encode a frame."""
        encoded: bytes = self._encode(
            frame, quality=self._quality, colorspace="RGB", colorsubsampling=self._chroma, fastdct=False
        )
        return encoded

    def decode_into(self, payload: bytes, out: Frames) -> None:
        """Decode a payload."""
        shape = self._decode(payload, colorspace="RGB", buffer=out).shape
        if shape != out.shape:
            raise ValueError(f"JPEG of shape {shape}, expected {out.shape}")


class ZstdCodec:
    """Raw pixels in one Zstandard frame without a checksum, as the Zarr v3 codec `zstd` writes it."""

    def __init__(self, *, level: int) -> None:
        self._level = level

    def encode(self, frame: Frames) -> bytes:
        """Encode a frame."""
        from numcodecs import zstd

        encoded: bytes = zstd.compress(frame.reshape(-1).view(np.uint8), self._level)
        return encoded

    def decode_into(self, payload: bytes, out: Frames) -> None:
        """Decode a payload."""
        from numcodecs import zstd

        num_bytes = _zstd_content_size(payload)
        if num_bytes != out.nbytes:
            raise ValueError(f"Zstandard frame of {num_bytes} bytes of pixels, expected {out.nbytes}")
        try:
            zstd.decompress(payload, out.reshape(-1).view(np.uint8))
        except RuntimeError as error:
            raise ValueError(str(error)) from error


def _zstd_content_size(payload: bytes) -> int | None:
    """Decoded size that a Zstandard frame declares (RFC 8878, 3.1.1.1), None where it declares no size.

    It is checked before decoding, because the decoder does not touch the rest of a larger buffer.
    """
    if len(payload) < 5 or payload[:4] != b"\x28\xb5\x2f\xfd":
        return None
    descriptor = payload[4]
    is_single_segment = bool(descriptor & 0x20)
    start = 5 + (not is_single_segment) + (0, 1, 2, 4)[descriptor & 3]
    width = (int(is_single_segment), 2, 4, 8)[descriptor >> 6]
    if width == 0 or start + width > len(payload):
        return None
    return int.from_bytes(payload[start : start + width], "little") + (256 if width == 2 else 0)


def make_codec(encoding: Encoding) -> PixelCodec:
    """The codec of a manifest's `encoding`."""
    if encoding.name == "jpeg":
        assert encoding.quality is not None and encoding.chroma is not None  # `Encoding` checks it
        return JpegCodec(quality=encoding.quality, chroma=encoding.chroma)
    if encoding.name == "zstd":
        assert encoding.level is not None
        return ZstdCodec(level=encoding.level)
    return RawCodec()


def crc32c(payload: bytes | memoryview) -> int:
    """CRC-32C (Castagnoli) of a frame's payload, as `index.npy` records it.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    return crc32c_of_buffer(payload)
