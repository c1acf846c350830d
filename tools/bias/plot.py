"""`cache-bias --plot`: effective batch against frames/s."""

from collections.abc import Sequence
from pathlib import Path

from frame_cache_tools.bias.plan import MeasuredSampler

# The palette of Okabe and Ito, which colour-blind readers can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")


def plot_samplers(measured: Sequence[MeasuredSampler], path: Path) -> None:
    """Write a PNG: a colour for each cache, a marker for each sampler.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message gives the command that installs it.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--plot needs matplotlib: pip install 'frame-cache[plots]'") from error
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.add_subplot()
    caches = list(dict.fromkeys(row.case_name for row in measured))
    samplers = list(dict.fromkeys(row.report.law.name for row in measured))
    for row in measured:
        color = _COLORS[caches.index(row.case_name) % len(_COLORS)]
        axes.errorbar(
            row.frames_per_second,
            row.effective_share * row.report.law.slots_per_batch,
            xerr=[[row.frames_per_second - row.slowest], [row.fastest - row.frames_per_second]],
            marker=_MARKERS[samplers.index(row.report.law.name) % len(_MARKERS)],
            markersize=9,
            markerfacecolor="none",  # so that equal samplers are all visible
            markeredgewidth=1.8,
            color=color,
            elinewidth=0.7,
        )
    batch = measured[0].report.law.slots_per_batch
    axes.axhline(batch, color="#666666", linewidth=1, linestyle="--")
    axes.annotate(
        f"{batch} independent frames",
        (0.01, batch),
        xycoords=("axes fraction", "data"),
        xytext=(0, 4),
        textcoords="offset points",
        fontsize=8,
    )
    layouts = {row.case_name: row.layout or "unknown" for row in measured}
    handles = [
        Line2D(
            [], [], linewidth=6, color=_COLORS[number % len(_COLORS)], label=f"{name}, layout {layouts[name]}"
        )
        for number, name in enumerate(caches)
    ]
    handles += [
        Line2D(
            [],
            [],
            linestyle="none",
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=8,
            markerfacecolor="none",
            color="#333333",
            label=name.removeprefix("sampling="),
        )
        for number, name in enumerate(samplers)
    ]
    figure.legend(handles=handles, loc="outside right upper", fontsize=8, frameon=False)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(1, 1.3 * batch)
    axes.set_xlim(left=0)
    axes.set_xlabel("frames/s on this machine, FrameLoader (median, and spread of the rounds)")
    axes.set_ylabel("effective global batch: independent frames per step")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130)
