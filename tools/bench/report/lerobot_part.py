"""The part of a report that compares with LeRobot's own reading."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from frame_cache_tools.bench.inputs import BenchCache
from frame_cache_tools.bench.lerobot import FRAMES, LIVE, SIZE, PreparedLeRobot, peer_row
from frame_cache_tools.bench.measure import BenchCase, Rounds, Spread
from frame_cache_tools.bench.report.break_even import BreakEven


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A row against a row of LeRobot's, each with its best number of workers."""

    row: str
    other_row: str
    ratio: Spread
    """Of the rates inside each round."""


@dataclass(frozen=True, kw_only=True)
class LeRobotPart:
    """What was compared, and the ratios."""

    dataset: str
    """The data set and its items, in words."""
    versions: dict[str, str]
    """Of LeRobot and what it reads with; empty where it was not measured."""
    comparisons: tuple[Comparison, ...]
    break_even: tuple[BreakEven, ...]
    notes: tuple[str, ...]

    @property
    def text(self) -> str:
        """The ratios as lines."""
        if not self.comparisons:
            return "LeRobot was not measured: there are no ratios to it"
        width = max(len(each.row) for each in self.comparisons)
        lines = ["Times LeRobot's own reading, each row with its best number of workers (smallest-largest)"]
        for each in self.comparisons:
            spread = f"{each.ratio.smallest:.3g}-{each.ratio.largest:.3g}"
            lines.append(f"{each.row:{width}} {each.ratio.median:8.3g} ({spread}) x {each.other_row}")
        return "\n".join(lines)

    def builtins(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "dataset": self.dataset,
            "versions": self.versions,
            "comparisons": [asdict(each) for each in self.comparisons],
        }


def compare_with_lerobot(
    prepared: PreparedLeRobot, cases: Sequence[BenchCase], rounds: Rounds, caches: Sequence[BenchCache]
) -> LeRobotPart:
    """Compare the best rows of each way to read with the best row of each of LeRobot's backends."""
    peer = prepared.peer
    names = [case.name for case in cases]
    others = [] if peer is None else [_best(names, rounds, peer_row(peer, each)) for each in peer.backends]
    ways = [f"{FRAMES}, {LIVE}, ", f"FrameLoader, {LIVE}, "]
    ways += [f"{kind}, {cache.name}" for cache in caches for kind in (FRAMES, "FrameLoader")]
    ours = [_best(names, rounds, way) for way in ways]
    comparisons = [
        Comparison(row=row, other_row=other, ratio=ratio)
        for row in ours
        for other in others
        if row is not None and other is not None and (ratio := rounds.ratio(row, other)) is not None
    ]
    return LeRobotPart(
        dataset=prepared.items.text,
        versions={} if peer is None else dict(peer.versions),
        comparisons=tuple(comparisons),
        break_even=tuple(_break_even(prepared, names, rounds, caches, others)),
        notes=tuple(_notes(prepared)),
    )


def _best(names: Sequence[str], rounds: Rounds, beginning: str) -> str | None:
    """The fastest measured row of those whose names begin so."""
    rates = {
        name: rate.median
        for name in names
        if name.startswith(beginning) and (rate := rounds.rate(name)) is not None
    }
    return max(rates, key=rates.__getitem__, default=None)


def _break_even(
    prepared: PreparedLeRobot,
    names: Sequence[str],
    rounds: Rounds,
    caches: Sequence[BenchCache],
    others: Sequence[str | None],
) -> list[BreakEven]:
    rows = []
    for cache in caches:
        ours = _best(names, rounds, f"{FRAMES}, {cache.name}")
        for other in [*others, _best(names, rounds, f"{FRAMES}, {LIVE}, ")]:
            if cache.build_frames_per_second is None or ours is None or other is None:
                continue
            our_rate, other_rate = rounds.rate(ours), rounds.rate(other)
            assert our_rate is not None and other_rate is not None  # `_best` names measured rows
            rows.append(
                BreakEven(
                    cache=cache.name,
                    cached_row=ours,
                    other_row=other,
                    num_frames=prepared.items.num_items * prepared.items.pictures,
                    build_frames_per_second=cache.build_frames_per_second,
                    other_images_per_second=other_rate.median,
                    cached_images_per_second=our_rate.median,
                )
            )
    return rows


def _notes(prepared: PreparedLeRobot) -> list[str]:
    height, width = SIZE
    notes = [
        prepared.items.text,
        f"images: pictures of all cameras, {height} x {width}. LeRobot resizes in its workers with torchvision's "
        f"v2.Resize(({height}, {width})); live rows and caches with resize=stretch. x usual: times the fastest row of "
        "LeRobot. LeRobot and LeRobotFrames give the same items, one permutation after another, as float32 in "
        "torch's DataLoader; FrameLoader gives uint8 in an order of its own, with the same windows.",
    ]
    if prepared.peer is not None:
        notes.append(prepared.peer.text)
        if any("stand-in" in backend for backend in prepared.peer.backends):
            notes.append(
                "pyav stand-in: LeRobot's own code for its backend pyav, on a reader of PyAV in place of "
                "torchvision.io.VideoReader, which this version of torchvision no longer has"
            )
    return notes
