"""Chooses a sampler from measured frames/s, computed effective batches and the frames/s that training needs."""

import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from frame_cache_tools.bias.table import BiasTable
from frame_cache_tools.bias.text import BOUND_MARKS, effective_text, long_run_title, short_name

from frame_store.shared import counted
from loader import SamplingError, SamplingSpec
from loader.bias import BiasReport, Target

if TYPE_CHECKING:
    from loader import FrameLoader

PLAINEST_FIRST = ("permutation", "iid", "stratified", "shards", "block", "sequential")
"""Samplers, the easiest to understand first: whole epochs of uniform frames, independent frames, spread frames,
groups of frames."""
AS_GOOD = 0.05
"""Effective batches this close count as equal, because they are computed from a proxy of the gradient."""
ROUNDS = 3
SECONDS_PER_ROUND = 0.6


@dataclass(frozen=True, kw_only=True)
class MeasuredSampler:
    """One sampler on one cache: its speed and its report."""

    case_name: str
    layout: str | None
    name: str
    """The sampler in few words (`short_name`)."""
    report: BiasReport
    frames_per_second: float
    """Median of the rounds."""
    slowest: float
    fastest: float

    @property
    def is_long_run_known(self) -> bool:
        """Whether `worth` is that of many steps; else it is that of one batch, or its floor."""
        return self.report.long_run is not None

    @property
    def worth(self) -> float:
        """Independent frames that a batch is worth, where the noise of many steps adds up; see `is_long_run_known`."""
        report = self.report
        if report.long_run is not None:
            return report.long_run.effective_batch
        return report.law.effective_batch_floor if report.effective_batch is None else report.effective_batch

    @property
    def worth_at_least(self) -> float:
        """The same at the lower end of its interval."""
        report = self.report
        low = report.effective_batch_low if report.long_run is None else report.long_run.effective_batch_low
        return self.worth if low is None else low

    @property
    def worth_at_most(self) -> float:
        """The same at the upper end of its interval."""
        report = self.report
        high = (
            report.effective_batch_high if report.long_run is None else report.long_run.effective_batch_high
        )
        return self.worth if high is None else high

    @property
    def plainness(self) -> int:
        """Place of the sampler in `PLAINEST_FIRST`."""
        words = self.report.law.name.split()[0]
        return PLAINEST_FIRST.index(words.removeprefix("sampling="))


def measure_candidates(
    table: BiasTable, rows: Sequence[tuple[SamplingSpec, BiasReport]]
) -> list[MeasuredSampler]:
    """Frames/s of each sampler through the real `FrameLoader`, in interleaved rounds."""
    from loader import FrameLoader  # brings torch, which a report without speeds does not need

    store = table.case.store
    assert store is not None  # the flags were checked
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a biased choice of shards, which the report shows
        options = {} if table.windows is None else table.windows.options
        if table.weights is not None:
            options = {**options, "weights": table.weights}
        loaders = [
            FrameLoader(store, batch_size=table.batch_size, **_options(spec), **options) for spec, _ in rows
        ]
    for loader in loaders:
        _frames_per_second(loader, seconds=SECONDS_PER_ROUND / 4)  # warms the page cache
    rates: list[list[float]] = [[] for _ in loaders]
    for _ in range(ROUNDS):
        for loader, rate in zip(loaders, rates, strict=True):
            rate.append(_frames_per_second(loader, seconds=SECONDS_PER_ROUND))
    return [
        MeasuredSampler(
            case_name=table.case.name,
            layout=table.case.layout,
            name=short_name(spec, report.law),
            report=report,
            frames_per_second=statistics.median(rate),
            slowest=min(rate),
            fastest=max(rate),
        )
        for (spec, report), rate in zip(rows, rates, strict=True)
    ]


def pick_sampler(
    measured: Sequence[MeasuredSampler], *, demand: float, target: Target | None = None
) -> tuple[MeasuredSampler, str]:
    """The unbiased sampler to take if training needs `demand` frames/s, and the reason.

    Of the samplers that meet the demand it is the one whose batches are worth most over many steps (S43). Among those
    that are worth as much, within `AS_GOOD` or their interval, it is the plainest. A sampler of which only one batch is
    known is taken if nothing else meets the demand. If none meets it, the loader is the limit: it is then the sampler
    that delivers most independent frames a second, or the plainest of those whose rounds were no slower.

    `target` is what should be drawn uniformly. None takes the target of each sampler: windows if given, else frames.

    Raises:
        SamplingError: none of the samplers is unbiased.
    """
    laws = [(row, row.report.law) for row in measured]
    unbiased = [row for row, law in laws if law.is_uniform_over(target or law.target)]
    if not unbiased:
        found = "; ".join(
            f"{law.name}: chi2 over {target or law.target} {law.chi2_over(target or law.target):.3g}, "
            f"over frames at an epoch's first position {law.chi2_at_start:.3g}"
            for _, law in laws
        )
        raise SamplingError(f"nothing to pick: no sampler here is unbiased at every position ({found})")
    enough = [row for row in unbiased if row.frames_per_second >= demand]
    candidates = enough or unbiased
    ranked = [row for row in candidates if row.is_long_run_known] or candidates
    horizon = ranked[0].report.long_run.horizon if ranked[0].report.long_run is not None else None
    over = "" if horizon is None else f" over {horizon:g} steps"
    if enough:
        return _of_enough(measured, enough, ranked, demand=demand, over=over)
    most = max(row.worth * row.frames_per_second for row in ranked)
    as_good = [row for row in ranked if row.worth_at_most * row.fastest >= most]
    best = _plainest(as_good)
    per_second = best.worth / best.report.law.slots_per_batch * best.frames_per_second
    delivers = f"{best.frames_per_second:.0f} frames/s, worth {per_second:.0f} independent ones{over}"
    why = f"no unbiased sampler gives {demand:.0f} frames/s here"
    if len(as_good) == 1:
        return best, f"{why}; this one delivers most independent frames a second: {delivers}"
    return best, (
        f"{why}; {len(as_good)} of them deliver most independent frames a second, or no less within the spread of the "
        f"rounds and their intervals, and this is the plainest of them: {delivers}"
    )


def _of_enough(
    measured: Sequence[MeasuredSampler],
    enough: Sequence[MeasuredSampler],
    ranked: Sequence[MeasuredSampler],
    *,
    demand: float,
    over: str,
) -> tuple[MeasuredSampler, str]:
    """The pick among the samplers that meet the demand."""
    if len(enough) == 1:
        return enough[0], (
            f"it alone of {counted(len(measured), 'sampler')} is unbiased at every position and gives "
            f"{demand:.0f} frames/s or more"
        )
    why = (
        f"{len(enough)} of {len(measured)} samplers are unbiased at every position and give {demand:.0f} "
        f"frames/s or more"
    )
    most = max(row.worth for row in ranked)
    as_good = [row for row in ranked if row.worth_at_most >= (1 - AS_GOOD) * most]
    best = _plainest(as_good)
    worth = f"{effective_text(best.worth)} independent frames{over}"
    if not over:
        worth += " (one batch; what many steps are worth is not known here)"
    if len(as_good) == 1:
        others = [row for row in ranked if row is not best]
        next_best = max(others, key=lambda row: row.worth, default=None)
        beaten = (
            "" if next_best is None else f"; {next_best.name} follows with {effective_text(next_best.worth)}"
        )
        return best, f"{why}; a batch of this one is worth most, {worth}{beaten}"
    return best, (
        f"{why}; batches of {len(as_good)} of these are worth most, or no less within {AS_GOOD:.0%} or their "
        f"intervals, and this is the plainest of them: {worth}"
    )


def _plainest(rows: Sequence[MeasuredSampler]) -> MeasuredSampler:
    """The plainest sampler; among equals the one whose batches are worth most, then the fastest."""
    return min(rows, key=lambda row: (row.plainness, -row.worth, -row.frames_per_second))


def plan_text(measured: Sequence[MeasuredSampler], *, demand: float, target: Target | None = None) -> str:
    """The measurements and the pick, for a terminal."""
    has_several = len({row.case_name for row in measured}) > 1
    names = [f"{row.case_name}: {row.name}" if has_several else row.name for row in measured]
    width = max(map(len, names))
    horizons = [row.report.long_run.horizon for row in measured if row.report.long_run is not None]
    title = long_run_title(horizons[0]) if horizons else "B_eff"
    lines = [f"{'sampler':{width}} {'frames/s':>9} {'spread':>15} {title:>24}"]
    for name, row in zip(names, measured, strict=True):
        spread = f"{row.slowest:.0f}-{row.fastest:.0f}"
        mark = _mark(row.report)
        effective = f"{mark}{effective_text(row.worth)}"
        if row.worth_at_least != row.worth_at_most and mark != "~":  # an interval of rho, not of the formula
            effective += f" [{effective_text(row.worth_at_least)}, {effective_text(row.worth_at_most)}]"
        if horizons and not row.is_long_run_known:
            effective += " one batch"
        lines.append(f"{name:{width}} {row.frames_per_second:9.0f} {spread:>15} {effective:>24}")
    best, why = pick_sampler(measured, demand=demand, target=target)
    return "\n".join([*lines, f"take {best.report.law.name} on {best.case_name}: {why}"])


def _mark(report: BiasReport) -> str:
    """The mark before a number of `MeasuredSampler.worth`: empty if it is exact, or has an interval."""
    if report.long_run is not None:
        return BOUND_MARKS[report.long_run.is_bound, report.long_run.is_approximate]
    if report.effective_batch is None:
        return ">=" if report.law.floor_is_proven else "~"
    return {"approximate": "~", "bound": ">="}.get(report.basis or "", "")


def measured_builtins(row: MeasuredSampler) -> dict[str, Any]:
    """One measurement as plain JSON values."""
    return {
        "cache": row.case_name,
        "layout": row.layout,
        "sampler": row.report.law.name,
        "frames_per_second": row.frames_per_second,
        "slowest": row.slowest,
        "fastest": row.fastest,
        "effective_batch": row.report.effective_batch,
        "effective_batch_over_horizon": row.worth if row.is_long_run_known else None,
        "basis": row.report.basis,
    }


def _options(spec: SamplingSpec) -> dict[str, Any]:
    return {name: value for name, value in spec.to_builtins().items() if value is not None}


def _frames_per_second(loader: "FrameLoader", *, seconds: float) -> float:
    """Frames/s after the first batch, so the start of the threads is not counted."""
    num_frames, started = 0, None
    while True:
        batches = iter(loader)
        for batch in islice(batches, 1_000_000):
            now = time.perf_counter()
            if started is None:
                started = now
                continue
            num_frames += batch.cache_ids.numel()
            if now - started >= seconds:
                batches.close()  # type: ignore[attr-defined]  # a generator: stop reading ahead now
                return num_frames / (now - started)
        if started is None:
            started = time.perf_counter()
