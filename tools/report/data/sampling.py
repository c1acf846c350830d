"""What each sampler does to a batch, with the figures of `cache-bias`, and which one it would pick."""

import math
import re
from dataclasses import dataclass
from typing import Final

from frame_cache_tools.bias import (
    HORIZON,
    BiasTable,
    MeasuredSampler,
    candidates,
    case_of_store,
    cells_of,
    notes_of,
    pick_sampler,
    short_name,
)
from frame_cache_tools.report.data.records import SamplerFacts, SamplingFacts

from frame_store.protocol import FrameStore
from loader import SamplingError, SamplingSpec
from loader.bias import BiasReport
from loader.bias.webdataset import WebDatasetSpec

BATCH_SIZE: Final = 128
_FAST: Final = math.inf
"""Frames/s where the disk is no limit: the page measures no speed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Row:
    spec: SamplingSpec | WebDatasetSpec
    report: BiasReport
    facts: SamplerFacts


def sampling_facts(store: FrameStore, *, name: str, max_frames_read: int) -> SamplingFacts:
    """The samplers compared on a store, for batches of 128.

    Thumbnails of all frames are read if there are no more than `max_frames_read`; else figures are estimated from a
    few frames.

    Raises:
        SamplingError: the loader refuses every sampler on this store.
        StoreDamagedError: a frame that is read is damaged.
    """
    case = case_of_store(name, store)
    table = BiasTable(case, batch_size=BATCH_SIZE, max_frames_read=max_frames_read)
    rows: list[_Row] = []
    refused = []
    for spec in candidates(case, batch_size=BATCH_SIZE):
        try:
            rows.append(_row(table, spec))
        except SamplingError as error:
            refused.append(f"{spec}: {error}")
    if not rows:
        raise SamplingError("; ".join(refused))
    best, why = _pick(name, rows)
    return SamplingFacts(
        batch_size=BATCH_SIZE,
        horizon=HORIZON,
        proxy=table.proxy,
        is_of_all_frames=case.num_frames <= max_frames_read,
        samplers=tuple(row.facts for row in rows),
        refused=tuple(refused),
        best=best,
        why=why,
    )


def _row(table: BiasTable, spec: SamplingSpec | WebDatasetSpec) -> _Row:
    report = table.report(spec)
    is_ours = isinstance(spec, SamplingSpec)
    options = _options(spec) if isinstance(spec, SamplingSpec) else ()
    cells = cells_of(report)
    return _Row(
        spec=spec,
        report=report,
        facts=SamplerFacts(
            name=short_name(spec, report.law),
            options=options,
            is_ours=is_ours,
            bias=cells["bias"],
            effective_batch=cells["effective_batch"],
            long_run=cells["long_run"],
            effective_batch_value=report.effective_batch,
            long_run_value=None if report.long_run is None else report.long_run.effective_batch,
            is_unbiased=report.law.is_uniform_over(report.law.target),
            num_left_out=report.law.num_positions_dropped,
            notes=tuple(plain_notes(notes_of(spec, report, table))),
        ),
    )


def plain_notes(notes: list[str]) -> list[str]:
    """Notes of `cache-bias` in the words of the page; those about columns that the page does not have are left out.

    >>> plain_notes(["64 frames dropped an epoch", "off by 0.1 sigma (S51)", "~ chi2 pairs estimated (S66)"])
    ['64 frames left out of each epoch, as they fill no batch', 'off by 0.1 standard deviations of one frame']
    """
    words = {
        "dropped an epoch": "left out of each epoch, as they fill no batch",
        "sigma": "standard deviations of one frame",
        "~ design effect": "~ is an approximation of what a batch is worth:",
        "design effect": "what a batch is worth:",
        "B_eff": "what a batch is worth",
    }
    kept = [re.sub(r" \(S\d+\)", "", note) for note in notes if "chi2" not in note and "kappa" not in note]
    for old, new in words.items():
        kept = [note.replace(old, new) for note in kept]
    return kept


def _options(spec: SamplingSpec) -> tuple[tuple[str, str | int], ...]:
    """The keywords of a loader that differ from what it takes without them."""
    usual = SamplingSpec().to_builtins()
    return tuple(
        (name, value)
        for name, value in spec.to_builtins().items()
        if name == "sampling" or (value is not None and value != usual.get(name))
    )


def _pick(name: str, rows: list[_Row]) -> tuple[SamplerFacts | None, str]:
    """What `cache-bias --plan` picks where each sampler is fast enough, and why."""
    ours = [row for row in rows if isinstance(row.spec, SamplingSpec)]
    measured = [
        MeasuredSampler(
            case_name=name,
            layout=None,
            name=row.facts.name,
            report=row.report,
            frames_per_second=_FAST,
            slowest=_FAST,
            fastest=_FAST,
        )
        for row in ours
    ]
    try:
        best, _ = pick_sampler(measured, demand=1.0)
    except SamplingError as error:
        return None, str(error)
    facts = next(row.facts for row in ours if row.report is best.report)
    batch = best.report.law.rank_batch
    if batch not in {None, BATCH_SIZE}:
        return facts, (
            f"a batch has {batch} frames, as the cache holds less than one of {BATCH_SIZE}, so samplers differ little"
        )
    ratio = None if best.report.effective_batch is None else best.report.effective_batch / BATCH_SIZE
    if ratio is None or ratio < 1.05:
        return facts, "none of the others without bias gives steadier batches"
    return facts, (
        f"the variance of the mean of a batch of {BATCH_SIZE} is {_about(ratio)} times smaller than that of "
        f"{BATCH_SIZE} frames drawn at random"
    )


def _about(number: float) -> str:
    """A number of frames in three digits.

    >>> _about(21702.4), _about(128.0)
    ('about 21,700', '128')
    """
    if not math.isfinite(number):
        return "any number of"
    rounded = float(f"{number:.3g}")
    return f"{'' if rounded == number else 'about '}{rounded:,.12g}"
