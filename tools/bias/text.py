"""The table of `cache-bias` for a terminal: numbers, marks for those that are not exact, and notes."""

from collections.abc import Sequence

import numpy as np
from frame_cache_tools.bias.table import BiasTable, ShortVideo

from frame_store.shared import counted, counted_in_groups
from loader import SamplingSpec
from loader.bias import BiasReport, RhoEstimate, SamplingLaw
from loader.bias.webdataset import WebDatasetSpec

MAX_NAMES_IN_TEXT = 3
"""Number of short videos that the table names; `--json` names all."""


def table_text(
    table: BiasTable,
    rows: Sequence[tuple[SamplingSpec | WebDatasetSpec, BiasReport]],
    levels: Sequence[RhoEstimate],
) -> str:
    """The table for a terminal."""
    case = table.case
    sizes = case.shard_sizes[case.shard_sizes > 0]
    has_windows = any(report.law.chi2_over_windows is not None for _, report in rows)
    unit = "window" if has_windows else "frame"
    lines = [
        f"{case.name}: {counted(case.num_frames, 'frame')} in {counted(len(sizes), 'shard')} of {sizes.min()} "
        f"to {sizes.max()}, "
        f"layout {case.layout or 'unknown'}",
        f"global batch: {counted(table.world_size, 'rank')} x {table.batch_size} = "
        f"{counted(table.world_size * table.batch_size, unit)}, whose mean gradient makes one step",
    ]
    if levels:
        shown = ", ".join(f"{estimate.level} {_rho_text(estimate)}" for estimate in levels)
        how = "all frames" if levels[0].basis == "exact" else "a sample, 95% interval"
        lines.append(f"rho by {levels[0].proxy}, {how}: {shown}")
    width = max(len(report.law.name) for _, report in rows)
    chi2_titles = f"{'chi2 windows':>13} {'chi2 frames':>12}" if has_windows else f"{'chi2':>9}"
    chi2_titles += f" {'chi2 pairs':>11}"
    lines.append(
        f"{'sampler':{width}} {chi2_titles} {'bias/sigma':>11} {'kappa':>9} {'at least':>9} "
        f"{'design effect':>14} {'effective global batch':>24}"
    )
    lines += [_row_text(report, width, has_windows=has_windows) for _, report in rows]
    for spec, report in rows:
        notes = [*_notes(report.law, spec, table.short_videos(spec)), *_notes_on_variance(report)]
        if report.law.rank_batch not in (None, table.batch_size):
            notes.insert(
                0, f"a batch is {report.law.rank_batch}, not {table.batch_size}: an epoch holds no whole step"
            )
        if report.law.chi2:
            notes.insert(0, report.law.because)
        if notes:
            lines.append(f"  {report.law.name}: {'; '.join(notes)}")
    lines += _legend([report for _, report in rows])
    return "\n".join(lines)


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
    if not report.law.kappa_is_exact:
        parts = "orders of its shards" if "webdataset" in report.law.name else "batches of an epoch"
        notes.append(f"~ kappa over a few of the {parts}")
    if report.law.chi2 > 0 and report.effective_batch_with_bias is not None:
        notes.append(
            f"bias included, the effective global batch is {_effective_text(report.effective_batch_with_bias)} frames: "
            "their mean is as far from that of all frames, in mean square"
        )
    return notes


def _legend(reports: Sequence[BiasReport]) -> list[str]:
    """What kappa counts, and the marks that occur in the table."""
    bases = {report.basis for report in reports}
    meanings = {
        "sampled": "[low, high]: rho of a sample of frames, 95% interval",
        "builds": "[low, high]: 95% of the seeds that a shuffled build can have",
        "assumed": "design effects hold for the rho that --rho assumes",
    }
    lines = [text for basis, text in meanings.items() if basis in bases]
    laws = [report.law for report in reports]
    if any(law.visit_kappa is not None for law in laws):
        lines.insert(
            0,
            "kappa: how often two slots of a batch are drawn together, by one visit or in one window (single frames "
            "never are); for block, sequential and webdataset, how often they share a shard",
        )
    if "approximate" in bases or any(law.chi2_is_by_slots or not law.floor_is_proven for law in laws):
        lines.append("~ is an approximation, and no limit is judged by it")
    return lines


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
    if law.weights is not None:
        notes.append(_target_text(law))
    if law.num_short_shards:
        notes.append(
            f"visits to {counted_in_groups(law.num_short_shards, 'shard')} of fewer than {law.slots_per_visit} frames "
            f"draw with replacement (S56)"
        )
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


def _row_text(report: BiasReport, width: int, *, has_windows: bool) -> str:
    law = report.law
    chi2 = f"{law.chi2:9.3g}"
    if has_windows:
        over_windows = "" if law.chi2_over_windows is None else f"{law.chi2_over_windows:.3g}"
        chi2 = f"{over_windows:>13} {law.chi2:12.3g}"
    if law.chi2_is_by_slots:
        chi2 = f"{f'~{law.chi2:.3g}':>{len(chi2)}}"
    chi2 += f" {_pairs_text(law):>11}"
    if law.chi2 == 0:
        bias = "~0" if law.chi2_is_by_slots else "0"
    elif report.bias_of_proxy is not None:
        bias = f"{report.bias_of_proxy:.4f}"
    else:
        bias = f"<= {np.sqrt(law.chi2):.4f}"
    floor = f"{'' if law.floor_is_proven else '~'}{_effective_text(law.effective_batch_floor)}"
    kappa = f"{'' if law.kappa_is_exact else '~'}{law.worst_kappa:.4f}"
    effect = effective = report.why_not_exact or ""
    if report.design_effect is not None and report.effective_batch is not None:
        marks = {"approximate": ("~", "~"), "bound": ("<= ", ">= ")}
        of_effect, of_effective = marks.get(report.basis or "", ("", ""))
        effect, effective = (
            f"{of_effect}{report.design_effect:.2f}",
            f"{of_effective}{_effective_text(report.effective_batch)}",
        )
        low, high = report.effective_batch_low, report.effective_batch_high
        if low is not None and high is not None and low != high:
            effective += f" [{_effective_text(low)}, {_effective_text(high)}]"
    return f"{law.name:{width}} {chi2} {bias:>11} {kappa:>9} {floor:>9} {effect:>14} {effective:>24}"


def _effective_text(num_frames: float) -> str:
    """With one decimal, or with two digits below one frame.

    >>> _effective_text(12.34), _effective_text(0.0123)
    ('12.3', '0.012')
    """
    return f"{num_frames:.1f}" if num_frames >= 1 else f"{num_frames:.2g}"


def _pairs_text(law: SamplingLaw) -> str:
    if law.chi2_of_pairs is None:
        return "-"
    bound = ">= " if law.chi2_of_pairs_is_bound else "~"
    return f"{'' if law.chi2_of_pairs_is_exact else bound}{law.chi2_of_pairs:.3g}"
