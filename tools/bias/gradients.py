"""`cache-bias --gradients MODEL.py`: gradients of a network, one for each frame, in place of thumbnails."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from cache_builder.errors import ConfigError
from frame_store.protocol import FrameStore
from frame_store.shared import counted, counted_in_groups
from loader import SamplingError
from loader.bias import Reals, store_of_pixels
from loader.sampling.orders import epoch_keys, words_at

FUNCTION: Final = "per_frame_gradients"
FRAMES_AT_ONCE: Final = 64
MOST_NUMBERS: Final = 512
"""Numbers kept of a gradient. Longer ones are summed, with random signs, into as many groups."""

Floats = npt.NDArray[np.float32]


def gradient_features(path: Path, store: FrameStore, *, camera: str | None = None) -> tuple[Reals, str]:
    """The gradient of each frame by id, float64 of shape (N, D), D at most 512, and what to call them.

    The file `path` defines `per_frame_gradients(frames)`. It gets uint8 frames of shape (B, H, W, 3), B at most 64
    (uint16, (B, H, W, 1) of a cache of 16-bit gray), and returns the gradient of each, an array or a torch tensor of
    shape (B, D). All frames are streamed in the order of ids, so memory is N x D numbers, not N frames.

    More than 512 numbers are summed in 512 groups with random signs. Inner products stay right in the mean; their
    error has a standard deviation of at most 6.3% (the root of 2 / 512) of the product of the lengths.

    Raises:
        ConfigError: the file cannot be read or run, or defines no such function.
        SamplingError: the function fails, or returns anything else.
    """
    function = _function_of(path)
    pixels = store_of_pixels(store, camera)
    groups: _SignedGroups | None = None
    found: Floats | None = None
    for first in range(0, len(store), FRAMES_AT_ONCE):
        end = min(first + FRAMES_AT_ONCE, len(store))
        gradients = _gradients_of(function, pixels.read_frames(np.arange(first, end)), path, first, end)
        if groups is None or found is None:
            groups = _SignedGroups(gradients.shape[1])
            found = np.empty((len(store), groups.num_groups), np.float32)
        if gradients.shape[1] != groups.num_numbers:
            raise SamplingError(
                f"{path}: {FUNCTION} returned {counted(groups.num_numbers, 'number')} for frame 0 and "
                f"{gradients.shape[1]} for frame {first}"
            )
        found[first:end] = groups.sums(gradients)
    assert found is not None and groups is not None  # a store of a case has frames
    name = f"gradients by {path.name}"
    if groups.num_groups < groups.num_numbers:
        name += f" ({groups.num_groups} sums of {counted_in_groups(groups.num_numbers, 'number')})"
    return found.astype(np.float64), name


def _function_of(path: Path) -> Callable[[npt.NDArray[Any]], Any]:
    spec = importlib.util.spec_from_file_location("frame_cache_gradients", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise ConfigError(f"{path}: expected a Python file that defines {FUNCTION}(frames)")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.path.insert(0, folder)  # so that the file may import its neighbours
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # an exit of the file is no success of the command
        raise ConfigError(f"{path}: cannot be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    function = getattr(module, FUNCTION, None)
    if not callable(function):
        raise ConfigError(f"{path}: defines no function {FUNCTION}(frames)")
    return function  # type: ignore[no-any-return]


def _gradients_of(
    function: Callable[[npt.NDArray[Any]], Any], frames: npt.NDArray[Any], path: Path, first: int, end: int
) -> Floats:
    where = f"{path}: {FUNCTION} of frames {first} to {end - 1}"
    try:
        result = function(frames)
        if hasattr(result, "detach"):  # a torch tensor, which may be on a GPU
            result = result.detach().cpu()
            result = result.numpy() if result.is_complex() else result.float().numpy()
        is_complex = np.iscomplexobj(result)
        gradients = np.asarray(result, None if is_complex else np.float32)
    except (Exception, SystemExit) as error:
        raise SamplingError(f"{where} failed: {type(error).__name__}: {error}") from error
    if is_complex:
        raise SamplingError(f"{where}: expected real numbers, found {gradients.dtype}")
    if gradients.ndim != 2 or len(gradients) != end - first or not gradients.size:
        raise SamplingError(
            f"{where}: expected shape ({end - first}, D), a gradient for each frame, found {gradients.shape}"
        )
    is_finite = np.isfinite(gradients).all(axis=1)
    if not is_finite.all():
        raise SamplingError(
            f"{where}: {counted(int((~is_finite).sum()), 'gradient')} with NaN or infinity, the first of frame "
            f"{first + int(np.flatnonzero(~is_finite)[0])}"
        )
    return gradients


class _SignedGroups:
    """Sums of D numbers with random signs in at most 512 groups of equal sizes, the same in every run."""

    def __init__(self, num_numbers: int) -> None:
        self.num_numbers = num_numbers
        self.num_groups = min(num_numbers, MOST_NUMBERS)
        if num_numbers > MOST_NUMBERS:
            (key,) = epoch_keys(seed=0, epoch=0, num_keys=1)
            words = words_at(key, np.arange(num_numbers, dtype=np.uint64))
            self._order = np.argsort(words, kind="stable")
            self._signs = np.where(words[self._order] & np.uint64(1), -1, 1).astype(np.float32)
            self._starts = np.arange(MOST_NUMBERS) * num_numbers // MOST_NUMBERS

    def sums(self, gradients: Floats) -> Floats:
        """Shape (B, D) -> (B, num_groups)."""
        if self.num_groups == self.num_numbers:
            return gradients
        signed = gradients[:, self._order]
        signed *= self._signs
        sums: Floats = np.add.reduceat(signed, self._starts, axis=1)
        return sums
