"""After how many epochs a cache has paid for the time of its build.

With b the seconds of the build, l the seconds of an epoch decoded live and c those of an epoch from the cache, the
cache is ahead after the first whole number of epochs n with b + n c <= n l, which is n = ceil(b / (l - c)).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from frame_cache_tools.bench.inputs import BenchCache
from frame_cache_tools.bench.measure import BenchCase, Rounds

from loader import SamplingSpec


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """The cost of a cache and its saving per epoch, against one other way to get the frames.

    Raises:
        ValueError: a count or a rate is not above 0 and finite.
    """

    cache: str
    cached_row: str
    other_row: str
    num_frames: int
    """Frames in an epoch, and in the cache that would serve it."""
    build_frames_per_second: float
    other_images_per_second: float
    cached_images_per_second: float

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in vars(self).items():
            if not isinstance(value, str) and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be above 0 and finite, found {value}")

    @property
    def build_seconds(self) -> float:
        """Time to build the cache of all frames."""
        return self.num_frames / self.build_frames_per_second

    @property
    def other_epoch_seconds(self) -> float:
        """Time of an epoch the other way."""
        return self.num_frames / self.other_images_per_second

    @property
    def cached_epoch_seconds(self) -> float:
        """Time of an epoch from the cache."""
        return self.num_frames / self.cached_images_per_second

    @property
    def epochs_exactly(self) -> float | None:
        """b / (l - c), which does not depend on the number of frames; None where an epoch saves nothing."""
        saved = 1 / self.other_images_per_second - 1 / self.cached_images_per_second
        return 1 / self.build_frames_per_second / saved if saved > 0 else None

    @property
    def epochs(self) -> int | None:
        """Whole epochs after which build and cached epochs together took no longer; None for never.

        >>> BreakEven(cache="a", cached_row="b", other_row="c", num_frames=9, build_frames_per_second=100,
        ...           other_images_per_second=12, cached_images_per_second=4000).epochs
        1
        """
        exactly = self.epochs_exactly
        # An exact whole number may come out a rounding error above itself.
        return None if exactly is None else max(1, math.ceil(exactly * (1 - 1e-12)))

    def builtins(self) -> dict[str, Any]:
        """As plain JSON values."""
        computed = (
            "build_seconds",
            "other_epoch_seconds",
            "cached_epoch_seconds",
            "epochs_exactly",
            "epochs",
        )
        return asdict(self) | {name: getattr(self, name) for name in computed}


def break_even_rows(
    cases: Sequence[BenchCase],
    rounds: Rounds,
    caches: Sequence[BenchCache],
    *,
    usual_row: str | None,
    num_frames: int,
) -> list[BreakEven]:
    """Each cache by `permutation` against each live row of the same order, and against the usual loader.

    The usual loader augments, so its comparison takes the cache's augmented row where that was measured. Live rows do
    not augment.
    """
    rows = []
    rates = {case.name: rate.median for case in cases if (rate := rounds.rate(case.name)) is not None}
    plain = [case for case in cases if case.sampling == str(SamplingSpec()) and case.name in rates]
    live = [case.name for case in plain if case.group == "live"]
    for cache in caches:
        cached = {
            case.augmented: case.name for case in plain if case.group == "cached" and case.cache == cache.name
        }
        pairs = [(cached.get(False), other) for other in live]
        pairs += [(cached.get(True, cached.get(False)), usual_row)] if usual_row is not None else []
        for ours, other in pairs:
            if cache.build_frames_per_second is None or ours is None or other not in rates:
                continue
            rows.append(
                BreakEven(
                    cache=cache.name,
                    cached_row=ours,
                    other_row=other,
                    num_frames=num_frames,
                    build_frames_per_second=cache.build_frames_per_second,
                    other_images_per_second=rates[other],
                    cached_images_per_second=rates[ours],
                )
            )
    return rows
