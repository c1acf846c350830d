"""The exact times of frames, from timestamps that the container has rounded to its time base.

A Matroska file of 30 frames a second has the timestamps 0, 33, 67, 100 ms. Both the first timestamp and the one
compared with it are rounded, so their difference is wrong by up to one unit of the time base, and a clock of the same
rate would miss a frame in three. A frame rate that explains all timestamps to within that unit gives the exact times.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

NTSC: Final = Fraction(1000, 1001)
NTSC_RATES: Final = tuple(base * NTSC for base in (12, 15, 24, 30, 48, 60, 120, 240))
"""23.976, 29.97, 59.94 ... frames a second, exactly."""

_USUAL_RATES: Final = (
    *map(
        Fraction,
        (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 18, 20, 24, 25, 30, 48, 50, 60, 72, 75, 90, 96, 100),
    ),
    *map(Fraction, (120, 144, 200, 240, 300, 480, 500, 600, 960, 1000)),
    *(Fraction(15, 2), Fraction(25, 2)),
    *NTSC_RATES,
)

_MAX_PLAIN_NUMERATOR: Final = 1000
"""A rate with a larger numerator in a header is mostly a mean over rounded durations: 98000/3267 for 30."""

LONGEST_TICKS: Final = 2**62
"""Largest distance between the first and the last timestamp: a larger one would not fit in int64."""

_LARGEST_INT64: Final = 2**62


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameTimes:
    """Times of a video's frames, counted from its first frame."""

    pts: npt.NDArray[np.int64]
    """Ticks in rising order, shape (num_frames,); several may be equal."""
    numerators: npt.NDArray[Any]
    """Time of each row in units of the time base, times `denominator`: int64, or Python's integers as object."""
    denominator: int
    period: Fraction
    """How long the last frame is shown, in units of the time base."""
    time_base: Fraction

    def seconds(self, pts: int, *, last_of_equal: bool) -> Fraction:
        """Seconds from the first frame to the frame of `pts`; if several frames have it, to the first or the last."""
        row = int(np.searchsorted(self.pts, pts, side="right")) - 1
        if row >= 0 and self.pts[row] == pts and not last_of_equal:
            row = int(np.searchsorted(self.pts, pts, side="left"))
        row = max(row, 0)
        units = Fraction(int(self.numerators[row]), self.denominator) + pts - int(self.pts[row])
        return units * self.time_base

    @property
    def end_seconds(self) -> Fraction:
        """Seconds from the first frame to the end of the last."""
        return (Fraction(int(self.numerators[-1]), self.denominator) + self.period) * self.time_base


def fit_frame_times(
    pts: npt.NDArray[np.int64],
    *,
    time_base: Fraction,
    rate_in_header: Fraction | None,
    rate_wanted: Fraction,
) -> FrameTimes:
    """Times of frames from their `pts` (ticks, sorted, at least one), by the frame rate that explains most of them.

    `pts` may be at most `LONGEST_TICKS` apart. Every time is within one unit of the time base of its pts, counted from
    the first frame. A frame that the rate does not explain keeps its pts. Rates are tried in the order of
    `_candidates`. The first rate that explains three of four frames is taken, or else the rate that explains the most.
    """
    distances = pts - pts[0]
    best: _Fit | None = None
    for rate in _candidates(distances, time_base, rate_in_header, rate_wanted):
        fit = _fit(distances, 1 / (rate * time_base))
        if best is None or fit.num_unexplained < best.num_unexplained:
            best = fit
        # Half of the true rate explains every other frame, or a few more. A rate that explains most frames is the true
        # one; a later rate that explains even more does so by chance.
        if best.num_unexplained < len(pts) / 4:
            break
    assert best is not None
    steps = np.diff(pts)
    typical = Fraction(int(np.median(steps[steps > 0]))) if pts[0] < pts[-1] else Fraction(1)
    return FrameTimes(
        pts=pts,
        numerators=best.numerators,
        denominator=best.denominator,
        # A rate that explains fewer than half of the frames is not the video's.
        period=best.period if best.num_unexplained < len(pts) / 2 and len(pts) > 1 else typical,
        time_base=time_base,
    )


def _candidates(
    distances: npt.NDArray[np.int64],
    time_base: Fraction,
    rate_in_header: Fraction | None,
    rate_wanted: Fraction,
) -> Iterator[Fraction]:
    """Frame rates to try.

    The wanted rate comes first: if it explains the timestamps, every frame is kept. Its multiples are more likely than
    a rate that follows only from the mean of the rounded timestamps.
    """
    yield rate_wanted
    is_plain = rate_in_header is not None and (
        rate_in_header.numerator <= _MAX_PLAIN_NUMERATOR or (rate_in_header / NTSC).denominator == 1
    )
    if rate_in_header is not None and is_plain:
        yield rate_in_header
    if len(distances) > 1 and distances[-1] > 0:
        mean = Fraction(len(distances) - 1, int(distances[-1])) / time_base
        step = Fraction(int(np.median(np.diff(distances))))
        typical = 1 / (step * time_base) if step else mean
        for rate in (mean, typical):
            yield rate_wanted * max(1, round(rate / rate_wanted))
        for rate in _USUAL_RATES:
            if abs(1 / (rate * time_base) - step) <= 1:
                yield rate
        if rate_in_header is not None and not is_plain:
            yield rate_in_header
        yield mean
        yield typical


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fit:
    numerators: npt.NDArray[Any]
    denominator: int
    period: Fraction
    num_unexplained: int


def _fit(distances: npt.NDArray[np.int64], period: Fraction) -> _Fit:
    """Times of frames that are `period` units apart, where `distances` (units from the first frame) allow it."""
    one = period.denominator  # a unit of the time base
    largest = (int(distances[-1]) + len(distances) * period + 2) * 2 * one
    found = distances.astype(np.int64 if largest < _LARGEST_INT64 else object) * one
    regular = np.arange(len(found)).astype(found.dtype) * period.numerator
    error = found - regular
    spread = error.max() - error.min()
    # A spread of exactly one unit comes only from halves, which are rounded away from zero: down below 0, up above 0.
    rises = np.flatnonzero(error == error.min())[-1] < np.flatnonzero(error == error.max())[0]
    if spread < one or (spread == one and rises):
        return _Fit(numerators=regular, denominator=one, period=period, num_unexplained=0)
    if period <= 2:  # a frame takes so few units that a missing frame cannot be located
        return _Fit(numerators=found, denominator=one, period=period, num_unexplained=len(found))
    on_grid = (2 * found + period.numerator) // (2 * period.numerator) * period.numerator
    is_near = _is_near(found - on_grid, one)
    # After a frame's packet may come a packet that is never shown: VP8's hidden pictures.
    is_second = np.concatenate([[False], is_near[1:] & is_near[:-1] & (np.diff(on_grid) == 0)])
    rows = np.flatnonzero(~is_second)
    numerators = found.copy()
    numerators[rows], num_unexplained = _fit_runs(found[rows], on_grid[rows], period)
    return _Fit(
        numerators=np.maximum.accumulate(numerators),
        denominator=one,
        period=period,
        num_unexplained=num_unexplained + int(is_second.sum()),
    )


def _fit_runs(
    found: npt.NDArray[Any], on_grid: npt.NDArray[Any], period: Fraction
) -> tuple[npt.NDArray[Any], int]:
    """Times of frames, some of which may be missing; and the number of frames that are not on the first frame's grid.

    After a gap, a run of frames either continues on the grid of the first frame or has its own grid, as in recordings
    that were joined.
    """
    one, step = period.denominator, period.numerator
    is_first = np.concatenate([[True], abs(np.diff(found) - step) > one])
    first_of_row = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
    steps = np.diff(on_grid, prepend=on_grid[0] - step)
    is_next = (steps == step) | is_first & (steps > 0)
    is_on_grid = _all_of_run(_is_near(found - on_grid, one) & is_next, is_first)
    in_run = found[first_of_row] + (np.arange(len(found)) - first_of_row).astype(found.dtype) * step
    is_in_run = _all_of_run(_is_near(found - in_run, one), is_first) & ~is_on_grid
    num_unexplained = int((is_first & ~is_on_grid).sum() + (~is_on_grid & ~is_in_run).sum())
    return np.where(is_on_grid, on_grid, np.where(is_in_run, in_run, found)), num_unexplained


def _is_near(error: npt.NDArray[Any], one: int) -> npt.NDArray[np.bool_]:
    """bool per row: whether rounding explains a difference of timestamps that is too long by `error`."""
    return np.asarray((error > -one) & (error <= one), np.bool_)


def _all_of_run(flags: npt.NDArray[np.bool_], is_first: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """bool per row: whether `flags` holds for every row of its run; runs begin where `is_first` holds."""
    holds = np.logical_and.reduceat(flags, np.flatnonzero(is_first))
    return np.asarray(holds[np.cumsum(is_first) - 1], np.bool_)
