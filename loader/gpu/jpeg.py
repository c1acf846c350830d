"""JPEG decoded by the GPU (nvJPEG), a batch at a time, through torchcodec or torchvision."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TypeAlias

import torch

from frame_store.errors import CudaError, CudaUnavailableError

DecodeJpegs: TypeAlias = Callable[[Sequence[torch.Tensor], torch.device], Sequence[torch.Tensor]]
"""JPEG files, each a uint8 tensor (L,) on the CPU, to uint8 RGB (3, H, W) on the device.

nvJPEG's hardware engine (A100, H100) writes as soon as it is called, before work that is queued on the stream
(torchcodec #1634, torchvision #9606 measured it). So the caller drains the stream first, and no other thread uses it.
"""


def find_jpeg_decoder() -> DecodeJpegs:
    """The installed decoder: that of torchcodec, which replaces that of torchvision, or that of torchvision.

    Raises:
        CudaUnavailableError: neither can be imported; the message gives the reasons.
    """
    reasons = []
    for name, decode in _DECODERS.items():
        try:
            module = import_module(name)
        # torchcodec raises RuntimeError if it does not fit torch or a library is missing.
        except (ImportError, OSError, RuntimeError) as error:
            reasons.append((str(error).strip().splitlines() or [repr(error)])[0])
        else:
            if hasattr(module, "decode_jpeg"):
                return decode
            reasons.append(f"{name} has no decode_jpeg")
    raise CudaUnavailableError(
        "jpeg_decode='gpu' needs torchcodec 0.16 or newer (pip install 'frame-cache[gpu]') or torchvision; "
        f"found neither: {'; '.join(reasons)}"
    )


def stack_images(
    images: Sequence[torch.Tensor], *, frame_ids: Sequence[int], frame_shape: tuple[int, int, int]
) -> torch.Tensor:
    """Images (3, H, W) as one uint8 tensor (B, H, W, 3) on their device, each pixel copied once.

    Raises:
        CudaError: an image is not uint8 RGB of `frame_shape`; the message names its frame.
    """
    height, width, channels = frame_shape
    for frame_id, image in zip(frame_ids, images, strict=True):
        if image.dtype != torch.uint8 or image.shape != (channels, height, width):
            raise CudaError(
                f"frame {frame_id}: the GPU made {image.dtype} {tuple(image.shape)} of its JPEG, "
                f"expected torch.uint8 {(channels, height, width)}"
            )
    return torch.stack([image.permute(1, 2, 0) for image in images])


def _decode_with_torchcodec(payloads: Sequence[torch.Tensor], device: torch.device) -> Sequence[torch.Tensor]:
    from torchcodec.decoders import decode_jpeg

    images: list[torch.Tensor] = decode_jpeg(list(payloads), mode="RGB", device=device)
    return images


def _decode_with_torchvision(
    payloads: Sequence[torch.Tensor], device: torch.device
) -> Sequence[torch.Tensor]:
    from torchvision.io import ImageReadMode, decode_jpeg

    images: list[torch.Tensor] = decode_jpeg(list(payloads), mode=ImageReadMode.RGB, device=device)
    return images


_DECODERS: dict[str, DecodeJpegs] = {
    "torchcodec.decoders": _decode_with_torchcodec,
    "torchvision.io": _decode_with_torchvision,
}
"""By the module whose `decode_jpeg` they call; the preferred one is first."""
