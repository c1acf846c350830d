"""`cache-bias --plot`: frames/s of each sampler against what its batches are worth over many steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frame_cache_tools.bias.plan import MeasuredSampler, pick_sampler
from frame_cache_tools.bias.text import effective_text, long_run_title

from loader import SamplingError
from loader.bias import Target

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The palette of Okabe and Ito, which colour-blind readers can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_GREY = "#666666"
_MOST_WORTH = 1e9
"""A batch that is worth more is drawn here: every batch has the same mean."""


def plot_samplers(
    measured: Sequence[MeasuredSampler],
    path: Path,
    *,
    demand: float | None = None,
    target: Target | None = None,
) -> None:
    """Write a PNG: a point for each sampler, with its name beside it, and a colour for each cache.

    With `demand` the speeds that do not meet it are shaded, and the sampler that `pick_sampler` takes is marked.

    Raises:
        ModuleNotFoundError: matplotlib is not installed; the message gives the command that installs it.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("--plot needs matplotlib: pip install 'frame-cache[plots]'") from error
    caches = list(dict.fromkeys(row.case_name for row in measured))
    colors = {name: _COLORS[number % len(_COLORS)] for number, name in enumerate(caches)}
    figure = Figure(figsize=(11, max(5.0, 1.8 + 0.21 * len(measured))))
    axes = figure.add_axes((0.085, 0.11, 0.6, 0.76))
    pick = _pick(measured, demand, target)
    for row in measured:
        _draw_point(axes, row, colors[row.case_name], is_pick=row is pick)
    _set_axes(axes, measured, demand)
    if demand is not None:
        axes.axvspan(0, demand, color="#000000", alpha=0.07, linewidth=0, zorder=0)
        axes.axvline(demand, color=_GREY, linewidth=1.2, zorder=1)
        is_left = demand < 0.5 * axes.get_xlim()[1]
        axes.annotate(
            f"demand: {demand:,.0f} frames/s (shaded: too slow)",
            (demand, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(-3 if is_left else 3, 3),
            textcoords="offset points",
            ha="left" if is_left else "right",  # so that no part of it lies outside of the axes
            fontsize=8,
            color="#333333",
        )
    batch = measured[0].report.law.slots_per_batch
    axes.axhline(batch, color=_GREY, linewidth=1, linestyle=":", zorder=1)
    axes.annotate(
        f"batch size, {batch}",
        (0.04, batch),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        fontsize=8,
        color=_GREY,
    )
    _write_labels(axes, measured, colors, pick)
    for number, name in enumerate(caches):
        layout = next(row.layout for row in measured if row.case_name == name)
        figure.text(
            0.085,
            0.975 - 0.035 * number * 5 / figure.get_figheight(),
            f"\u25cf {name}" + ("" if layout is None else f", layout {layout}"),
            color=colors[name],
            fontsize=9,
            va="top",
        )
    figure.savefig(path, dpi=130)


def _pick(
    measured: Sequence[MeasuredSampler], demand: float | None, target: Target | None
) -> MeasuredSampler | None:
    if demand is None:
        return None
    try:
        return pick_sampler(measured, demand=demand, target=target)[0]
    except SamplingError:
        return None


def _draw_point(axes: "Axes", row: MeasuredSampler, color: str, *, is_pick: bool) -> None:
    """A full point for a sampler without bias, a hollow one for others, with the intervals of both numbers."""
    worth = min(row.worth, _MOST_WORTH)
    axes.errorbar(
        row.frames_per_second,
        worth,
        xerr=[[row.frames_per_second - row.slowest], [row.fastest - row.frames_per_second]],
        yerr=[
            [max(0.0, worth - row.worth_at_least)],
            [max(0.0, min(row.worth_at_most, _MOST_WORTH) - worth)],
        ],
        marker="o",
        markersize=6,
        markerfacecolor=color if _is_unbiased(row) else "white",
        markeredgewidth=1.4,
        color=color,
        elinewidth=1.2,
        capsize=2,
        zorder=3,
    )
    if is_pick:
        axes.plot(
            row.frames_per_second,
            worth,
            marker="o",
            markersize=15,
            markerfacecolor="none",
            markeredgecolor="#000000",
            markeredgewidth=1.6,
            linestyle="none",
            zorder=4,
        )


def _is_unbiased(row: MeasuredSampler) -> bool:
    law = row.report.law
    return law.is_uniform_over(law.target)


def _set_axes(axes: "Axes", measured: Sequence[MeasuredSampler], demand: float | None) -> None:
    runs = [row.report.long_run for row in measured if row.report.long_run is not None]
    axes.set_yscale("log", base=10)
    axes.yaxis.set_major_formatter("{x:,g}")
    values = [min(row.worth, _MOST_WORTH) for row in measured] + [measured[0].report.law.slots_per_batch]
    axes.set_ylim(0.5 * min(values), 1.8 * max(values))
    fastest = max(row.fastest for row in measured)
    axes.set_xlim(0, 1.05 * max(fastest, 0 if demand is None else demand))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("frames/s on this machine (median, and spread of the rounds)")
    title = long_run_title(runs[0].horizon) if runs else "B_eff"
    axes.set_ylabel(f"{title}: independent frames that a batch is worth", fontsize=9)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _write_labels(
    axes: "Axes", measured: Sequence[MeasuredSampler], colors: dict[str, str], pick: MeasuredSampler | None
) -> None:
    """The names to the right of the axes, from the most to the least worth, each with a line to its point."""
    order = sorted(measured, key=lambda row: min(row.worth, _MOST_WORTH), reverse=True)
    to_axes = axes.transAxes.inverted()
    heights = [
        float(to_axes.transform(axes.transData.transform((0, min(row.worth, _MOST_WORTH))))[1])
        for row in order
    ]
    places = spread_out(heights, gap=1 / max(20, len(order)))
    for row, place in zip(order, places, strict=True):
        text = f"{row.name}: {effective_text(row.worth)}"
        if not _is_unbiased(row):
            text += ", biased"
        if not row.is_long_run_known:
            text += ", of one batch"
        style: dict[str, Any] = {"fontweight": "bold"} if row is pick else {}
        axes.annotate(
            f"{text}  \u2190 pick" if row is pick else text,
            xy=(row.frames_per_second, min(row.worth, _MOST_WORTH)),
            xytext=(1.04, place),
            textcoords="axes fraction",
            color=colors[row.case_name],
            fontsize=8.5,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colors[row.case_name],
                "alpha": 0.35,
                "linewidth": 0.8,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
            **style,
        )


def spread_out(heights: Sequence[float], *, gap: float) -> list[float]:
    """Falling `heights` in [0, 1], moved as little as need be for each to lie `gap` or more below the one before.

    >>> [round(height, 2) for height in spread_out([0.9, 0.9, 0.5, 0.01, 0.0], gap=0.1)]
    [0.95, 0.85, 0.5, 0.1, 0.0]
    """
    # Groups of labels that touch: their mean height, and their number.
    groups: list[tuple[float, int]] = []
    for height in heights:
        group = (height, 1)
        while groups and _bottom(groups[-1], gap) < _top(group, gap) + gap:
            mean, number = groups.pop()
            total = number + group[1]
            group = ((mean * number + group[0] * group[1]) / total, total)
            group = (min(max(group[0], (total - 1) * gap / 2), 1 - (total - 1) * gap / 2), total)
        groups.append(group)
    return [_top(group, gap) - place * gap for group in groups for place in range(group[1])]


def _top(group: tuple[float, int], gap: float) -> float:
    return group[0] + (group[1] - 1) * gap / 2


def _bottom(group: tuple[float, int], gap: float) -> float:
    return group[0] - (group[1] - 1) * gap / 2
