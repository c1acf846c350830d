"""After how many epochs a cache has paid for the time it took to build: arithmetic alone.

With b the seconds to build, l the seconds of an epoch decoded live and c those of an epoch from the cache, the
cache is ahead after the first whole number of epochs n with b + n c <= n l, which is n = ceil(b / (l - c)).
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """What building a cache costs and what each epoch from it saves, against one other way to get the frames.

    Raises:
        ValueError: a count or a rate that is not above 0 and finite.
    """

    num_frames: int
    """Frames in an epoch, and in the cache that would serve it."""
    build_frames_per_second: float
    other_images_per_second: float
    cached_images_per_second: float

    def __post_init__(self) -> None:
        """Refuse what no measurement gives."""
        for name, value in vars(self).items():
            if not (value > 0 and math.isfinite(value)):
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

        >>> BreakEven(num_frames=9, build_frames_per_second=100, other_images_per_second=12,
        ...           cached_images_per_second=4000).epochs
        1
        """
        exactly = self.epochs_exactly
        # An exact whole number may come out a rounding error above itself.
        return None if exactly is None else max(1, math.ceil(exactly * (1 - 1e-12)))
