"""What `nvidia-smi` tells: facts of its long report, and how busy the video engines are while something runs."""

import shutil
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

_SECONDS_FOR_REPORT: Final = 20
_SECONDS_TO_END: Final = 3

WANTED: Final = (
    "Driver Version",
    "CUDA Version",
    "Product Name",
    "Virtualization Mode",
    "MIG Mode/Current",
    "Utilization/GPU",
    "Utilization/Decoder",
    "Utilization/JPEG",
    "GPU Link Info/PCIe Generation/Current",
    "GPU Link Info/PCIe Generation/Max",
    "GPU Link Info/Link Width/Current",
    "FB Memory Usage/Total",
    "Max Clocks/Video",
    "Compute Mode",
)
"""Ends of paths in the report. (Older drivers capitalise `Gpu`; case does not count.)"""


class SmiError(Exception):
    """There is no nvidia-smi, or it does not answer."""


@dataclass(frozen=True, kw_only=True)
class Busy:
    """Median and largest of some readings, percent; None of none."""

    median: float
    largest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Busy | None":
        """Of readings.

        >>> Busy.of([0.0, 70.0, 80.0])
        Busy(median=70.0, largest=80.0)
        """
        return cls(median=statistics.median(values), largest=max(values)) if values else None


@dataclass(kw_only=True)
class DmonWatch:
    """Readings of `nvidia-smi dmon`, there once its context has ended."""

    columns: dict[str, list[float]] = field(default_factory=dict)
    """By column (`sm`, `dec`, `jpg`...), percent, one a second."""
    reason: str = ""
    """Why there are none."""

    def busy(self, column: str) -> Busy | None:
        """Without the idle seconds around what was watched."""
        return Busy.of([value for value in self.columns.get(column, []) if value > 0])


def read_report() -> str:
    """The output of `nvidia-smi -q`.

    Raises:
        SmiError: see there.
    """
    program = shutil.which("nvidia-smi")
    if program is None:
        raise SmiError("nvidia-smi is not on the PATH")
    try:
        done = subprocess.run(
            [program, "-q"], capture_output=True, text=True, timeout=_SECONDS_FOR_REPORT, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SmiError(f"nvidia-smi -q: {error}") from error
    return done.stdout


def parse_report(text: str) -> dict[str, str]:
    r"""Paths (`GPU 0.../Utilization/Decoder`) and values of the report of `nvidia-smi -q`, in order.

    >>> parse_report("Driver Version : 580.1\nGPU 00:1B\n    Utilization\n        Decoder : 0 %\n")
    {'Driver Version': '580.1', 'GPU 00:1B/Utilization/Decoder': '0 %'}
    """
    values: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("="):
            continue
        indent = len(line) - len(line.lstrip())
        while parents and parents[-1][0] >= indent:
            parents.pop()
        # A value follows " : "; the colons of bus numbers have no spaces around them.
        name, separator, value = line.strip().partition(" : ")
        if separator:
            values["/".join([*(parent for _, parent in parents), name.strip()])] = value.strip()
        else:
            parents.append((indent, line.strip()))
    return values


def wanted_facts(values: Mapping[str, str]) -> dict[str, str]:
    """Of a parsed report, what `WANTED` names; the first GPU's where there are several.

    >>> wanted_facts({"GPU 0/Utilization/Gpu": "3 %", "GPU 1/Utilization/Gpu": "5 %"})
    {'Utilization/GPU': '3 %'}
    """
    facts: dict[str, str] = {}
    for wanted in WANTED:
        for path, value in values.items():
            if f"/{path}".lower().endswith(f"/{wanted}".lower()):
                facts[wanted] = value
                break
    return facts


def parse_dmon(text: str) -> dict[str, list[float]]:
    r"""Columns of what `nvidia-smi dmon -s u` printed; `-` (not known) is left out.

    >>> parse_dmon("# gpu     sm    dec    jpg\n# Idx      %      %      %\n    0     12     97      -\n")
    {'gpu': [0.0], 'sm': [12.0], 'dec': [97.0], 'jpg': []}
    """
    names: list[str] = []
    columns: dict[str, list[float]] = {}
    for line in text.splitlines():
        words = line.lstrip("#").split()
        if line.startswith("#"):
            if words and words[0].lower() == "gpu":
                names = words
                columns = {name: columns.get(name, []) for name in names}
            continue
        if len(words) != len(names):
            continue
        for name, word in zip(names, words, strict=True):
            try:
                columns[name].append(float(word))
            except ValueError:
                continue
    return columns


@contextmanager
def watching(num_readings: int) -> Iterator[DmonWatch]:
    """Let `nvidia-smi dmon` read the first GPU so many times, once a second, while the block runs and behind it.

    It is let end by itself: what it has not written out yet would be lost with it.
    """
    watch = DmonWatch()
    program = shutil.which("nvidia-smi")
    if program is None:
        watch.reason = "nvidia-smi is not on the PATH"
        yield watch
        return
    process = subprocess.Popen(
        [program, "dmon", "-i", "0", "-s", "u", "-d", "1", "-c", str(num_readings)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield watch
    finally:
        try:
            text, _ = process.communicate(timeout=num_readings + _SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
            text, _ = process.communicate()
        watch.columns = parse_dmon(text)
        if not any(watch.columns.values()):
            watch.reason = f"nvidia-smi dmon said: {' '.join(text.split())[:200] or 'nothing'}"
