"""The values of `augment=`, our `Augmentation` or any callable on the batch, and how they are applied."""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import torch

from loader.augment.augmentation import Augmentation
from loader.errors import AugmentationError, SamplingError

BatchCallable: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
"""Takes the frames (B, C, H, W) as they are read, or windows (B, T, C, H, W): uint8 of 3 channels, or uint16 of 1.

It returns a tensor whose first dimension is B."""

Augment: TypeAlias = Augmentation | BatchCallable


def checked_augment(augment: object) -> Augment | None:
    """`augment`, if it can be called with a batch or is None.

    Raises:
        SamplingError: a class (the parentheses were forgotten), or an object that cannot be called.
    """
    if augment is None or isinstance(augment, Augmentation):
        return augment
    if isinstance(augment, type):
        raise SamplingError(
            f"augment must be an object, found the class {augment.__name__}: give augment={augment.__name__}(...)"
        )
    if not callable(augment):
        raise SamplingError(
            f"augment must be a loader.Augmentation, or take uint8 frames (B, 3, H, W) and return a tensor of B "
            f"(a function, an nn.Module, torchvision's v2.Compose), found {type(augment).__name__}"
        )
    return cast("BatchCallable", augment)


def require_augments(augment: Augment | None, *, frame_dtype: np.dtype[Any], camera: str | None) -> None:
    """Raise SamplingError if `augment` is an `Augmentation` that would change 16-bit levels; callables may do so."""
    if frame_dtype != np.uint16 or not isinstance(augment, Augmentation):
        return
    why = augment.why_not_of_levels
    if why is not None:
        where = "" if camera is None else f"camera {camera!r}: "
        remedy = "" if camera is None else ", such as augment={camera: ...} with another one for this camera"
        raise SamplingError(
            f"{where}its frames are 16-bit levels (gray16), which stay as they are, and {why} in augment={augment!r}; "
            f"take a loader.Augmentation of crop and flip_probability alone, or a callable of your own{remedy}"
        )


def augmented_frames(
    augment: Augment,
    frames: torch.Tensor,
    *,
    frame_ids: npt.ArrayLike | torch.Tensor,
    epoch: int,
    camera: str | None = None,
    shares_draw: bool = False,
    out: torch.Tensor | None = None,
) -> torch.Tensor:
    """`augment` applied to frames (B, C, H, W) or (B, T, C, H, W) as they are read, on the same device.

    An `Augmentation` is called with `frame_ids`, `epoch`, `camera` (unless `shares_draw`) and `out`. Another callable
    gets the frames alone, without recording gradients.

    Raises:
        AugmentationError: a callable returned no tensor, or one of another first dimension or on another device.
        RuntimeError: a callable raised StopIteration, which would look like the end of the epoch.
        Exception: the error of a callable, with a note that names it.
    """
    if isinstance(augment, Augmentation):
        own = None if shares_draw else camera
        return augment(frames, frame_ids=frame_ids, epoch=epoch, camera=own, out=out)
    name = _name_of(augment)
    where = "" if camera is None else f" of camera {camera!r}"
    try:
        with torch.no_grad():
            result: Any = augment(frames)
    except StopIteration as error:
        raise RuntimeError(f"augment={name} raised StopIteration") from error
    except Exception as error:
        error.add_note(f"augment={name} raised this on frames{where} {_text(frames)}")
        raise
    expected = f"a tensor of first dimension {len(frames)} on {frames.device}"
    if not isinstance(result, torch.Tensor):
        raise AugmentationError(
            f"augment={name} must return {expected}{where}, found {type(result).__name__}"
        )
    if result.dim() == 0 or len(result) != len(frames) or result.device != frames.device:
        raise AugmentationError(
            f"augment={name} must return {expected}{where}, found {_text(result)}, made of {_text(frames)}"
        )
    return result


def _name_of(augment: BatchCallable) -> str:
    """The name of a function or method, the class of another object; for a `partial`, of the object that it calls."""
    inner = augment.func if isinstance(augment, partial) else augment
    return str(getattr(inner, "__qualname__", None) or type(inner).__qualname__)


def _text(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)} on {tensor.device}"
