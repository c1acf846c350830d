"""A frame's pixels as bytes: raw, JPEG, Zstandard. The libraries release the GIL while they encode and decode."""

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Final, Protocol, TypeAlias

import numpy as np

from frame_store.manifest import ChromaSubsampling, Encoding
from frame_store.protocol import Frames
from frame_store.shared import counted

Payload: TypeAlias = bytes | memoryview


class PixelCodec(Protocol):
    """Encodes and decodes frames of shape (H, W, C): uint8 RGB, or uint16 gray except for JPEG."""

    def encode(self, frame: Frames) -> bytes:
        """Bytes of a C-contiguous frame; equal frames give equal bytes."""
        ...

    def decode_into(self, payload: Payload, out: Frames) -> None:
        """Decode into `out` (H, W, C), C-contiguous. Raises ValueError if the payload is not such a frame."""
        ...

    def decode_all(self, payloads: Iterable[Payload], outs: Iterable[Frames]) -> None:
        """`decode_into` for each, with few steps between two frames: a decoded frame empties the CPU's cache.

        The error does not tell the payload that is not a frame. Some of `outs` are written then.
        """
        ...


class RawCodec:
    """The pixels row by row: H*W*3 bytes of colour, H*W*2 of 16-bit gray, the low byte first."""

    def encode(self, frame: Frames) -> bytes:
        """The pixels as they are."""
        return frame.tobytes()

    def decode_into(self, payload: Payload, out: Frames) -> None:
        """Decode a payload."""
        if len(payload) != out.nbytes:
            raise ValueError(f"raw frame of {counted(len(payload), 'byte')}, expected {out.nbytes}")
        out.reshape(-1).view(np.uint8)[:] = np.frombuffer(payload, np.uint8)

    def decode_all(self, payloads: Iterable[Payload], outs: Iterable[Frames]) -> None:
        """Decode payloads."""
        for payload, out in zip(payloads, outs, strict=True):
            self.decode_into(payload, out)


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

    def decode_into(self, payload: Payload, out: Frames) -> None:
        """Decode a payload."""
        self.decode_all([payload], [out])

    def decode_all(self, payloads: Iterable[Payload], outs: Iterable[Frames]) -> None:
        """Decode payloads."""
        decode = self._decode
        for payload, out in zip(payloads, outs, strict=True):
            # Without names of arguments, which take 1 us of a call: accurate DCT and upsampling, no smaller size.
            shape = decode(payload, "RGB", False, False, 0, 0, 1, out).shape
            if shape != out.shape:
                raise ValueError(f"JPEG of shape {shape}, expected {out.shape}")


class ZstdCodec:
    """Raw pixels in one Zstandard frame without a checksum, as the Zarr v3 codec `zstd` writes it."""

    def __init__(self, *, level: int) -> None:
        self._level = level
        self._of_thread = threading.local()
        self._checked = (b"", -1)
        """The latest header that was checked, and how many bytes of pixels it states: those of a cache are equal."""

    def encode(self, frame: Frames) -> bytes:
        """Encode a frame."""
        from numcodecs import zstd

        encoded: bytes = zstd.compress(frame.reshape(-1).view(np.uint8), self._level)
        return encoded

    def decode_into(self, payload: Payload, out: Frames) -> None:
        """Decode a payload. Bytes behind its Zstandard frame are not looked at."""
        self.decode_all([payload], [out])

    def decode_all(self, payloads: Iterable[Payload], outs: Iterable[Frames]) -> None:
        """Decode payloads, in place, with a decoder that the calling thread keeps: a new one costs a fifth more."""
        import zstandard

        try:
            decoder = self._of_thread.decoder
        except AttributeError:
            decoder = self._of_thread.decoder = zstandard.ZstdDecompressor()
        open_stream, (header, num_bytes) = decoder.stream_reader, self._checked
        try:
            for payload, out in zip(payloads, outs, strict=True):
                if payload[: len(header)] != header or out.nbytes != num_bytes:
                    header, num_bytes = self._checked = _header_for(payload, out.nbytes), out.nbytes
                # All of the frame and room for all of its pixels: libzstd then decodes without a buffer in between.
                if (num_decoded := open_stream(payload).readinto(out)) != num_bytes:
                    raise ValueError(f"Zstandard frame that ends after {num_decoded} of {num_bytes} bytes")
        except zstandard.ZstdError as error:
            raise ValueError(str(error)) from error


def _header_for(payload: Payload, num_bytes: int) -> bytes:
    """The header of a Zstandard frame. Raises ValueError if it does not state this number of bytes of pixels."""
    import zstandard

    found: int | None = None
    with suppress(zstandard.ZstdError):  # no header of a frame
        found = zstandard.frame_content_size(payload)
    if found != num_bytes:
        text = "an unknown number of bytes" if found in {None, -1} else f"{found} bytes"
        raise ValueError(f"Zstandard frame of {text} of pixels, expected {num_bytes}")
    return bytes(payload[: zstandard.frame_header_size(payload)])


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
    return _CRC32C_OF_BUFFER(payload)


def _crc32c_of_buffer() -> Callable[[Payload], int]:
    """The function of the package `crc32c`, out of its compiled module alone.

    The package itself imports `importlib.metadata` and `argparse`, which take 2 MB and 23 ms of each process.
    """
    package = find_spec("crc32c")
    if package is not None:
        spec = PathFinder.find_spec("_crc32c", package.submodule_search_locations)
        if spec is not None and spec.loader is not None:
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            function: Callable[[Payload], int] = module.crc32c
            return function
    from crc32c import crc32c as function_of_package  # a version whose modules have other names

    return function_of_package


_CRC32C_OF_BUFFER: Final = _crc32c_of_buffer()
