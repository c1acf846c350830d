"""The pictures of docs/SAMPLING_GUIDE.md."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator
from PIL import Image

from study.claims import REFERENCE, half_interval, is_biased

# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = {
    "i.i.d.": "#000000",
    "permutation": "#0072B2",
    "stratified, time": "#009E73",
    "stratified, content": "#56B4E9",
    "shards, 8 a visit": "#E69F00",
    "block of 4 shards": "#D55E00",
    "naive, by video": "#CC79A7",
    "sequential": "#7F7F7F",
}
GRAY = "#5F5F5F"
_DPI = 120


def draw_figures(results: dict[str, Any], folder: Path) -> None:
    """Six PNG files."""
    with plt.rc_context(
        {
            "font.size": 11,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 12,
            "axes.titlelocation": "left",
            "figure.constrained_layout.use": True,
        }
    ):
        for name, draw in FIGURES.items():
            figure = draw(results)
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=_DPI)
            plt.close(figure)
            with Image.open(path) as picture:  # 256 colours make a smaller file
                picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _of_batches(results: dict[str, Any]) -> plt.Figure:
    shown = results["shown"]
    names = [name for name in shown["batches"] if name != "stratified, content"]
    figure, axes = plt.subplots(figsize=(8, 3.8))
    for row, name in enumerate(reversed(names)):
        places = shown["batches"][name]
        axes.vlines(places, row - 0.32, row + 0.32, color=COLOURS[name], linewidth=1.6)
    for end in shown["ends"][:-1]:
        axes.axvline(end, color="#DDDDDD", linewidth=1, zorder=0)
    axes.set_yticks(range(len(names)), list(reversed(names)))
    axes.tick_params(left=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(-5, shown["ends"][-1] + 5)
    axes.set_xlabel("frames of all clips, clip after clip (gray lines: where a clip ends)")
    axes.set_title(f"Which frames a batch of {len(shown['batches'][names[0]])} holds")
    return figure


def _of_worth(results: dict[str, Any]) -> plt.Figure:
    rows, size = results["noise"]["thumbnails"], results["batch_size"]
    figure, axes = plt.subplots(figsize=(8, 3.8))
    names = sorted(rows, key=lambda name: -rows[name]["design_effect"])
    for row, name in enumerate(names):
        worth = size / rows[name]["design_effect"]
        axes.barh(row, worth, color=COLOURS[name], height=0.62)
        if rows[name]["predicted"] is not None:
            axes.plot(
                size / rows[name]["predicted"],
                row,
                marker="D",
                color="white",
                markeredgecolor="black",
                markersize=7,
            )
        bias = f", bias {rows[name]['bias']:.2f} sigma" if is_biased(rows[name]) else ""
        axes.annotate(
            f"{worth:,.0f}{bias}" if worth >= 10 else f"{worth:.1f}{bias}",
            (max(worth, size / (rows[name]["predicted"] or rows[name]["design_effect"])), row),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
        )
    axes.axvline(size, color=GRAY, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlim(right=axes.get_xlim()[1] * 3)
    _plain_numbers(axes, "x")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", left=False)
    axes.set_xlabel("independent frames (dotted line: the batch size; diamond: predicted)")
    axes.set_title(f"What a batch of {size} frames is worth, by its pictures")
    return figure


def _of_gradients(results: dict[str, Any]) -> plt.Figure:
    figure, panels = plt.subplots(1, len(results["tasks"]), figsize=(8, 3.8), sharey=True)
    for axes, (task, stages) in zip(panels, results["tasks"].items(), strict=True):
        ends = []
        for name in ("i.i.d.", "permutation", "stratified, content", "stratified, time"):
            if name not in results["noise"][stages[0]]:
                continue
            rows = [results["noise"][stage][name] for stage in stages]
            effects = [row["design_effect"] for row in rows]
            axes.errorbar(
                range(len(stages)),
                effects,
                yerr=[1.96 * row["standard_error"] for row in rows],
                color=COLOURS[name],
                marker="o",
                linewidth=2,
            )
            ends.append((effects[-1], f"{effects[-1]:.2f}", COLOURS[name]))
        axes.set_xticks(range(len(stages)), [stage.partition(", step ")[2] for stage in stages])
        axes.set_xlim(-0.3, len(stages) - 0.55)
        axes.set_xlabel("steps of training")
        axes.set_title(f"Task: {task}")
        axes.set_ylim(0, 1.2)
        _labels_apart(axes, len(stages) - 0.9, ends)
    panels[0].set_ylabel("noise of a batch's gradient (i.i.d. = 1)")
    handles = [
        plt.Line2D([], [], color=COLOURS[name], marker="o", label=name)
        for name in ("i.i.d.", "permutation", "stratified, content", "stratified, time")
        if name in results["samplers"]
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=10)
    return figure


def _of_short_videos(results: dict[str, Any]) -> plt.Figure:
    short = results["short_videos"]
    figure, axes = plt.subplots(figsize=(6.4, 3.2))
    names = [name for name in ("by time", "by content") if name in short]
    for number, name in enumerate(names):
        for group, row in enumerate(short[name]):
            place = group + 0.36 * (number - 0.5)
            colour = COLOURS["stratified, " + name.removeprefix("by ")]
            axes.bar(place, row["design_effect"], width=0.34, color=colour)
            if row["predicted"] is not None:
                axes.plot(
                    place, row["predicted"], marker="D", color="white", markeredgecolor="black", markersize=6
                )
            top = max(row["design_effect"], row["predicted"] or 0.0)
            axes.annotate(
                f"{name.removeprefix('by ')}: {row['design_effect']:.2f}",
                (place, top),
                xytext=(0, 8),
                textcoords="offset points",
                ha="center",
            )
    axes.axhline(1, color=GRAY, linewidth=1, linestyle=":")
    axes.set_ylim(0, 1.2)
    axes.set_xticks(range(len(short["batch_sizes"])), [f"batches of {size}" for size in short["batch_sizes"]])
    axes.tick_params(bottom=False)
    axes.set_ylabel("noise (i.i.d. = 1; diamond: predicted)")
    axes.set_title(f"{short['num_pieces']} videos of {short['piece_frames']} frames in random order")
    return figure


def _of_long_run(results: dict[str, Any]) -> plt.Figure:
    found = results["mean_picture"]
    figure, axes = plt.subplots(figsize=(8, 4.2))
    sizes = np.array(found["step_sizes"])
    ends = []
    for name, rows in found["samplers"].items():
        if name == "naive, by video":  # as noisy as i.i.d.; its bias is in the other pictures
            continue
        if all(row["predicted"] is not None for row in rows):
            axes.plot(sizes, [row["predicted"] for row in rows], color=COLOURS[name], linewidth=1.6)
        axes.plot(sizes, [row["effect"] for row in rows], "o", color=COLOURS[name], markersize=6)
        ends.append((rows[-1]["predicted"] or rows[-1]["effect"], name, COLOURS[name]))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.invert_xaxis()
    _plain_numbers(axes, "x")
    _plain_numbers(axes, "y")
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(sizes.max() * 1.15, sizes.min() / 3.2)
    _labels_apart(axes, sizes.min() * 0.93, ends)
    axes.set_xlabel("step size (to the right: smaller steps, which average over more batches)")
    axes.set_ylabel("noise in the long run\n(i.i.d. = 1)")
    axes.set_title("Noise over many steps: lines predicted, dots measured in SGD")
    return figure


def _labels_apart(axes: Axes, x: float, ends: list[tuple[float, str, str]]) -> None:
    """Texts beside the ends of their lines, (value, text, colour), moved so far that none lies on another."""
    is_log = axes.get_yscale() == "log"
    low, high = np.log(axes.get_ylim()) if is_log else axes.get_ylim()
    last = -np.inf
    for value, text, colour in sorted(ends):
        place = max(float(np.log(value)) if is_log else value, last + (high - low) / 16)
        axes.text(x, np.exp(place) if is_log else place, text, color=colour, va="center")
        last = place


def _of_training(results: dict[str, Any]) -> plt.Figure:
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=[1, 1.15])
    _draw_curves(panels[0], results["training"]["from random weights"])
    _draw_excess(panels[1], results["training"]["from trained weights"])
    return figure


def _draw_curves(axes: Axes, run: dict[str, Any]) -> None:
    middle = len(run["step_sizes"]) // 2
    ends = []
    for name in (REFERENCE, "permutation", "stratified, time", "block of 4 shards", "sequential"):
        losses = np.array(run["curves"][name])[1:, middle]
        mean = losses.mean(axis=1)
        half = np.array([half_interval(row) for row in losses])
        axes.plot(run["steps"][1:], mean, color=COLOURS[name], linewidth=2)
        axes.fill_between(
            run["steps"][1:], mean - half, mean + half, color=COLOURS[name], alpha=0.13, linewidth=0
        )
        ends.append((float(mean[-1]), name, COLOURS[name]))
    axes.set_yscale("log")
    _plain_numbers(axes, "y")
    axes.set_xlim(0, run["steps"][-1] * 1.5)
    axes.set_xticks(np.linspace(0, run["steps"][-1], 5).round().astype(int))
    _labels_apart(axes, run["steps"][-1] * 1.02, ends)
    axes.set_xlabel("steps")
    axes.set_ylabel("loss on the frames that are learned from")
    axes.set_title(f"From random weights, step size {run['step_sizes'][middle]:g}")


def _draw_excess(axes: Axes, run: dict[str, Any]) -> None:
    first = 0
    names = list(run["last"]["train"])
    excess = {
        name: np.array(run["last"]["train"][name][first]) - run["whole"]["train"][first] for name in names
    }
    names.sort(key=lambda name: -excess[name].mean())
    for row, name in enumerate(names):
        mean, half = excess[name].mean(), half_interval(excess[name])
        axes.errorbar(
            mean, row, xerr=half, color=COLOURS[name], marker="o", markersize=7, linewidth=2, capsize=3
        )
        axes.annotate(
            f"{mean:.4f}", (mean + half, row), xytext=(7, 0), textcoords="offset points", va="center"
        )
    smallest = min(float(values.mean()) for values in excess.values())
    if smallest > 0:
        axes.set_xscale("log")
        axes.set_xlim(right=axes.get_xlim()[1] * 3)
        _plain_numbers(axes, "x")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", left=False)
    axes.set_xlabel("loss above that of steps without noise")
    axes.set_title(f"From trained weights, step size {run['step_sizes'][first]:g}")


def _plain_numbers(axes: Axes, which: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _place: f"{value:,.10g}"))
    axis.set_minor_formatter(FuncFormatter(lambda _value, _place: ""))


FIGURES = {
    "batches": _of_batches,
    "worth": _of_worth,
    "gradients": _of_gradients,
    "short_videos": _of_short_videos,
    "long_run": _of_long_run,
    "training": _of_training,
}
"""By the name of the file."""
