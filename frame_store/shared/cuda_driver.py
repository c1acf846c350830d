"""NVIDIA's driver libraries, called through ctypes: which GPUs the machine has, without torch or a toolkit.

FFmpeg and torch load the same libraries, by name. The system finds a library by its name once it is loaded, so loading
one by its path in this module is enough for all three.
"""

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import Final

CUDA_LIBRARY: Final = "libcuda.so.1"
NVDEC_LIBRARY: Final = "libnvcuvid.so.1"

LIBRARY_FOLDERS: Final = (
    "/usr/local/nvidia/lib64",  # of many container images; the system does not search this folder
    "/usr/local/nvidia/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib/wsl/lib",
)

# CUresult, as the CUDA driver API's reference numbers them.
CUDA_SUCCESS: Final = 0
CUDA_ERROR_NOT_INITIALIZED: Final = 3
CUDA_ERROR_NO_DEVICE: Final = 100


class CudaCallError(Exception):
    """A call of the driver failed."""

    def __init__(self, call: str, code: int, text: str) -> None:
        self.code = code
        super().__init__(f"{call} failed: {text}")


@lru_cache
def load_library(name: str) -> ctypes.CDLL | None:
    """One of the driver's libraries, by its name or else from a usual folder; None where it is not found.

    Loading a library does not start CUDA. Only `cuInit` does.
    """
    for place in (name, *(f"{folder}/{name}" for folder in LIBRARY_FOLDERS)):
        if place == name or Path(place).exists():
            try:
                return ctypes.CDLL(place)
            except OSError:  # not there, or of another architecture
                continue
    return None


@lru_cache
def cuda_driver() -> "CudaDriver | None":
    """The driver of this machine, not started yet; None where the machine has no driver."""
    library = load_library(CUDA_LIBRARY)
    return None if library is None else CudaDriver(library)


class CudaDriver:
    """The few calls of libcuda that this project needs. Threads may share it."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """Wrap a loaded libcuda, without a call of it."""
        self._library = library
        self._contexts: dict[int, ctypes.c_void_p] = {}

    def start(self) -> int:
        """Call `cuInit`; returns its CUresult. Processes that are forked from this one afterwards cannot use CUDA."""
        code: int = self._library.cuInit(0)
        return code

    def num_devices(self) -> int:
        """GPUs that this process may use (`CUDA_VISIBLE_DEVICES` counts).

        Raises:
            CudaCallError: the driver's call failed.
        """
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        return count.value

    def cuda_version(self) -> str:
        """The newest version of CUDA that the driver supports, such as `13.0`.

        Raises:
            CudaCallError: the driver's call failed.
        """
        version = ctypes.c_int()
        self._call("cuDriverGetVersion", ctypes.byref(version))
        return f"{version.value // 1000}.{version.value % 1000 // 10}"

    def device_name(self, ordinal: int) -> str:
        """Name of a GPU, such as `NVIDIA H100 80GB HBM3`.

        Raises:
            CudaCallError: no such device.
        """
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, len(name), self._device(ordinal))
        return name.value.decode(errors="replace")

    def bind_primary_context(self, ordinal: int) -> None:
        """Make the device's primary context, the one that torch uses, current in the calling thread.

        The context lives as long as the process, as it does under torch: this object keeps a reference to it.

        Raises:
            CudaCallError: no such device, or no memory on it for a context.
        """
        context = self._contexts.get(ordinal)
        if context is None:
            context = ctypes.c_void_p()
            self._call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._device(ordinal))
            self._contexts[ordinal] = context
        self._call("cuCtxSetCurrent", context)

    def error_text(self, code: int) -> str:
        """Name and text of a CUresult, such as `CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected`."""
        parts = []
        for call in ("cuGetErrorName", "cuGetErrorString"):
            text = ctypes.c_char_p()
            getattr(self._library, call)(code, ctypes.byref(text))
            if text.value:
                parts.append(text.value.decode(errors="replace"))
        return ": ".join(parts) or f"error {code}"

    def _device(self, ordinal: int) -> ctypes.c_int:
        device = ctypes.c_int()
        self._call("cuDeviceGet", ctypes.byref(device), ordinal)
        return device

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != CUDA_SUCCESS:
            raise CudaCallError(name, code, self.error_text(code))
