"""`.npy` files of version 1.0: headers, as of raw frames in a tar shard, and whole files, mapped into memory."""

import io
import os
import re
from math import prod
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from frame_store.errors import StoreDamagedError
from frame_store.files import open_inside
from frame_store.shared import counted, raise_if_out_of_files

MAX_HEADER_BYTES: Final = 10_000
"""The longest header that numpy takes for safe to parse."""

_MAGIC: Final = b"\x93NUMPY\x01\x00"

_KEYS: Final = frozenset({"descr", "fortran_order", "shape"})
_PLAIN_DESCR: Final = re.compile(r"[<>|=]?[?a-zA-Z][0-9]{0,9}")
"""Of a number. Other texts are a language of their own, and numpy's parser can divide by zero in it: `M8[s/0]`."""


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The header of a C-ordered array."""
    buffer = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def read_npy_header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of a C-ordered `.npy`; `file` then stands where the data begin.

    Raises:
        ValueError: any other content. Arrays of objects are refused as well: only pickle could load them.
    """
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("no .npy of version 1.0")  # later ones have headers of up to 4 GB
    try:
        _check_texts(file)
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file, max_header_size=MAX_HEADER_BYTES)
    except Exception as error:  # a damaged header can make numpy raise anything
        raise ValueError(f"damaged .npy header: {error}") from error
    if is_fortran or dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError("a .npy of objects, in Fortran order or of a negative size")
    return shape, dtype


def _check_texts(file: BinaryIO) -> None:
    """Refuse a header with texts that are neither a key, nor a plain type, nor the name of a field.

    `file` stands where the header begins, also afterwards.
    """
    start = file.tell()
    num_bytes = int.from_bytes(file.read(2), "little")
    header = file.read(num_bytes)
    file.seek(start)
    for text in re.findall(rb"'([^']*)'|\"([^\"]*)\"", header):
        plain = b"".join(text).decode("latin-1")
        if plain not in _KEYS and not _PLAIN_DESCR.fullmatch(plain) and not plain.isidentifier():
            raise ValueError(f"{plain[:100]!r} is no type of numbers")


def map_npy(
    folder: Path, name: str, *, dtype: np.dtype[Any], shape: tuple[int, ...], section: str
) -> npt.NDArray[Any]:
    """The array in the file `name` of `folder`, mapped read-only.

    Args:
        folder: A folder of a store. No link may lie on the way from it to the file.
        name: Relative, with forward slashes.
        dtype: What the file must hold.
        shape: Its only possible shape.
        section: Of FORMAT.md, for messages.

    Raises:
        StoreDamagedError: the file is missing, a link, of another dtype or shape, or does not fit its header.
        OSError: no more files can be opened.
    """
    path = folder / name
    try:
        descriptor = open_inside(folder, name)
        with os.fdopen(os.dup(descriptor.number), "rb") as file:
            found_shape, found_dtype = read_npy_header(file)
            found, expected = os.fstat(file.fileno()).st_size, file.tell() + prod(shape) * dtype.itemsize
            if found_dtype == dtype and found_shape == shape and found == expected:
                if not prod(shape):
                    return np.zeros(shape, dtype)  # nothing can be mapped
                values: npt.NDArray[Any] = np.memmap(file, dtype, "r", file.tell(), shape)
                return values.view(np.ndarray)  # without the bookkeeping of np.memmap at every access
    except OSError as error:
        raise_if_out_of_files(error)
        raise StoreDamagedError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise StoreDamagedError(f"{path}: cannot be read: {error}") from error
    raise StoreDamagedError(
        f"{path}: expected {counted(expected, 'byte')} with {shape} of {_spelt(dtype)} as in FORMAT.md section "
        f"{section}, found {counted(found, 'byte')} with {found_shape} of "
        f"{_spelt(found_dtype) if found_dtype != dtype else 'the same'}"
    )


def _spelt(dtype: np.dtype[Any]) -> str:
    """A dtype in a message. A structured one may be long."""
    return str(dtype) if dtype.names is None else f"rows of {counted(dtype.itemsize, 'byte')}"
