"""The table of `cache-bias` for a terminal: numbers, marks for those that are not exact, and what they mean."""

import textwrap
from collections.abc import Sequence

import numpy as np
from frame_cache_tools.bias.table import BiasTable, ShortVideo

from frame_store.shared import counted, counted_in_groups
from loader import SamplingSpec
from loader.bias import BiasReport, RhoEstimate, SamplingLaw
from loader.bias.webdataset import WebDatasetSpec

WIDTH = 118
"""Columns of the terminal that notes and legend fill."""
BOUND_MARKS = {(False, False): "", (True, False): ">= ", (True, True): "~>= "}
"""By whether a number is a bound, and whether the bound is approximate."""
_MARKS = {"approximate": "~", "bound": "<= "}
MAX_NAMES_IN_TEXT = 3
"""Number of short videos that the table names; `--json` names all."""


def table_text(
    table: BiasTable,
    rows: Sequence[tuple[SamplingSpec | WebDatasetSpec, BiasReport]],
    levels: Sequence[RhoEstimate],
) -> str:
    """The table for a terminal. `legend_text` explains its columns and marks."""
    case = table.case
    sizes = case.shard_sizes[case.shard_sizes > 0]
    has_windows = any(report.law.chi2_over_windows is not None for _, report in rows)
    unit = "window" if has_windows else "frame"
    of_sizes = f"{sizes.min()}" if sizes.min() == sizes.max() else f"{sizes.min()} to {sizes.max()}"
    lines = [
        f"{case.name}: {counted(case.num_frames, 'frame')} in {counted(len(sizes), 'shard')} of {of_sizes}, "
        f"layout {case.layout or 'unknown'}",
        f"global batch: {counted(table.world_size, 'rank')} x {table.batch_size} = "
        f"{counted(table.world_size * table.batch_size, unit)}, whose mean gradient makes one step",
    ]
    if levels:
        shown = ", ".join(f"{estimate.level} {_rho_text(estimate)}" for estimate in levels)
        how = "all frames" if levels[0].basis == "exact" else "a sample, 95% interval"
        lines.append(f"how alike frames of one unit are (rho, 0 to 1), {how}: {shown}")
    if rows[0][1].law.weights is not None:
        lines += wrapped(_target_text(rows[0][1].law), indent=2)
    columns = [_Column("sampler", [short_name(spec, report.law) for spec, report in rows], is_text=True)]
    if has_windows:
        over_windows = [report.law.chi2_over_windows for _, report in rows]
        columns.append(
            _Column("chi2 windows", ["" if chi2 is None else f"{chi2:.3g}" for chi2 in over_windows])
        )
    columns += [
        _Column("chi2 frames" if has_windows else "chi2", [_chi2_text(report.law) for _, report in rows]),
        _Column("bias/sigma", [_bias_text(report) for _, report in rows]),
        _Column("chi2 pairs", [_pairs_text(report.law) for _, report in rows]),
        _Column("design effect", [_effect_text(report) for _, report in rows]),
        _Column("B_eff", [effect_text_of(report) for _, report in rows]),
        _Column(long_run_title(table.horizon), [_long_run_text(report) for _, report in rows]),
    ]
    if table.proxy:
        of_data = sum(column.width for column in columns[-3:]) + 2  # the columns that depend on it
        start = sum(column.width for column in columns[:-3]) + len(columns) - 3
        lines.append(" " * (start + 1) + f" by {table.proxy} ".center(of_data - 1, "-"))
    lines.append(" ".join(column.title_cell for column in columns).rstrip())
    lines += [" ".join(column.cell(row) for column in columns).rstrip() for row in range(len(rows))]
    for spec, report in rows:
        if notes := notes_of(spec, report, table):
            lines += wrapped(f"  {short_name(spec, report.law)}: {'; '.join(notes)}", indent=4)
    return "\n".join(lines)


def short_name(spec: SamplingSpec | WebDatasetSpec, law: SamplingLaw) -> str:
    """The sampler in few words: `shards, 8 a visit`. The name of its law has the options of a loader."""
    if isinstance(spec, WebDatasetSpec):
        workers = f", {spec.num_workers} workers" if spec.num_workers > 1 else ""
        return f"webdataset, buffer of {spec.shuffle_buffer}{workers}"
    words: str = spec.sampling
    if spec.sampling == "shards":
        words += f", {spec.frames_per_visit} a visit"
        words += ", each shard alike" if spec.shard_choice == "uniform" else ""
    if spec.sampling == "block":
        words += f", {counted(spec.shards_per_block or 1, 'shard')}"
    if spec.sampling == "stratified" and spec.strata != "time":
        words += " by content"
    return words if law.num_windows is None else f"{words}, {law.slots_per_window} a window"


def cells_of(report: BiasReport) -> dict[str, str]:
    """The cells of a sampler's row, with their marks, by what they state."""
    return {
        "chi2": _chi2_text(report.law),
        "bias": _bias_text(report),
        "design_effect": _effect_text(report),
        "effective_batch": effect_text_of(report),
        "long_run": _long_run_text(report),
    }


def notes_of(spec: SamplingSpec | WebDatasetSpec, report: BiasReport, table: BiasTable) -> list[str]:
    """What is to be said about a sampler's row."""
    notes = [*_notes(report.law, spec, table.short_videos(spec)), *_notes_on_variance(report)]
    if report.law.rank_batch not in (None, table.batch_size):
        notes.insert(
            0, f"a batch is {report.law.rank_batch}, not {table.batch_size}: an epoch holds no whole step"
        )
    return [report.law.because, *notes] if report.law.chi2 else notes


def wrapped(text: str, *, indent: int) -> list[str]:
    """Lines of at most `WIDTH` columns; those after the first begin with `indent` spaces."""
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def long_run_title(horizon: float) -> str:
    """The title of what a batch is worth where the noise of `horizon` steps adds up."""
    return f"B_eff over {_steps_text(horizon)}"


def _steps_text(horizon: float) -> str:
    return f"{horizon:g} step{'' if f'{horizon:g}' == '1' else 's'}"


class _Column:
    """A column of the table: as wide as its widest cell, texts to the left and numbers to the right."""

    def __init__(self, title: str, cells: Sequence[str], *, is_text: bool = False) -> None:
        self._title, self._cells, self._is_text = title, cells, is_text
        self.width = max(map(len, [title, *cells])) + (0 if is_text else 1)

    @property
    def title_cell(self) -> str:
        return self._aligned(self._title)

    def cell(self, row: int) -> str:
        return self._aligned(self._cells[row])

    def _aligned(self, text: str) -> str:
        return f"{text:{self.width}}" if self._is_text else f"{text:>{self.width}}"


def legend_text(reports: Sequence[BiasReport]) -> str:
    """What the columns say, and the marks that occur in them."""
    laws = [report.law for report in reports]
    runs = [report.long_run for report in reports if report.long_run is not None]
    lines = [
        "chi2: how unequally training shows the frames; at 0 losses that are a mean over frames have no bias",
        "bias/sigma: how far the mean gradient is off, in standard deviations of one frame's; <= bounds it",
        "chi2 pairs: how unequally pairs of frames meet, which is what contrastive and batch-norm losses see",
        "design effect: the variance of a batch's mean over that of as many independent frames; small is good",
        "B_eff: batch size / design effect. So many independent frames have a mean that varies as little as a batch's",
    ]
    if runs:
        horizon = runs[0].horizon
        lines.append(
            f"{long_run_title(horizon)}: the same for the noise of {_steps_text(horizon)} together (--horizon), which "
            f"is what SGD feels: noise that cancels between steps costs nothing, noise that repeats adds up"
        )
    bases = {report.basis for report in reports if report.basis != "sampled" or report.why_not_exact is None}
    meanings = {
        "sampled": "[low, high]: rho of a sample of frames, 95% interval",
        "builds": "[low, high]: 95% of the seeds that a shuffled build can have",
        "assumed": "design effects hold for the rho that --rho assumes",
    }
    lines += [text for basis, text in meanings.items() if basis in bases]
    if any(run.num_orders for run in runs):
        lines.append("[low, high] over many steps: over simulated epochs of the real order, 95% interval")
    if any(_has_floor(report) or report.basis == "bound" for report in reports):
        lines.append(">= in B_eff: a batch is worth that many at least")
    if any(run.is_bound for run in runs):
        lines.append(
            f">= in {long_run_title(runs[0].horizon)}: what one batch is worth, as batches that are spread over the "
            "frames are worth no less together; ~ where that is proven for numbers of frames that are powers of two"
        )
    is_near = any(law.chi2_is_by_slots or _pairs_text(law).startswith("~") for law in laws)
    if "approximate" in bases or is_near:
        lines.append("~ is an approximation, and no limit is judged by it")
    return "\n".join(line for text in lines for line in wrapped(text, indent=2))


def _rho_text(estimate: RhoEstimate) -> str:
    if estimate.low == estimate.high:
        return f"{estimate.rho:.3f}"
    return f"{estimate.rho:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _notes_on_variance(report: BiasReport) -> list[str]:
    notes = []
    if report.basis == "approximate":
        notes.append(f"~ design effect {report.why_not_exact}")
    if report.basis == "bound":
        notes.append(f"design effect {report.why_not_exact} (S26)")
    if report.basis == "sampled" and report.why_not_exact is not None:
        notes.append(
            f"design effect {report.why_not_exact}; [low, high] of B_eff is three standard errors (S65)"
        )
    if (of_pairs := _note_on_pairs(report.law)) is not None:
        notes.append(of_pairs)
    if report.law.chi2 > 0 and report.effective_batch_with_bias is not None:
        notes.append(
            f"bias included, a batch is worth {effective_text(report.effective_batch_with_bias)} frames: "
            "their mean is as far from that of all frames, in mean square"
        )
    return notes


def _note_on_pairs(law: SamplingLaw) -> str | None:
    """Why chi^2 of pairs has the mark ~; None if it has none."""
    if law.chi2_of_pairs is None or law.chi2_of_pairs_is_exact:
        return None
    if not law.kappa_is_exact:
        parts = "orders of its shards" if law.rank_batch is None else "batches of an epoch"
        return f"~ chi2 pairs over a few of the {parts}"
    if law.chi2_of_pairs_is_bound:
        return None
    if law.weights is not None:
        return "~ chi2 pairs of the points that draw frames; that of the frames is at most this (S67)"
    return "~ chi2 pairs estimated from some of the batches of an epoch (S66)"


def _notes(law: SamplingLaw, spec: SamplingSpec | WebDatasetSpec, short: Sequence[ShortVideo]) -> list[str]:
    unit = "frame" if law.num_windows is None else "window"
    notes = [
        f"{counted_in_groups(count, unit)} {what}"
        for count, what in (
            (law.num_positions_dropped, "dropped an epoch"),
            (law.num_positions_doubled, "read again an epoch"),
        )
        if count
    ]
    if law.epoch_variance:
        notes.append(f"the mean of one epoch's steps is off by {np.sqrt(law.epoch_variance):.2g} sigma (S51)")
    if law.num_short_shards:
        notes.append(
            f"visits to {counted_in_groups(law.num_short_shards, 'shard')} of fewer than {law.slots_per_visit} frames "
            f"draw with replacement (S56)"
        )
    if isinstance(spec, SamplingSpec) and spec.frames_with_replacement:
        notes.append("a visit may draw a frame twice")
    if law.chi2_is_by_slots:
        notes.append("chi2 is by slots: a worker's last batch is short, and a step like any other (S50)")
    if law.num_windows is not None:
        is_drawn = isinstance(spec, SamplingSpec) and spec.with_replacement
        among = "drawn with replacement" if is_drawn else "one for each anchor"
        notes.insert(0, f"an epoch is {counted_in_groups(law.num_windows, 'window')}, {among}")
        if short:
            named = ", ".join(f"{video.name} ({video.num_frames})" for video in short[:MAX_NAMES_IN_TEXT])
            more = f" and {len(short) - MAX_NAMES_IN_TEXT:,} more" if len(short) > MAX_NAMES_IN_TEXT else ""
            notes.append(
                f"{law.num_frames_in_short_videos:,} of {law.num_frames:,} frames in "
                f"{counted_in_groups(len(short), 'video')} without a whole window, never shown: {named}{more}"
            )
        if skipped := law.num_frames_never_shown - law.num_frames_in_short_videos:
            notes.append(
                f"{counted_in_groups(skipped, 'frame')} of longer videos in no whole window, never shown"
            )
    elif law.chi2_at_start != law.chi2:
        notes.append(
            f"chi2 of an epoch's first position {law.chi2_at_start:.3g}, of its last {law.chi2_at_end:.3g}"
        )
    return notes


def _target_text(law: SamplingLaw) -> str:
    """What a weighted sampler is compared with."""
    text = (
        f"bias and design effect are against the target, videos by weight ({law.weights}), whose chi2 against uniform "
        f"frames is {law.chi2_of_target:.3g}; "
    )
    if law.num_frames_never_shown:
        return text + f"{counted_in_groups(law.num_frames_never_shown, 'frame has', 'frames have')} weight 0"
    return (
        text
        + f"weighing frames back to uniform ones takes {law.importance_effect:.3g} times the variance (S59)"
    )


def _chi2_text(law: SamplingLaw) -> str:
    return f"{'~' if law.chi2_is_by_slots else ''}{law.chi2:.3g}"


def _bias_text(report: BiasReport) -> str:
    law = report.law
    if law.chi2 == 0:
        return "~0" if law.chi2_is_by_slots else "0"
    if report.bias_of_proxy is not None:
        return f"{report.bias_of_proxy:.4f}"
    return f"<= {np.sqrt(law.chi2):.4f}"


def _pairs_text(law: SamplingLaw) -> str:
    if law.chi2_of_pairs is None:
        return "-"
    bound = ">= " if law.chi2_of_pairs_is_bound else "~"
    return f"{'' if law.chi2_of_pairs_is_exact else bound}{law.chi2_of_pairs:.3g}"


def _effect_text(report: BiasReport) -> str:
    if report.design_effect is None:
        return report.why_not_exact or ""
    return f"{_MARKS.get(report.basis or '', '')}{report.design_effect:.3g}"


def _has_floor(report: BiasReport) -> bool:
    """Whether the least effective batch is printed, because nothing better is known."""
    return report.effective_batch is None and report.law.floor_is_proven


def effect_text_of(report: BiasReport) -> str:
    """The effective batch, with the mark of its basis and its interval; `-` where it is not known."""
    if report.effective_batch is None:
        return f">= {effective_text(report.law.effective_batch_floor)}" if _has_floor(report) else "-"
    mark = ">= " if report.basis == "bound" else _MARKS.get(report.basis or "", "")
    text = f"{mark}{effective_text(report.effective_batch)}"
    if report.basis == "approximate":
        return text  # the interval of rho does not contain the error of the formula
    return text + _interval_text(report.effective_batch_low, report.effective_batch_high)


def _long_run_text(report: BiasReport) -> str:
    run = report.long_run
    if run is None:
        return "-"
    mark = BOUND_MARKS[run.is_bound, run.is_approximate]
    return (
        mark
        + effective_text(run.effective_batch)
        + _interval_text(run.effective_batch_low, run.effective_batch_high)
    )


def _interval_text(low: float | None, high: float | None) -> str:
    if low is None or high is None or low == high:
        return ""
    return f" [{effective_text(low)}, {effective_text(high)}]"


def effective_text(num_frames: float) -> str:
    """Whole from 1,000 on, with one decimal from 1 on, or with two digits below one frame.

    >>> effective_text(2159.3), effective_text(12.34), effective_text(0.0123)
    ('2159', '12.3', '0.012')
    """
    if num_frames >= 1000:
        return f"{num_frames:.0f}"
    return f"{num_frames:.1f}" if num_frames >= 1 else f"{num_frames:.2g}"
