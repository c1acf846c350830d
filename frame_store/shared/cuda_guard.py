"""May this process use CUDA at all, and is it there? Asked before any use of it.

CUDA's state in a process does not survive a fork: the driver remembers which process started it, and in a child every
call fails with CUDA_ERROR_NOT_INITIALIZED, the child's own `cuInit` too. torch refuses such a child by a flag that it
sets where torch itself started CUDA, and knows nothing of CUDA started by anyone else in the parent (FFmpeg, another
library). So the driver is asked.

Asking starts CUDA. That is why nothing here runs on an import, when a cache is opened, or for a loader on the CPU: a
process may fork its workers as long as it has not asked for the GPU.
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
    "CUDA was started in the parent before this process was forked from it, and does not survive a fork: here every "
    "call fails, cuInit itself with CUDA_ERROR_NOT_INITIALIZED. Read with threads instead of worker processes "
    "(loader.FrameLoader, or loader.make_dataloader without num_workers), or start the workers afresh "
    "(multiprocessing_context='spawn'). Starting CUDA in the worker (worker_init_fn=torch.cuda.init) comes too late"
)


def check_cuda_usable_here(ordinal: int = 0) -> CudaDriver:
    """Start CUDA in this process, if it is not yet, and give its driver.

    Args:
        ordinal: number of the GPU that is to be there.

    Raises:
        CudaForkError: this process was forked from one that had started CUDA.
        CudaUnavailableError: no driver, no such GPU, or it does not start; says why and what helps.
    """
    torch = sys.modules.get("torch")
    # Known to torch, there is no need to ask. (The flag is private, but what torch raises is not said any earlier.)
    if torch is not None and torch.cuda._is_in_bad_fork():
        raise CudaForkError(FORK_TEXT)
    driver = cuda_driver()
    if driver is None:
        raise CudaUnavailableError(
            f"no NVIDIA driver: {CUDA_LIBRARY} is neither on the loader's path nor in {', '.join(LIBRARY_FOLDERS)}. "
            f"In a container, it takes the NVIDIA runtime (docker run --gpus all)"
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
