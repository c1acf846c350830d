"""The report of a run of `cache-bench`, as values."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from frame_cache_tools.bench.inputs import BenchCache, BenchVideos
from frame_cache_tools.bench.machine import Machine
from frame_cache_tools.bench.measure import BenchCase, LeftOut, Rounds, Spread
from frame_cache_tools.bench.report.break_even import BreakEven
from frame_cache_tools.bench.report.lerobot_part import LeRobotPart


@dataclass(frozen=True, kw_only=True)
class BenchRow:
    """A case with its results. A result that was not measured is None."""

    case: BenchCase
    images_per_second: Spread | None
    ratio_to_usual: Spread | None
    ratio_to_limit: Spread | None
    seconds_to_first_batch: Spread | None
    peak_anonymous_bytes: int | None
    figures: dict[str, float]
    """Additional figures by name: medians over the rounds."""
    failure: str | None
    no_time: str | None
    """Why it was not measured, where time was short."""
    rounds: tuple[dict[str, float], ...]
    """For each round: its number, images, seconds, images per second, and whether it was cut off."""

    @property
    def num_cut(self) -> int:
        """Number of rounds that were cut off."""
        return sum(bool(piece["cut_off"]) for piece in self.rounds)

    @property
    def seconds_to_first_batch_expected(self) -> float | None:
        """For the usual loader, whose first batch outlasts a slice: the images made until then over its rate."""
        num_images = self.case.images_to_first_batch
        if num_images is None or self.images_per_second is None:
            return None
        return num_images / self.images_per_second.median

    def builtins(self) -> dict[str, Any]:
        """As plain JSON values."""
        of_case = ("name", "group", "cache", "sampling", "augmented", "limit", "effective_batch")
        of_row = (
            "peak_anonymous_bytes",
            "figures",
            "seconds_to_first_batch_expected",
            "failure",
            "no_time",
            "rounds",
        )
        values = {name: getattr(self.case, name) for name in of_case}
        values |= {name: getattr(self, name) for name in of_row}
        for name in ("images_per_second", "ratio_to_usual", "ratio_to_limit", "seconds_to_first_batch"):
            spread: Spread | None = getattr(self, name)
            values[name] = None if spread is None else spread.median
            values[f"{name}_smallest"] = None if spread is None else spread.smallest
            values[f"{name}_largest"] = None if spread is None else spread.largest
        return values


@dataclass(frozen=True, kw_only=True)
class TimeUsed:
    """How long the run and its parts took."""

    budget_seconds: float | None
    """None for no limit."""
    seconds: float
    """From the start until the report, including the removal of temporary files."""
    seconds_preparing: float
    """Until the first measurement."""
    seconds_measuring: float


@dataclass(frozen=True, kw_only=True)
class BenchReport:
    """The results of a whole run."""

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
    """The fastest row of the usual loader, with which the others are compared."""
    rows: tuple[BenchRow, ...]
    break_even: tuple[BreakEven, ...]
    lerobot: LeRobotPart | None
    """The ratios to LeRobot's own reading, with `--lerobot`."""
    left_out: tuple[LeftOut, ...]
    """Rows that were asked for and are missing from `rows`. Rows without time are in `rows`, with the reason."""
    time: TimeUsed
    notes: tuple[str, ...]

    @property
    def has_figures(self) -> bool:
        """Whether anything was measured."""
        return any(row.images_per_second is not None for row in self.rows)

    def builtins(self) -> dict[str, Any]:
        """As plain JSON values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return plain | {
            "machine": asdict(self.machine),
            "videos": None if self.videos is None else _videos_builtins(self.videos),
            "caches": [_cache_builtins(cache) for cache in self.caches],
            "rows": [row.builtins() for row in self.rows],
            "break_even": [row.builtins() for row in self.break_even],
            "lerobot": None if self.lerobot is None else self.lerobot.builtins(),
            "left_out": [asdict(each) for each in self.left_out],
            "time": asdict(self.time),
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
    names = ("name", "num_frames", "num_bytes", "bytes_per_frame", "build_seconds", "build_frames_per_second")
    return {"path": str(cache.path)} | {name: getattr(cache, name) for name in names}
