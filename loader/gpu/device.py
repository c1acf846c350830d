"""The arguments `device` and `jpeg_decode` of the loaders, checked when a loader is made."""

from typing import Literal, TypeAlias, get_args

import torch

from frame_store.cameras import stores_of_cameras
from frame_store.protocol import DecodesOnDevice, FrameStore, HoldsEncodedFrames
from frame_store.shared import flag
from frame_store.views import base_of
from loader.batches import FrameSources
from loader.errors import SamplingError
from loader.gpu.jpeg import DecodeJpegs, find_jpeg_decoder
from loader.gpu.streams import usable_cuda_device

Device: TypeAlias = str | torch.device
"""`cpu`, `cuda` (torch's current GPU when the loader is made), `cuda:1`, or a torch.device."""

JpegDecode: TypeAlias = Literal["cpu", "gpu"]
"""The device that decodes the frames of a JPEG cache."""


def chosen_device(device: Device | None, store: FrameStore) -> torch.device:
    """The device of the batches: "cpu", or a GPU with its number. CUDA is started only for a GPU.

    None means the GPU that the store, or a camera of it, decodes on, or the CPU for other stores.

    Raises:
        SamplingError: not a device of torch, neither CPU nor CUDA, another GPU than the store decodes on, or cameras
            that decode on different GPUs.
        CudaUnavailableError: this machine has no such GPU.
        CudaForkError: this process was forked from one that uses CUDA.
    """
    cameras = stores_of_cameras(base_of(store)) or {"": store}
    decoding = {name: one for name, one in cameras.items() if isinstance(one, DecodesOnDevice)}
    own = next((one.device for one in decoding.values()), None)
    if len({one.device for one in decoding.values()}) > 1:
        where = ", ".join(f"{name!r} on {one.device}" for name, one in decoding.items())
        raise SamplingError(f"cameras decode on different GPUs ({where}); open them on one")
    if device is None:
        device = own or "cpu"
    try:
        chosen = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise SamplingError(
            f"device must be 'cpu', 'cuda', 'cuda:1' or such a torch.device, found {device!r}"
        ) from error
    if chosen.type == "cpu":
        return torch.device("cpu")
    if chosen.type != "cuda":
        raise SamplingError(f"device must be a CPU or an NVIDIA GPU, found {str(chosen)!r}")
    if own is not None and chosen.index is None:
        chosen = own
    if own is not None and chosen != own:
        kind = type(next(iter(decoding.values()))).__name__
        raise SamplingError(
            f"{kind} decodes on {own}, and device is {chosen}: a loader does not copy between GPUs; "
            f"take device={str(own)!r}, or open the store on {chosen}"
        )
    return usable_cuda_device(chosen)


def chosen_jpeg_decoder(
    jpeg_decode: JpegDecode, sources: FrameSources, device: torch.device
) -> DecodeJpegs | None:
    """The decoder of the JPEG of all sources on `device`; None if the CPU decodes.

    Raises:
        SamplingError: an unknown choice, no GPU to decode on, or a store or a camera that holds no JPEG.
        CudaUnavailableError: no decoder is installed.
    """
    if jpeg_decode not in get_args(JpegDecode):
        raise SamplingError(f"jpeg_decode must be 'cpu' or 'gpu', found {jpeg_decode!r}")
    if jpeg_decode == "cpu":
        return None
    if device.type != "cuda":
        raise SamplingError(f"jpeg_decode='gpu' needs batches on a GPU, and device is {str(device)!r}")
    for source in sources.sources:
        encoding = source.store.encoding_name if isinstance(source.store, HoldsEncodedFrames) else None
        if encoding != "jpeg":
            what = f"holds {encoding} frames" if encoding else "holds no encoded frames"
            where = "" if source.camera is None else f"camera {source.camera!r}: "
            raise SamplingError(
                f"{where}jpeg_decode='gpu' needs a cache of JPEG frames (cache-build --encoding jpeg), and "
                f"{type(source.store).__name__} {what}"
            )
    return find_jpeg_decoder()


def checked_pin_memory(pin_memory: bool | None, device: torch.device) -> bool | None:
    """The option, checked for batches on `device`.

    Raises:
        SamplingError: no flag, False for a GPU, which uploads from pinned memory, or True without CUDA.
    """
    if pin_memory is not None:
        pin_memory = flag("pin_memory", pin_memory, error=SamplingError)
    if device.type == "cuda" and pin_memory is False:
        raise SamplingError(
            f"pin_memory=False is for batches on the CPU; device={str(device)!r} uploads from pinned memory"
        )
    if device.type == "cpu" and pin_memory and not torch.cuda.is_available():
        raise SamplingError("pin_memory=True needs CUDA, and torch finds none")
    return pin_memory
