"""`cache-bench --plot`: usual loader, live and cached on one axis, with the limits of the hardware."""

from pathlib import Path
from typing import Any

from frame_cache_tools.bench.report.report import BenchReport, BenchRow

# Okabe and Ito's palette, which colour-blind people can distinguish.
_COLORS = {
    "usual loader": "#D55E00",
    "LeRobot": "#D55E00",
    "live": "#E69F00",
    "object store": "#CC79A7",
    "other loaders": "#999999",
    "cached": "#0072B2",
    "GPU": "#009E73",
}
_AUGMENTED = "#56B4E9"
_LIMIT = "#333333"


def plot_report(report: BenchReport, path: Path) -> None:
    """Write a PNG: a bar for each way to get frames, its spread, and a tick at the limit of the same run.

    Caches are shown by `permutation`, which is strictly uniform; the other modes are in the table.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message has the command that installs it.
        ValueError: nothing was measured.
    """
    Figure, Line2D, Patch = _matplotlib()  # noqa: N806 - classes
    order = list(_COLORS)
    rows = sorted(filter(_is_shown, report.rows), key=lambda row: order.index(row.case.group))
    if not rows:
        raise ValueError("--plot: nothing was measured that could be shown")
    limits = {
        row.case.name: row.images_per_second.median
        for row in report.rows
        if row.case.group == "limits" and row.images_per_second is not None
    }
    figure = Figure(figsize=(11, 1.6 + 0.3 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for position, row in enumerate(rows):
        rate = row.images_per_second
        assert rate is not None  # checked by _is_shown
        axes.barh(position, rate.median, height=0.72, color=_color(row))
        axes.plot([rate.smallest, rate.largest], [position, position], color="black", linewidth=1)
        if (limit := limits.get(row.case.limit or "")) is not None:
            axes.plot([limit, limit], [position - 0.42, position + 0.42], color=_LIMIT, linewidth=2)
        ratio = "" if row.ratio_to_usual is None else f"   x {row.ratio_to_usual.median:.3g}"
        axes.annotate(
            f"{rate.median:.3g}{ratio}" if rate.median < 1000 else f"{rate.median:,.0f}{ratio}",
            (max(rate.largest, limits.get(row.case.limit or "", 0.0)), position),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(range(len(rows)), [row.case.name for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    largest = [row.images_per_second.largest for row in rows if row.images_per_second is not None]
    axes.set_xlim(right=8 * max(*largest, *limits.values(), 1.0))  # room for the figures
    axes.set_xlabel("images/s, batches of " + str(report.batch_size))
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    machine = report.machine
    against = "" if report.usual_row is None else f"; x: times '{report.usual_row}'"
    axes.set_title(
        f"{machine.cpu}, {machine.cpus_usable} CPUs, {machine.memory_bytes / 2**30:.0f} GiB, GPU {machine.gpu}\n"
        f"medians of up to {report.num_rounds} interleaved rounds{against}",
        fontsize=9,
        loc="left",
    )
    shown = {row.case.group for row in rows}
    handles = [Patch(color=color, label=group) for group, color in _COLORS.items() if group in shown]
    handles.append(Patch(color=_AUGMENTED, label="cached, augmented as the usual loader does"))
    handles.append(Line2D([], [], color=_LIMIT, linewidth=2, label="limit in the same run"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    figure.savefig(path, dpi=130)


def require_matplotlib() -> None:
    """Check for matplotlib before an hour of measuring, not after it.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message has the command that installs it.
    """
    _matplotlib()


def _matplotlib() -> tuple[Any, Any, Any]:
    try:
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--plot needs matplotlib: pip install 'frame-cache[plots]'") from error
    return Figure, Line2D, Patch


def _is_shown(row: BenchRow) -> bool:
    case = row.case
    if row.images_per_second is None or case.group == "limits":
        return False
    return case.group != "cached" or case.sampling == "sampling=permutation"


def _color(row: BenchRow) -> str:
    if row.case.group == "cached" and row.case.augmented:
        return _AUGMENTED
    return _COLORS[row.case.group]
