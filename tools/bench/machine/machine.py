"""The machine and the versions of a benchmark, as far as its report names them."""

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from frame_cache_tools.bench.machine.nvidia_smi import FACTS, SmiError, read_report

from frame_store import __version__
from frame_store.shared import num_usable_cpus

_PACKAGES = (
    "torch",
    "torchvision",
    "torchcodec",
    "numpy",
    "numba",
    "llvmlite",
    "av",
    "simplejpeg",
    "pillow",
    "webdataset",
    "zarr",
    "numcodecs",
    "zstandard",
)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machine of a benchmark."""

    cpu: str
    cpus_usable: int
    """CPUs that this process may use, by its affinity and its control group."""
    cpus_online: int
    memory_bytes: int
    gpu: str
    """Names of the GPUs, or `none`."""
    disk: str
    """File system and device of the folder that holds the caches."""
    disk_free_bytes: int
    system: str

    def text(self) -> str:
        """One line a part, for a terminal."""
        return "\n".join(
            (
                f"CPU   {self.cpu}, {self.cpus_usable} of {self.cpus_online} logical CPUs usable",
                f"RAM   {self.memory_bytes / 2**30:.1f} GiB",
                f"GPU   {self.gpu}",
                f"disk  {self.disk}, {self.disk_free_bytes / 2**30:.1f} GiB free",
                f"OS    {self.system}",
            )
        )


def read_machine(folder: Path) -> Machine:
    """Read the facts of this machine; `folder` is where the caches lie."""
    return Machine(
        cpu=_cpu_name(Path("/proc/cpuinfo")),
        cpus_usable=num_usable_cpus(),
        cpus_online=os.cpu_count() or 1,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpu=_gpu_names(),
        disk=_disk_of(folder, Path("/proc/self/mountinfo")),
        disk_free_bytes=shutil.disk_usage(folder).free,
        system=platform.platform(),
    )


def read_versions() -> dict[str, str]:
    """Versions of Python, FFmpeg's decoders and the packages that do the work; packages not installed are left out."""
    from av import library_versions

    versions = {"python": platform.python_version(), "frame-cache": __version__}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    versions["libavcodec"] = ".".join(map(str, library_versions["libavcodec"]))
    return versions


def versions_text(versions: Mapping[str, str]) -> str:
    """One line, for a terminal.

    >>> versions_text({"python": "3.11.2", "torch": "2.9.1"})
    'with  python 3.11.2, torch 2.9.1'
    """
    return "with  " + ", ".join(f"{name} {version}" for name, version in versions.items())


def _cpu_name(cpuinfo: Path) -> str:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model", "Hardware"} and value.strip():
            return " ".join(value.split())
    return platform.processor() or platform.machine()


def _gpu_names() -> str:
    """By torch, whose answer is what a training would get; else by the driver's own tool."""
    import torch

    if torch.cuda.is_available():
        return ", ".join(
            f"{torch.cuda.get_device_name(number)} (CUDA {torch.version.cuda})"
            for number in range(torch.cuda.device_count())
        )
    try:
        report = read_report()
    except SmiError:
        return "none"
    driver = report.findtext(FACTS["driver"], "unknown")
    names = [f"{gpu.findtext('product_name', 'unknown')}, {driver}" for gpu in report.iter("gpu")]
    return f"{'; '.join(names)} (torch sees none of them)" if names else "none"


def _disk_of(folder: Path, mountinfo: Path) -> str:
    """File system type and device of the mount that holds `folder` (proc(5), mountinfo: fields past the dash)."""
    try:
        device = folder.stat().st_dev
        lines = mountinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        mount, _, source = line.partition(" - ")
        if mount.split()[2] == wanted:
            file_system, name = source.split()[:2]
            return f"{file_system} on {name}"
    return "unknown"
