"""Which sampler to take: frames/s measured here, effective batch computed, a demand to meet."""

import statistics
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from frame_cache_tools.bias.table import BiasTable

from frame_store.shared import counted
from loader import FrameLoader, SamplingError, SamplingSpec
from loader.bias import BiasReport, Target

PLAINEST_FIRST = ("permutation", "iid", "shards", "block", "sequential")
"""Samplers by how little need be known of them: whole epochs of uniform frames, independent frames, groups of them."""
AS_GOOD = 0.05
"""Effective batches this close count as equal: they stand on a proxy of the gradient."""
ROUNDS = 3
SECONDS_PER_ROUND = 0.6


@dataclass(frozen=True, kw_only=True)
class MeasuredSampler:
    """One sampler on one cache: what it gives and what it is worth."""

    subject_name: str
    layout: str | None
    report: BiasReport
    frames_per_second: float
    """Median of the rounds."""
    slowest: float
    fastest: float

    @property
    def worth(self) -> float:
        """Effective over nominal batch; the floor where rho is not known."""
        law = self.report.law
        effective = self.report.effective_batch
        return (law.effective_batch_floor if effective is None else effective) / law.slots_per_batch

    @property
    def worth_at_most(self) -> float:
        """The same at the upper end of rho's interval."""
        high = self.report.effective_batch_high
        return self.worth if high is None else high / self.report.law.slots_per_batch

    @property
    def plainness(self) -> int:
        """Place of the sampler in `PLAINEST_FIRST`."""
        words = self.report.law.name.split()[0]
        return PLAINEST_FIRST.index(words.removeprefix("sampling="))


def measure_candidates(
    table: BiasTable, rows: Sequence[tuple[SamplingSpec, BiasReport]]
) -> list[MeasuredSampler]:
    """Frames/s of each sampler through the real `FrameLoader`, in interleaved rounds."""
    store = table.subject.store
    assert store is not None  # who asks for measurements has a cache
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a biased choice of shards: the report says it
        loaders = [FrameLoader(store, batch_size=table.batch_size, **_options(spec)) for spec, _ in rows]
    for loader in loaders:
        _frames_per_second(loader, seconds=SECONDS_PER_ROUND / 4)  # warms the page cache
    rates: list[list[float]] = [[] for _ in loaders]
    for _ in range(ROUNDS):
        for loader, rate in zip(loaders, rates, strict=True):
            rate.append(_frames_per_second(loader, seconds=SECONDS_PER_ROUND))
    return [
        MeasuredSampler(
            subject_name=table.subject.name,
            layout=table.subject.layout,
            report=report,
            frames_per_second=statistics.median(rate),
            slowest=min(rate),
            fastest=max(rate),
        )
        for (_, report), rate in zip(rows, rates, strict=True)
    ]


def pick_sampler(
    measured: Sequence[MeasuredSampler], *, demand: float, target: Target | None = None
) -> tuple[MeasuredSampler, str]:
    """The unbiased sampler to take where training needs `demand` frames/s, and why it is that one.

    `permutation` wherever it meets the demand, however fast the others are and whatever one batch of theirs is worth:
    its noise cancels over an epoch (S43). Else the one of the largest effective batch that meets it; of those that are
    worth as much, within `AS_GOOD` or their interval, the plainest. Where none meets the demand the loader is the
    limit: then the one that delivers most independent frames a second, and the plainest of those whose rounds were no
    slower.
    `target` is what is to be drawn uniformly; None for each sampler's own, windows for clips and else frames.

    Raises:
        SamplingError: none of the samplers is unbiased.
    """
    laws = [(row, row.report.law) for row in measured]
    unbiased = [row for row, law in laws if law.is_uniform_over(target or law.target)]
    if not unbiased:
        told = "; ".join(
            f"{law.name}: chi2 over {target or law.target} {law.chi2_over(target or law.target):.3g}, "
            f"over frames at an epoch's first position {law.chi2_at_start:.3g}"
            for _, law in laws
        )
        raise SamplingError(f"nothing to pick: no sampler here is unbiased at every position ({told})")
    enough = [row for row in unbiased if row.frames_per_second >= demand]
    if enough:
        if len(enough) == 1:
            return enough[0], (
                f"it alone of {counted(len(measured), 'sampler')} is unbiased at every position and gives "
                f"{demand:.0f} frames/s or more"
            )
        why = (
            f"{len(enough)} of {len(measured)} samplers are unbiased at every position and give {demand:.0f} "
            f"frames/s or more"
        )
        if permutations := [row for row in enough if row.plainness == 0]:
            best = _plainest(permutations)
            return best, f"{why}; permutation does, and its noise cancels over an epoch (S43)"
        most = max(row.worth for row in enough)
        as_good = [row for row in enough if row.worth_at_most >= (1 - AS_GOOD) * most]
        best = _plainest(as_good)
        if len(as_good) == 1:
            return best, f"{why}; of these its batches are worth most"
        return best, (
            f"{why}; {len(as_good)} of these are worth most, or as much within {AS_GOOD:.0%} or what is known of rho, "
            "and this is the plainest of them"
        )
    most = max(row.worth * row.frames_per_second for row in unbiased)
    as_good = [row for row in unbiased if row.worth_at_most * row.fastest >= most]
    best = _plainest(as_good)
    why = f"no unbiased sampler gives {demand:.0f} frames/s here"
    delivers = f"{best.worth * best.frames_per_second:.0f} independent frames a second"
    if len(as_good) == 1:
        return best, f"{why}; this one delivers most, {delivers}"
    return best, (
        f"{why}; {len(as_good)} of them deliver most independent frames a second, or no less as far as the rounds and "
        f"rho tell, and this is the plainest of them: {delivers}"
    )


def _plainest(rows: Sequence[MeasuredSampler]) -> MeasuredSampler:
    """By law; of one law, on several caches or with other options, the one worth most, then the fastest."""
    return min(rows, key=lambda row: (row.plainness, -row.worth, -row.frames_per_second))


def plan_text(measured: Sequence[MeasuredSampler], *, demand: float, target: Target | None = None) -> str:
    """The measurements and the pick, for a terminal."""
    has_several = len({row.subject_name for row in measured}) > 1
    names = [
        f"{row.subject_name}: {row.report.law.name}" if has_several else row.report.law.name
        for row in measured
    ]
    width = max(map(len, names))
    lines = [f"{'sampler':{width}} {'frames/s':>9} {'spread':>13} {'effective global batch':>23}"]
    for name, row in zip(names, measured, strict=True):
        spread = f"{row.slowest:.0f}-{row.fastest:.0f}"
        mark = _mark(row.report)
        effective = f"{mark}{row.worth * row.report.law.slots_per_batch:.1f}"
        lines.append(f"{name:{width}} {row.frames_per_second:9.0f} {spread:>13} {effective:>23}")
    best, why = pick_sampler(measured, demand=demand, target=target)
    return "\n".join([*lines, f"take {best.report.law.name} on {best.subject_name}: {why}"])


def _mark(report: BiasReport) -> str:
    """Before a number of `MeasuredSampler.worth`: nothing where it is exact."""
    if report.effective_batch is None:
        return ">=" if report.law.floor_is_proven else "~"
    return "~" if report.basis == "approximate" else ""


def measured_builtins(row: MeasuredSampler) -> dict[str, Any]:
    """One measurement as plain JSON values."""
    return {
        "cache": row.subject_name,
        "layout": row.layout,
        "sampler": row.report.law.name,
        "frames_per_second": row.frames_per_second,
        "slowest": row.slowest,
        "fastest": row.fastest,
        "effective_batch": row.worth * row.report.law.slots_per_batch,
        "basis": row.report.basis,
    }


def _options(spec: SamplingSpec) -> dict[str, Any]:
    return {name: value for name, value in spec.to_builtins().items() if value is not None}


def _frames_per_second(loader: FrameLoader, *, seconds: float) -> float:
    """Of whole batches, from the first that comes on, so that starting the threads does not count."""
    num_frames, started = 0, None
    while True:
        batches = iter(loader)
        for batch in islice(batches, 1_000_000):
            now = time.perf_counter()
            if started is None:
                started = now
                continue
            num_frames += batch.frame_ids.numel()
            if now - started >= seconds:
                batches.close()  # type: ignore[attr-defined]  # a generator: stop reading ahead now
                return num_frames / (now - started)
        if started is None:
            started = time.perf_counter()
