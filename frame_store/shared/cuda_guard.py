"""Whether this process may use CUDA, and whether the machine has it: checked before each use.

CUDA's state in a process does not survive a fork. The driver remembers which process started it, and in a child each
call fails with CUDA_ERROR_NOT_INITIALIZED, even the child's own `cuInit`. torch refuses such a child by a flag that it
sets only where torch itself started CUDA in the parent. Another library may have started it (FFmpeg). So this module
calls the driver.

That call starts CUDA, so imports, opening a cache and loaders on the CPU never make it. A process may therefore fork
workers as long as the process has not used the GPU.
"""

import os
import sys

from frame_store.errors import CudaForkError, CudaUnavailableError
from frame_store.shared.cuda_driver import (
    CUDA_ERROR_NO_DEVICE,
    CUDA_ERROR_NOT_INITIALIZED,
    CUDA_LIBRARY,
    CUDA_SUCCESS,
    LIBRARY_FOLDERS,
    CudaCallError,
    CudaDriver,
    cuda_driver,
)
from frame_store.shared.wording import counted

FORK_TEXT = (
    "CUDA was started in the parent before this process was forked from it, and does not survive a fork: in this "
    "process every call fails, cuInit itself with CUDA_ERROR_NOT_INITIALIZED. Read with threads instead of worker "
    "processes (loader.FrameLoader, or loader.make_dataloader without num_workers), or start the workers afresh "
    "(multiprocessing_context='spawn'). Starting CUDA in the worker (worker_init_fn=torch.cuda.init) comes too late"
)


def check_cuda_usable_here(ordinal: int = 0) -> CudaDriver:
    """Start CUDA in this process, if it is not started yet; returns its driver.

    Args:
        ordinal: number of the GPU that the process wants to use.

    Raises:
        CudaForkError: this process was forked from one that had started CUDA.
        CudaUnavailableError: no driver, no such GPU, or CUDA does not start; the message has the reason and the remedy.
    """
    torch = sys.modules.get("torch")
    # Where torch has set its flag, the driver need not be called. The flag is private, but torch has no other way.
    if torch is not None and torch.cuda._is_in_bad_fork():
        raise CudaForkError(FORK_TEXT)
    driver = cuda_driver()
    if driver is None:
        raise CudaUnavailableError(
            f"no NVIDIA driver: {CUDA_LIBRARY} is neither on the library path nor in {', '.join(LIBRARY_FOLDERS)}. "
            f"A container needs the NVIDIA runtime (docker run --gpus all)"
        )
    code = driver.start()
    if code == CUDA_ERROR_NOT_INITIALIZED:
        raise CudaForkError(FORK_TEXT)
    if code == CUDA_ERROR_NO_DEVICE:
        raise CudaUnavailableError(
            f"the NVIDIA driver finds no GPU ({driver.error_text(code)}). {_visibility_hint()}"
        )
    if code != CUDA_SUCCESS:
        raise CudaUnavailableError(f"the NVIDIA driver does not start: cuInit: {driver.error_text(code)}")
    try:
        num_devices = driver.num_devices()
    except CudaCallError as error:
        raise CudaUnavailableError(f"the NVIDIA driver finds no GPU: {error}") from error
    if not 0 <= ordinal < num_devices:
        raise CudaUnavailableError(
            f"cuda:{ordinal}: this process may use {counted(num_devices, 'GPU')}, counted from 0. {_visibility_hint()}"
        )
    return driver


def _visibility_hint() -> str:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return f"CUDA_VISIBLE_DEVICES is {chosen!r}"
    return "nvidia-smi lists what the machine has"
