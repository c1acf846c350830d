"""Arrays of several types in one block of page-locked memory, so that one copy uploads them all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

_ALIGNMENT: Final = 8
"""Every array begins at a multiple of this many bytes, as a view of its type needs it."""


@dataclass(frozen=True, kw_only=True)
class PackedPlace:
    """Where one array lies in the block."""

    first_byte: int
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
    """Arrays in one block on the host."""

    host: torch.Tensor
    """uint8, shape (bytes,)."""
    places: Mapping[str, PackedPlace]


def pack(
    arrays: Mapping[str, npt.NDArray[Any]], memory: Callable[[Sequence[int], torch.dtype], torch.Tensor]
) -> Packed:
    """`arrays` copied into one block of `memory(shape, dtype)`; their types are types of torch."""
    places, end = {}, 0
    for name, array in arrays.items():
        # An empty tensor takes the type along: torch has no public table of numpy's types.
        dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
        places[name] = PackedPlace(first_byte=end, shape=array.shape, dtype=dtype)
        end += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT
    host = memory((end,), torch.uint8)
    for name, tensor in unpack(host, places).items():
        tensor.numpy()[...] = arrays[name]
    return Packed(host=host, places=places)


def unpack(block: torch.Tensor, places: Mapping[str, PackedPlace]) -> dict[str, torch.Tensor]:
    """Views of the arrays in a block of `pack`, on any device."""
    found = {}
    for name, place in places.items():
        num_bytes = prod(place.shape) * place.dtype.itemsize
        part = block[place.first_byte : place.first_byte + num_bytes]
        found[name] = part.view(place.dtype).view(place.shape)
    return found
