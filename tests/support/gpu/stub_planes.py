"""Planes of frames that the stub driver decoded, as arrays of the host, and their expected content."""

import ctypes
from typing import Any

import numpy as np
from av.video.plane import VideoPlane

_CPU, _CUDA = 1, 2  # DLDeviceType


class _Device(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int32), ("ordinal", ctypes.c_int32))


class _TensorHead(ctypes.Structure):
    """The first members of DLPack's DLTensor, with which its DLManagedTensor begins."""

    _fields_ = (("data", ctypes.c_void_p), ("device", _Device))


def plane_array(plane: VideoPlane) -> np.ndarray:
    """A plane of a "cuda" frame as a numpy array over the same memory. The array keeps the frame's buffer alive."""
    return np.from_dlpack(_HostCapsule(host_capsule(plane.__dlpack__())))


def plane_tensor(plane: VideoPlane) -> Any:
    """The same plane as a CPU tensor of torch."""
    import torch

    return torch.from_dlpack(host_capsule(plane.__dlpack__()))


def host_capsule(capsule: Any) -> Any:
    """Relabel a DLPack capsule as memory of the host, because the stub's device memory is. Nothing is copied."""
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    head = _TensorHead.from_address(get_pointer(capsule, b"dltensor"))
    assert head.device.type == _CUDA, f"a capsule of device type {head.device.type}, not of CUDA"
    head.device = _Device(_CPU, 0)
    return capsule


def expected_planes(
    number: int, width: int, height: int, *, bit_depth: int = 8
) -> tuple[np.ndarray, np.ndarray]:
    """Luma (height, width) and chroma (half of each, rounded up, 2) that the stub gives picture `number`.

    uint8; with a bit depth of 10, uint16 with the value in the upper ten bits.
    """
    luma_y, luma_x = np.mgrid[:height, :width]
    y, x = np.mgrid[: (height + 1) // 2, : (width + 1) // 2]
    luma = 16 + (37 * number + luma_x + 3 * luma_y) % 220
    blue = 16 + (53 * number + 2 * x + y) % 225
    red = 16 + (101 * number + 96 + x + 5 * y) % 225
    chroma = np.stack([blue, red], axis=-1)
    if bit_depth == 8:
        return luma.astype(np.uint8), chroma.astype(np.uint8)
    luma = luma * 4 + (luma_x + luma_y) % 4
    chroma = chroma * 4 + ((x + y) % 4)[..., None]
    return (luma << 6).astype(np.uint16), (chroma << 6).astype(np.uint16)


class _HostCapsule:
    """The object from which numpy takes a capsule."""

    def __init__(self, capsule: Any) -> None:
        self._capsule = capsule

    def __dlpack__(self, **_: Any) -> Any:
        return self._capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU, 0
