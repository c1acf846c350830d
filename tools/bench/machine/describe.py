"""The machine of a GPU acceptance, as JSON values. A fact that cannot be read is replaced by the reason."""

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from frame_cache_tools.bench.machine.decoder_caps import ask_caps
from frame_cache_tools.bench.machine.machine import read_machine, read_versions
from frame_cache_tools.bench.machine.nvidia_smi import SmiError, read_report, wanted_facts

from frame_store.errors import CudaError, CudaUnavailableError
from frame_store.shared import (
    CUDA_LIBRARY,
    NVDEC_LIBRARY,
    CudaCallError,
    check_cuda_usable_here,
    load_library,
)

_VARIABLES: Final = (
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
    "CUDA_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
)


def describe_machine(folder: Path) -> dict[str, Any]:
    """Machine, versions, driver, libraries and codecs; `folder` is where caches would lie."""
    return {
        "why_no_gpu": why_no_gpu(),
        "machine": asdict(read_machine(folder)),
        "versions": read_versions(),
        "variables": {name: os.environ.get(name, "not set") for name in _VARIABLES},
        "libraries": {name: _place_of(name) for name in (CUDA_LIBRARY, NVDEC_LIBRARY)},
        "nvidia-smi": _answer(lambda: wanted_facts(read_report())),
        "driver": _answer(_driver),
        "codecs": _answer(_codecs),
    }


def why_no_gpu() -> str | None:
    """Why this process cannot use a GPU through torch; None where it can. This call starts CUDA."""
    try:
        check_cuda_usable_here()
    except CudaError as error:
        return str(error)
    import torch

    if torch.cuda.is_available():
        return None
    return f"torch {torch.__version__} (CUDA {torch.version.cuda}) finds no GPU that it can use"


def _answer(question: Callable[[], Any]) -> Any:  # noqa: ANN401 - JSON
    try:
        return question()
    except (SmiError, CudaError, CudaCallError) as error:
        return f"not known: {error}"


def _driver() -> str:
    driver = check_cuda_usable_here()
    return f"{driver.device_name(0)}, driver for CUDA {driver.cuda_version()}"


def _codecs() -> dict[str, str]:
    driver = check_cuda_usable_here()
    library = load_library(NVDEC_LIBRARY)
    if library is None:
        raise CudaUnavailableError(
            f"{NVDEC_LIBRARY} is missing: the container lacks the driver capability video"
        )
    return {
        f"{codec} {bits} bits {chroma}": support.text()
        for (codec, bits, chroma), support in ask_caps(library, driver).items()
    }


def _place_of(name: str) -> str:
    """The file of a loaded library, from this process's memory map."""
    if load_library(name) is None:
        return "not found"
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "loaded"
    stem = name.removesuffix(".1")
    paths = dict.fromkeys(line.split()[-1] for line in lines if line.rpartition("/")[2].startswith(stem))
    return ", ".join(paths) or "loaded"
