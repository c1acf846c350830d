"""Step `machine` of `gpu_acceptance`: what is there, before anything is asked of it."""

import os
from importlib import metadata
from pathlib import Path
from typing import Final

from frame_cache_tools.bench.report import read_machine, read_versions, versions_text
from frame_cache_tools.gpu_caps import CapsError, ask_caps
from frame_cache_tools.gpu_findings import Findings, Skip, StepContext
from frame_cache_tools.gpu_smi import SmiError, parse_report, read_report, wanted_facts

from frame_store.errors import CudaError
from frame_store.shared import CUDA_LIBRARY, NVDEC_LIBRARY, check_cuda_usable_here, load_library

_VARIABLES: Final = (
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_VISIBLE_DEVICES",
    "CUDA_VISIBLE_DEVICES",
    "LD_LIBRARY_PATH",
)


def run(context: StepContext, findings: Findings) -> None:
    """Write down machine, driver, libraries and codecs. Asserts nothing."""
    with findings.part("nvidia-smi -q"):
        try:
            facts = wanted_facts(parse_report(read_report()))
        except SmiError as error:
            raise Skip(str(error)) from error
        for name, value in facts.items():
            findings.measured(f"nvidia-smi: {name}", value)
    with findings.part("machine"):
        machine = read_machine(context.work)
        findings.measured("GPU", machine.gpu)
        findings.measured(
            "CPU", f"{machine.cpu}, {machine.cpus_usable} of {machine.cpus_online} logical CPUs usable"
        )
        findings.measured("memory", round(machine.memory_bytes / 2**30, 1), "GiB")
        findings.measured("disk", f"{machine.disk}, {machine.disk_free_bytes / 2**30:.0f} GiB free")
        findings.measured("system", machine.system)
    with findings.part("versions"):
        versions = read_versions()
        findings.measured("versions", versions_text(versions).removeprefix("with").strip())
    with findings.part("decoders of JPEG on the GPU"):
        findings.measured(
            "torchcodec, torchvision", [_version(name) for name in ("torchcodec", "torchvision")]
        )
    for name in _VARIABLES:
        findings.measured(name, os.environ.get(name, "not set"))
    for name in (CUDA_LIBRARY, NVDEC_LIBRARY):
        with findings.part(f"where {name} is"):
            findings.measured(f"where {name} is", _place_of(name))
    with findings.part("codecs"):
        _ask_codecs(findings)
    with findings.part("torch.cuda"):
        _ask_torch(context, findings)


def _ask_codecs(findings: Findings) -> None:
    try:
        driver = check_cuda_usable_here()
    except CudaError as error:
        raise Skip(str(error)) from error
    findings.measured("driver", f"{driver.device_name(0)}, driver for CUDA {driver.cuda_version()}")
    library = load_library(NVDEC_LIBRARY)
    if library is None:
        raise Skip(f"{NVDEC_LIBRARY} is not there: the container lacks the driver capability video")
    num_engines = 0
    try:
        for support in ask_caps(library, driver):
            num_engines = max(num_engines, support.num_engines)
            name = f"NVDEC {support.codec} {support.bit_depth} bits {support.chroma}"
            findings.measured(name, support.text())
    except CapsError as error:
        findings.add("cuvidGetDecoderCaps", "error", detail=str(error))
    findings.measured("NVDEC engines", num_engines)


def _ask_torch(context: StepContext, findings: Findings) -> None:
    if context.device == "cpu":
        raise Skip("a rehearsal on the CPU")
    import torch

    if not torch.cuda.is_available():
        raise Skip(f"torch {torch.__version__} (CUDA {torch.version.cuda}) finds no GPU")
    properties = torch.cuda.get_device_properties(0)
    findings.measured(
        "torch.cuda",
        f"{properties.name}, {properties.multi_processor_count} multiprocessors, "
        f"{properties.total_memory / 2**30:.1f} GiB, compute {properties.major}.{properties.minor}, "
        f"CUDA {torch.version.cuda}",
    )


def _place_of(name: str) -> str:
    """File that is loaded for a library's name, as this process's memory map tells."""
    if load_library(name) is None:
        return "not found"
    stem = name.removesuffix(".1")
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "loaded"
    paths = dict.fromkeys(line.split()[-1] for line in lines if line.rpartition("/")[2].startswith(stem))
    return ", ".join(paths) or "loaded"


def _version(package: str) -> str:
    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return f"no {package}"
