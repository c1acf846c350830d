"""The figures of a run of `cache-bench`, with everything that is needed to judge them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from frame_cache_tools.bench.inputs import BenchCache, BenchVideos
from frame_cache_tools.bench.machine import Machine
from frame_cache_tools.bench.measure import BenchCase, LeftOut, Rounds, Spread
from frame_cache_tools.bench.report.break_even import BreakEven

from loader import SamplingSpec


@dataclass(frozen=True, kw_only=True)
class BenchRow:
    """One case with its figures; None where there is none."""

    case: BenchCase
    images_per_second: Spread | None
    ratio_to_usual: Spread | None
    ratio_to_limit: Spread | None
    seconds_to_first_batch: Spread | None
    peak_anonymous_bytes: int | None
    figures: dict[str, float]
    """Further figures by name: medians over the rounds."""
    failure: str | None
    no_time: str | None
    """Why it was never measured, where time was short."""
    rounds: tuple[dict[str, float], ...]
    """Of each round: its number, images, seconds, images per second, and whether it was cut off."""

    @property
    def num_cut(self) -> int:
        """Rounds that were cut off before they were whole."""
        return sum(bool(piece["cut_off"]) for piece in self.rounds)

    @property
    def seconds_to_first_batch_expected(self) -> float | None:
        """Of the usual loader, whose first batch outlasts a slice: the images made until then over its rate."""
        num_images = self.case.images_to_first_batch
        if num_images is None or self.images_per_second is None:
            return None
        return num_images / self.images_per_second.median

    def builtins(self) -> dict[str, Any]:
        """As plain JSON values."""
        case = self.case
        values: dict[str, Any] = {
            "name": case.name,
            "group": case.group,
            "cache": case.cache,
            "sampling": case.sampling,
            "augmented": case.augmented,
            "limit": case.limit,
            "effective_batch": case.effective_batch,
            "peak_anonymous_bytes": self.peak_anonymous_bytes,
            "figures": self.figures,
            "seconds_to_first_batch_expected": self.seconds_to_first_batch_expected,
            "failure": self.failure,
            "no_time": self.no_time,
            "rounds": list(self.rounds),
        }
        for name in ("images_per_second", "ratio_to_usual", "ratio_to_limit", "seconds_to_first_batch"):
            spread: Spread | None = getattr(self, name)
            values[name] = None if spread is None else spread.median
            values[f"{name}_smallest"] = None if spread is None else spread.smallest
            values[f"{name}_largest"] = None if spread is None else spread.largest
        return values


@dataclass(frozen=True, kw_only=True)
class BreakEvenRow:
    """When a cache has paid for itself, against one other way to get the frames."""

    cache: str
    cached_row: str
    other_row: str
    sums: BreakEven

    def builtins(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "cache": self.cache,
            "cached_row": self.cached_row,
            "other_row": self.other_row,
            **asdict(self.sums),
            "build_seconds": self.sums.build_seconds,
            "other_epoch_seconds": self.sums.other_epoch_seconds,
            "cached_epoch_seconds": self.sums.cached_epoch_seconds,
            "epochs_exactly": self.sums.epochs_exactly,
            "epochs": self.sums.epochs,
        }


@dataclass(frozen=True, kw_only=True)
class TimeUsed:
    """Seconds of the run's own clock."""

    budget_seconds: float | None
    """None for as long as it takes."""
    seconds: float
    """From the start until the report, the removal of temporary files included."""
    seconds_preparing: float
    """Of these, until the first measurement."""
    seconds_measuring: float


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """A whole run."""

    command: tuple[str, ...]
    date: str
    """ISO 8601, with the offset from UTC."""
    machine: Machine
    versions: dict[str, str]
    batch_size: int
    num_rounds: int
    interrupted: bool
    videos: BenchVideos | None
    caches: tuple[BenchCache, ...]
    usual_row: str | None
    """The fastest row of the usual loader, which ratios refer to."""
    rows: tuple[BenchRow, ...]
    break_even: tuple[BreakEvenRow, ...]
    left_out: tuple[LeftOut, ...]
    """What was asked for and has no row here; rows without time say so themselves."""
    time: TimeUsed
    notes: tuple[str, ...]

    @property
    def has_figures(self) -> bool:
        """Whether anything was measured."""
        return any(row.images_per_second is not None for row in self.rows)

    def builtins(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "command": list(self.command),
            "date": self.date,
            "machine": asdict(self.machine),
            "versions": self.versions,
            "batch_size": self.batch_size,
            "num_rounds": self.num_rounds,
            "interrupted": self.interrupted,
            "videos": None if self.videos is None else _videos_builtins(self.videos),
            "caches": [_cache_builtins(cache) for cache in self.caches],
            "usual_row": self.usual_row,
            "rows": [row.builtins() for row in self.rows],
            "break_even": [row.builtins() for row in self.break_even],
            "left_out": [asdict(each) for each in self.left_out],
            "time": asdict(self.time),
            "notes": list(self.notes),
        }


def make_rows(cases: Sequence[BenchCase], rounds: Rounds, *, usual_row: str | None) -> list[BenchRow]:
    """A row for each case, measured or not."""
    return [
        BenchRow(
            case=case,
            images_per_second=rounds.rate(case.name),
            ratio_to_usual=None if usual_row is None else rounds.ratio(case.name, usual_row),
            ratio_to_limit=None if case.limit is None else rounds.ratio(case.name, case.limit),
            seconds_to_first_batch=rounds.first_batch(case.name),
            peak_anonymous_bytes=rounds.peak_bytes(case.name),
            figures=rounds.figures(case.name),
            failure=rounds.failures.get(case.name),
            no_time=rounds.no_time.get(case.name),
            rounds=tuple(
                {
                    "round": number,
                    "images": piece.images,
                    "seconds": piece.seconds,
                    "images_per_second": piece.images_per_second,
                    "cut_off": piece.is_cut,
                }
                for number, piece in sorted(rounds.slices.get(case.name, {}).items())
            ),
        )
        for case in cases
    ]


def fastest_row(cases: Sequence[BenchCase], rounds: Rounds, group: str, *, prefix: str = "") -> str | None:
    """Name of the fastest measured case of a group; None where none was measured."""
    rates = {
        case.name: spread.median
        for case in cases
        if case.group == group and case.name.startswith(prefix)
        if (spread := rounds.rate(case.name)) is not None
    }
    return max(rates, key=rates.__getitem__, default=None)


def break_even_rows(
    cases: Sequence[BenchCase],
    rounds: Rounds,
    caches: Sequence[BenchCache],
    *,
    usual_row: str | None,
    num_frames: int,
) -> list[BreakEvenRow]:
    """Each cache by `permutation` against each live row of the same order, and against the usual loader.

    The usual loader augments, so a cache is augmented too where that was measured; the live rows do not.
    """
    rows = []
    plain = str(SamplingSpec())
    live = [case.name for case in cases if case.group == "live" and case.sampling == plain]
    for cache in caches:
        if cache.build_frames_per_second is None:
            continue
        of_cache = {
            case.augmented: case.name
            for case in cases
            if case.group == "cached" and case.cache == cache.name and case.sampling == plain
            if rounds.rate(case.name) is not None
        }
        if not of_cache:
            continue
        pairs = [(of_cache.get(False), other) for other in live]
        if usual_row is not None:
            pairs.append((of_cache.get(True, of_cache.get(False)), usual_row))
        for ours, other in pairs:
            cached_rate = None if ours is None else rounds.rate(ours)
            other_rate = rounds.rate(other)
            if ours is None or cached_rate is None or other_rate is None:
                continue
            rows.append(
                BreakEvenRow(
                    cache=cache.name,
                    cached_row=ours,
                    other_row=other,
                    sums=BreakEven(
                        num_frames=num_frames,
                        build_frames_per_second=cache.build_frames_per_second,
                        other_images_per_second=other_rate.median,
                        cached_images_per_second=cached_rate.median,
                    ),
                )
            )
    return rows


def _videos_builtins(videos: BenchVideos) -> dict[str, Any]:
    return {
        "folder": str(videos.folder),
        "num_videos": len(videos.paths),
        "num_passed_over": videos.num_passed_over,
        "num_files": videos.num_files,
        "num_frames": videos.num_frames,
        "num_videos_for_usual_loader": len(videos.servable),
        "scan_seconds": videos.scan_seconds,
    }


def _cache_builtins(cache: BenchCache) -> dict[str, Any]:
    return {
        "name": cache.name,
        "path": str(cache.path),
        "num_frames": cache.num_frames,
        "num_bytes": cache.num_bytes,
        "bytes_per_frame": cache.bytes_per_frame,
        "build_seconds": cache.build_seconds,
        "build_frames_per_second": cache.build_frames_per_second,
    }
