"""What `nvidia-smi` reports: facts of the first GPU, and the load of its video engines while a block runs."""

import shutil
import statistics
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from xml.etree import ElementTree

_SECONDS_FOR_AN_ANSWER: Final = 20
_SECONDS_BETWEEN_READINGS: Final = 0.2

FACTS: Final = {
    "driver": "driver_version",
    "CUDA": "cuda_version",
    "product": "gpu/product_name",
    "virtualization": "gpu/gpu_virtualization_mode/virtualization_mode",
    "MIG": "gpu/mig_mode/current_mig",
    "PCIe generation": "gpu/pci/pci_gpu_link_info/pcie_gen/current_link_gen",
    "PCIe generation, most": "gpu/pci/pci_gpu_link_info/pcie_gen/max_link_gen",
    "PCIe width": "gpu/pci/pci_gpu_link_info/link_widths/current_link_width",
    "memory": "gpu/fb_memory_usage/total",
    "video clock, most": "gpu/max_clocks/video_clock",
    "compute mode": "gpu/compute_mode",
    "busy": "gpu/utilization/gpu_util",
}
"""Names of facts, and their places in the report."""

ENGINES: Final = {"decoder": "gpu/utilization/decoder_util", "jpeg": "gpu/utilization/jpeg_util"}


class SmiError(Exception):
    """There is no nvidia-smi, or it fails."""


def read_report(*options: str) -> ElementTree.Element:
    """The report of `nvidia-smi -q -x`.

    Raises:
        SmiError: nvidia-smi is missing or fails.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        raise SmiError("nvidia-smi is not on the PATH")
    try:
        done = subprocess.run(
            [program, "-q", "-x", *options],
            capture_output=True,
            text=True,
            timeout=_SECONDS_FOR_AN_ANSWER,
            check=True,
        )
        return ElementTree.fromstring(done.stdout)
    except (OSError, subprocess.SubprocessError, ElementTree.ParseError) as error:
        raise SmiError(f"nvidia-smi -q -x: {error}") from error


def wanted_facts(report: ElementTree.Element) -> dict[str, str]:
    """`FACTS` of the first GPU, without those that the report lacks.

    >>> wanted_facts(ElementTree.fromstring("<log><driver_version>580.1</driver_version></log>"))
    {'driver': '580.1'}
    """
    return {name: text for name, path in FACTS.items() if (text := report.findtext(path)) is not None}


@contextmanager
def watching(engine: str | None) -> Iterator[dict[str, float]]:
    """Read the load of an engine of `ENGINES`, again and again while the block runs.

    The dict is filled when the block ends: median and largest reading in percent, of the readings above 0. It stays
    empty where `engine` is None or nvidia-smi fails.
    """
    found: dict[str, float] = {}
    if engine is None:
        yield found
        return
    readings: list[float] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.wait(_SECONDS_BETWEEN_READINGS):
            try:
                text = read_report("-d", "UTILIZATION").findtext(ENGINES[engine]) or ""
            except SmiError:
                return
            number = text.partition(" ")[0]  # "97 %", or "N/A"
            if number.isdigit() and int(number):
                readings.append(float(number))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield found
    finally:
        is_over.set()
        reader.join()
    if readings:
        found[f"{engine} busy %"] = statistics.median(readings)
        found[f"{engine} busy %, most"] = max(readings)
