"""Random crops, flips and colours, drawn for each image as a pure function of (seed, epoch, frame id)."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from numbers import Real
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import torch

from frame_store.shared import counted, whole_number
from loader.augment.apply import augment_batch, augment_images
from loader.augment.draw import AugmentParameters, draw_parameters
from loader.augment.levels import augment_levels
from loader.augment.values import ColorJitter, Normalize, RandomResizedCrop
from loader.errors import AugmentationError

_DTYPES: Final = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_PARTS: Final = {"crop": RandomResizedCrop, "jitter": ColorJitter, "normalize": Normalize}


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """crop -> flip -> jitter -> normalise, with torchvision's distributions and results; see AUGMENTATION.md.

    Of 16-bit levels (`gray16`, such as depths), `crop` takes the nearest pixels, and the output is float32 of the
    levels as they are. `jitter`, `normalize` and other dtypes are refused there.

    Parameters are drawn for each frame, or for each window by the id of its anchor. They are a function of seed, epoch
    and that id alone, not of the rest of the batch. Values are computed in float32 and cast last. An object
    keeps no state between calls, so threads may share it.

    Raises:
        AugmentationError: a part of another type, a probability outside [0, 1], another dtype, or a seed outside
            [0, 2**32).
    """

    crop: RandomResizedCrop | None = None
    """None keeps the frames' size."""
    flip_probability: float = 0.0
    """Of mirroring a frame left to right."""
    jitter: ColorJitter | None = None
    normalize: Normalize | None = None
    dtype: torch.dtype | Literal["float32", "float16", "bfloat16"] = "float32"
    """Of the output; torch.float32, torch.float16 and torch.bfloat16 mean the same as the strings."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the parts, the numbers and the dtype."""
        for name, kind in _PARTS.items():
            part = getattr(self, name)
            if part is not None and not isinstance(part, kind):
                raise AugmentationError(
                    f"{name} must be a loader.{kind.__name__}(...) or None, found {part!r}"
                )
        if not (isinstance(self.flip_probability, Real) and 0 <= self.flip_probability <= 1):
            raise AugmentationError(f"flip_probability must be in [0, 1], found {self.flip_probability!r}")
        if self.dtype not in [
            *_DTYPES,
            *_DTYPES.values(),
        ]:  # a list, because `dtype` may be a value that cannot be hashed
            raise AugmentationError(f"dtype must be float32, float16 or bfloat16, found {self.dtype!r}")
        if not 0 <= whole_number("seed", self.seed, error=AugmentationError) < 1 << 32:
            raise AugmentationError(f"seed must be in [0, 2**32), found {self.seed}")

    @property
    def output_dtype(self) -> torch.dtype:
        """torch.float32, torch.float16 or torch.bfloat16."""
        return _DTYPES[self.dtype] if isinstance(self.dtype, str) else self.dtype

    def output_shape(self, frame_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """Shape (C, h, w) of an augmented frame; `frame_shape` is (H, W, C), as `FrameStore.frame_shape` gives it.

        A batch has its B or B, T before that.
        """
        height, width, channels = frame_shape
        return (channels, *(self.crop.output_size if self.crop is not None else (height, width)))

    def parameters(
        self,
        frame_ids: npt.ArrayLike | torch.Tensor,
        *,
        epoch: int,
        frame_size: tuple[int, int],
        camera: str | None = None,
    ) -> AugmentParameters:
        """The drawn parameters of frames of `frame_size` (height, width); `frame_ids` has shape (B,).

        Each `camera` draws by itself; None is what all cameras of a loader with `shared_augment=True` draw.

        Raises:
            AugmentationError: ids of another shape or not whole numbers of 0 or more.
            SamplingError: epoch outside [0, 2**32).
        """
        ids = np.asarray(frame_ids.cpu() if isinstance(frame_ids, torch.Tensor) else frame_ids)
        if ids.ndim != 1 or not (np.issubdtype(ids.dtype, np.integer) or not ids.size) or (ids < 0).any():
            raise AugmentationError(
                f"frame_ids must be whole numbers of 0 or more, shape (B,), found {ids.dtype} {ids.shape}"
            )
        return draw_parameters(
            ids.astype(np.int64),
            seed=self.seed,
            epoch=epoch,
            frame_size=frame_size,
            crop=self.crop,
            flip_probability=self.flip_probability,
            jitter=self.jitter,
            camera=camera,
        )

    def __call__(
        self,
        frames: torch.Tensor,
        *,
        frame_ids: npt.ArrayLike | torch.Tensor,
        epoch: int,
        camera: str | None = None,
        out: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Augment a batch.

        Args:
            frames: uint8 (B, 3, H, W), or windows (B, T, 3, H, W), on any device and in any layout; `FrameBatch.frames`
                is channels_last. Levels are uint16 (B, 1, H, W) or (B, T, 1, H, W).
            frame_ids: ids of the frames, or of the anchors of windows, in the cache: whole numbers, shape (B,). They
                should be on the host: the call waits for ids on a device. All frames of a window share the parameters.
            epoch: in [0, 2**32).
            camera: whose frames these are, where several cameras filmed the videos; see `parameters`.
            out: the output tensor; None makes a new one.

        Returns:
            `out`, or `output_dtype` (B, 3, h, w) or (B, T, 3, h, w), contiguous (so not channels_last), on the device
            of `frames`. Values before `normalize` are in [0, 1], apart from rounding. Levels have one channel, and are
            0 to 65535.

        Raises:
            AugmentationError: frames, ids or `out` of another shape, dtype or device, or levels that this object would
                change (see `why_not_of_levels`).
            SamplingError: epoch outside [0, 2**32).
        """
        self._check_frames(frames)
        ids = np.asarray(frame_ids.cpu() if isinstance(frame_ids, torch.Tensor) else frame_ids)
        if ids.shape != (len(frames),):
            raise AugmentationError(
                f"frame_ids must have shape ({len(frames)},), one for each frame or window, found {ids.shape}"
            )
        if frames.dim() == 5 and frames.shape[1] == 0:
            raise AugmentationError("windows must have frames, found T = 0")
        parameters = self.parameters(
            ids, epoch=epoch, frame_size=(frames.shape[-2], frames.shape[-1]), camera=camera
        )
        if frames.dim() == 5:
            parameters = parameters.repeated(frames.shape[1])
        return self.apply(frames, parameters, out=out)

    def apply(
        self, frames: torch.Tensor, parameters: AugmentParameters, *, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Augment with given parameters, a row for each frame (windows: window by window); see `__call__`.

        Of this object, only `normalize`, `dtype` and the size of the crop are used.

        Raises:
            AugmentationError: frames, parameters or `out` do not fit each other.
        """
        self._check_frames(frames)
        channels, height, width = frames.shape[-3:]
        shape = (*frames.shape[:-3], *self.output_shape((height, width, channels)))
        flat = frames.flatten(0, -4)
        self._check_parameters(parameters, num_frames=len(flat), height=height, width=width)
        if out is None:
            out = torch.empty(shape, dtype=self.output_dtype, device=frames.device)
        elif (out.shape, out.dtype, out.device) != (shape, self.output_dtype, frames.device) or (
            not out.is_contiguous()
        ):
            raise AugmentationError(
                f"out must be contiguous {self.output_dtype} {shape} on {frames.device}, "
                f"found {out.dtype} {tuple(out.shape)} on {out.device}, strides {out.stride()}"
            )
        if flat.numel() and frames.dtype == torch.uint16:
            augment_levels(flat, parameters, out=out.flatten(0, -4))
        elif flat.numel():
            augment = augment_batch
            if frames.device.type == "cpu":
                compiled = compiled_augment() if parameters.has_jitter else None
                augment = compiled or augment_images
            augment(flat, parameters, normalize=self.normalize, out=out.flatten(0, -4))
        return out

    @property
    def why_not_of_levels(self) -> str | None:
        """Why 16-bit levels cannot be augmented with this object: what would change them. None if they can."""
        if self.jitter is not None:
            return "jitter changes colours"
        if self.normalize is not None:
            return "normalize has the mean and the deviation of red, green and blue"
        if self.output_dtype != torch.float32:
            return f"dtype {str(self.output_dtype).removeprefix('torch.')} cannot tell 65,536 levels apart"
        return None

    def _check_frames(self, frames: torch.Tensor) -> None:
        kind = (frames.dtype, frames.shape[-3] if frames.dim() in {4, 5} else None)
        if kind not in {(torch.uint8, 3), (torch.uint16, 1)}:
            raise AugmentationError(
                f"frames must be uint8 (B, 3, H, W) or (B, T, 3, H, W), or uint16 with 1 channel instead of 3, found "
                f"{frames.dtype} {tuple(frames.shape)}"
            )
        if frames.dtype == torch.uint16 and self.why_not_of_levels is not None:
            raise AugmentationError(f"16-bit levels stay as they are, and {self.why_not_of_levels}")

    def _check_parameters(
        self, parameters: AugmentParameters, *, num_frames: int, height: int, width: int
    ) -> None:
        if len(parameters) != num_frames:
            raise AugmentationError(
                f"parameters must be of {counted(num_frames, 'frame')}, found {len(parameters)}"
            )
        boxes = parameters.crop_boxes
        if (boxes is None) != (self.crop is None):
            raise AugmentationError(
                f"parameters must have crop_boxes if there is a crop, and none without; found crop {self.crop} "
                f"and {'no ' if boxes is None else ''}crop_boxes"
            )
        if boxes is not None and (boxes[:, :2] + boxes[:, 2:] > (height, width)).any():
            raise AugmentationError(f"crop_boxes must lie inside the frames of {height}x{width} pixels")


@cache
def compiled_augment() -> Callable[..., None] | None:
    """`augment_images_compiled`; None where numba is not installed, or is not for this version of numpy.

    None, too, where the process may not execute new code (`MemoryDenyWriteExecute=` of systemd).
    """
    try:
        from loader.augment.apply_compiled import augment_images_compiled
    except (ImportError, OSError):
        return None
    return augment_images_compiled


def exercise_augmentation(*, cached: bool, seed: int = 0) -> Augmentation:
    """The exercise's RandomResizedCrop(224, scale=(0.9, 1)) and ColorJitter(0.5, 0.5, 0.5, 0.5).

    `cached=True` is for a cache built with `configs/exercise.toml`. The crop of a 16:9 frame is always the same, so the
    frames of the cache are already cropped and only the jitter remains. `cached=False` is for whole frames.
    """
    return Augmentation(
        crop=None if cached else RandomResizedCrop(size=224, scale=(0.9, 1.0)),
        jitter=ColorJitter(brightness=0.5, contrast=0.5, saturation=0.5, hue=0.5),
        seed=seed,
    )
