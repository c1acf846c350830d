"""The headers of `.npy` files of version 1.0: of `index.npy`, and of raw frames in a tar shard."""

import io
from typing import Any, BinaryIO, Final

import numpy as np

MAX_HEADER_BYTES: Final = 10_000
"""The longest header that numpy takes for safe to parse."""

_MAGIC: Final = b"\x93NUMPY\x01\x00"


def npy_header(shape: tuple[int, ...]) -> bytes:
    """The header of a C-ordered uint8 array."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def read_npy_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of a C-ordered `.npy`; `file` then stands where the data begin.

    Raises:
        ValueError: any other content. Arrays of objects are refused as well: only pickle could load them.
    """
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("no .npy of version 1.0")  # later ones have headers of up to 4 GB
    try:
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=MAX_HEADER_BYTES)
    except Exception as error:  # a damaged header can make numpy raise anything
        raise ValueError(f"damaged .npy header: {error}") from error
    if is_fortran or dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError("a .npy of objects, in Fortran order or of a negative size")
    return shape, dtype
