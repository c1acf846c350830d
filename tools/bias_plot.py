"""`cache-bias --plot`: what a batch is worth against how fast it comes."""

from collections.abc import Sequence
from pathlib import Path

from frame_cache_tools.bias_plan import MeasuredSampler

# Okabe and Ito's palette: told apart by colour-blind eyes, and in grey by the markers.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")


def plot_samplers(measured: Sequence[MeasuredSampler], path: Path) -> None:
    """Write a PNG: one colour and marker a cache, one labelled point a sampler.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; says how to get it.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--plot needs matplotlib: pip install 'frame-cache[plots]'") from error
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    names = list(dict.fromkeys(row.subject_name for row in measured))
    for number, name in enumerate(names):
        rows = [row for row in measured if row.subject_name == name]
        axes.errorbar(
            [row.frames_per_second for row in rows],
            [row.worth * row.report.law.slots_per_batch for row in rows],
            xerr=[
                [row.frames_per_second - row.slowest for row in rows],
                [row.fastest - row.frames_per_second for row in rows],
            ],
            linestyle="none",
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=8,
            color=_COLORS[number % len(_COLORS)],
            elinewidth=1,
            label=f"{name} (layout {rows[0].layout or 'unknown'})",
        )
        # Points of one height would write over each other: their labels go to a column of their own height.
        for place, row in enumerate(sorted(rows, key=lambda row: -row.worth)):
            axes.annotate(
                row.report.law.name.removeprefix("sampling="),
                (row.frames_per_second, row.worth * row.report.law.slots_per_batch),
                xytext=(8, -4 - 11 * (place % 4)),
                textcoords="offset points",
                fontsize=7,
                color=_COLORS[number % len(_COLORS)],
            )
    batch = measured[0].report.law.slots_per_batch
    axes.axhline(batch, color="#666666", linewidth=1, linestyle="--")
    axes.annotate(
        f"independent frames ({batch})",
        (0.01, batch),
        xycoords=("axes fraction", "data"),
        va="bottom",
        fontsize=8,
    )
    axes.set_yscale("log", base=2)
    axes.set_xlim(left=0)
    axes.set_xlabel("frames/s on this machine, FrameLoader")
    axes.set_ylabel("effective batch: independent frames a batch is worth")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize=8)
    figure.savefig(path, dpi=130)
