"""Chooses a sampler from measured frames/s, computed effective batches and the frames/s that training needs."""

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
"""Samplers, the easiest to understand first: whole epochs of uniform frames, independent frames, groups of frames."""
AS_GOOD = 0.05
"""Effective batches this close count as equal, because they are computed from a proxy of the gradient."""
ROUNDS = 3
SECONDS_PER_ROUND = 0.6


@dataclass(frozen=True, kw_only=True)
class MeasuredSampler:
    """One sampler on one cache: its speed and its report."""

    case_name: str
    layout: str | None
    report: BiasReport
    frames_per_second: float
    """Median of the rounds."""
    slowest: float
    fastest: float

    @property
    def effective_share(self) -> float:
        """Effective batch over nominal batch; its floor if rho is not known."""
        law = self.report.law
        effective = self.report.effective_batch
        return (law.effective_batch_floor if effective is None else effective) / law.slots_per_batch

    @property
    def effective_share_at_most(self) -> float:
        """The same at the upper end of rho's interval."""
        high = self.report.effective_batch_high
        return self.effective_share if high is None else high / self.report.law.slots_per_batch

    @property
    def plainness(self) -> int:
        """Place of the sampler in `PLAINEST_FIRST`."""
        words = self.report.law.name.split()[0]
        return PLAINEST_FIRST.index(words.removeprefix("sampling="))


def measure_candidates(
    table: BiasTable, rows: Sequence[tuple[SamplingSpec, BiasReport]]
) -> list[MeasuredSampler]:
    """Frames/s of each sampler through the real `FrameLoader`, in interleaved rounds."""
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
    """The unbiased sampler to take if training needs `demand` frames/s, and the reason.

    It is `permutation` if that meets the demand, even if others are faster or have larger effective batches, because
    its noise cancels over an epoch (S43). Else it is the sampler with the largest effective batch that meets the
    demand; among effective batches that are equal within `AS_GOOD` or their interval, the plainest sampler. If none
    meets the demand, the loader is the limit. Then it is the sampler that delivers most independent frames a second,
    or the plainest of those whose rounds were no slower.

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
        most = max(row.effective_share for row in enough)
        as_good = [row for row in enough if row.effective_share_at_most >= (1 - AS_GOOD) * most]
        best = _plainest(as_good)
        if len(as_good) == 1:
            return best, f"{why}; it has the largest effective batch of these"
        return best, (
            f"{why}; {len(as_good)} of these have the largest effective batch, or are within {AS_GOOD:.0%} or the "
            "interval of rho of it, and this is the plainest of them"
        )
    most = max(row.effective_share * row.frames_per_second for row in unbiased)
    as_good = [row for row in unbiased if row.effective_share_at_most * row.fastest >= most]
    best = _plainest(as_good)
    why = f"no unbiased sampler gives {demand:.0f} frames/s here"
    delivers = f"{best.effective_share * best.frames_per_second:.0f} independent frames a second"
    if len(as_good) == 1:
        return best, f"{why}; this one delivers most, {delivers}"
    return best, (
        f"{why}; {len(as_good)} of them deliver most independent frames a second, or no less within the spread of the "
        f"rounds and of rho, and this is the plainest of them: {delivers}"
    )


def _plainest(rows: Sequence[MeasuredSampler]) -> MeasuredSampler:
    """The plainest sampler; among equals the one with the largest effective batch, then the fastest."""
    return min(rows, key=lambda row: (row.plainness, -row.effective_share, -row.frames_per_second))


def plan_text(measured: Sequence[MeasuredSampler], *, demand: float, target: Target | None = None) -> str:
    """The measurements and the pick, for a terminal."""
    has_several = len({row.case_name for row in measured}) > 1
    names = [
        f"{row.case_name}: {row.report.law.name}" if has_several else row.report.law.name for row in measured
    ]
    width = max(map(len, names))
    lines = [f"{'sampler':{width}} {'frames/s':>9} {'spread':>13} {'effective global batch':>23}"]
    for name, row in zip(names, measured, strict=True):
        spread = f"{row.slowest:.0f}-{row.fastest:.0f}"
        mark = _mark(row.report)
        effective = f"{mark}{row.effective_share * row.report.law.slots_per_batch:.1f}"
        lines.append(f"{name:{width}} {row.frames_per_second:9.0f} {spread:>13} {effective:>23}")
    best, why = pick_sampler(measured, demand=demand, target=target)
    return "\n".join([*lines, f"take {best.report.law.name} on {best.case_name}: {why}"])


def _mark(report: BiasReport) -> str:
    """The mark before a number of `MeasuredSampler.effective_share`: empty if it is exact."""
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
        "effective_batch": row.effective_share * row.report.law.slots_per_batch,
        "basis": row.report.basis,
    }


def _options(spec: SamplingSpec) -> dict[str, Any]:
    return {name: value for name, value in spec.to_builtins().items() if value is not None}


def _frames_per_second(loader: FrameLoader, *, seconds: float) -> float:
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
