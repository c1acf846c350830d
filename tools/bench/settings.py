"""The settings of `cache-bench`. This module imports little, so that a wrong command ends at once."""

import math
from dataclasses import dataclass
from pathlib import Path

from cache_builder.errors import ConfigError
from frame_store.remote import RemoteUrl

NUM_COPIES = 200
_LEAST_BUDGET_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True)
class SampleSize:
    """The sample videos in place of the user's: plain H.264 with a keyframe every 30 frames."""

    num_videos: int
    num_frames: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """The settings of a run.

    Raises:
        ConfigError: a number is out of range.
    """

    videos: Path | None = None
    caches: tuple[Path, ...] = ()
    lerobot: Path | None = None
    """A LeRobot data set: the rows are those of `lerobot/`, and no others."""
    lerobot_python: Path | None = None
    """The interpreter that has LeRobot; None for this one."""
    delta_timestamps: str | None = None
    """JSON: the windows of LeRobot's items; None for a usual policy's."""
    url: RemoteUrl | None = None
    """A cache in an object store: the rows are those of `remote/`, with those of `caches` beside them."""
    folder_bytes: int | None = None
    """With `url`: bound of the folder; None for half of the cache, or more where it has few shards."""
    work: Path | None = None
    """Folder where videos and caches are made and kept; None for a temporary folder."""
    only: tuple[str, ...] = ()
    is_quick: bool = False
    budget_seconds: float = math.inf
    """The whole run ends within these; rows without time are left out."""
    num_rounds: int = 3
    seconds: float = 0.6
    seconds_per_row: float = 45.0
    batch_size: int = 128
    num_copies: int = NUM_COPIES
    cache_frames: int = 2400
    usual_images: int = 60
    usual_workers: tuple[int, ...] = ()
    """Empty: 10, one a CPU and two a CPU; with `lerobot` 0, 1, 2, 4 ... within the CPUs."""
    lookahead_batches: int = 32
    lookahead_bytes: int = 2_500_000_000
    most_video_bytes: int | None = None
    """Videos after these are left out; None for no limit."""
    sample: SampleSize = SampleSize(num_videos=8, num_frames=90, width=1920, height=1080)

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in (
            "num_rounds",
            "batch_size",
            "num_copies",
            "cache_frames",
            "usual_images",
            "lookahead_batches",
            "lookahead_bytes",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{_flag(name)} must be 1 or more, found {getattr(self, name)}")
        for name in ("seconds", "seconds_per_row"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"--{_flag(name)} must be above 0, found {getattr(self, name)}")
        if not self.budget_seconds >= _LEAST_BUDGET_SECONDS:
            raise ConfigError(
                f"--budget must be {_LEAST_BUDGET_SECONDS:.0f} s or more, found {self.budget_seconds:g}: "
                "the imports of torch alone take seconds"
            )
        least = 1 if self.lerobot is None else 0
        if any(number < least for number in self.usual_workers):
            raise ConfigError(f"--usual-workers must be {least} or more each, found {self.usual_workers}")
        self._check_lerobot()
        self._check_url()
        for place in () if self.work is None else (self.work, *self.work.parents):
            if place.exists() and not place.is_dir():
                raise ConfigError(f"--work {self.work}: {place} is a file, expected a folder")

    def _check_url(self) -> None:
        if self.url is None:
            if self.folder_bytes is not None:
                raise ConfigError("--folder-bytes is for --url URL")
            return
        if self.folder_bytes is not None and self.folder_bytes < 1:
            raise ConfigError(f"--folder-bytes must be 1 or more, found {self.folder_bytes}")
        for name, given in (("--videos", self.videos), ("--lerobot", self.lerobot)):
            if given:
                raise ConfigError(f"--url measures that cache, and --cache beside it: leave out {name}")

    def _check_lerobot(self) -> None:
        if self.lerobot is not None:
            for name, given in (("--videos", self.videos), ("--cache", self.caches)):
                if given:
                    raise ConfigError(f"--lerobot measures that data set alone: leave out {name}")
            return
        for name, value in (
            ("lerobot-python", self.lerobot_python),
            ("delta-timestamps", self.delta_timestamps),
        ):
            if value is not None:
                raise ConfigError(f"--{name} is for --lerobot ROOT")


LEROBOT = {"batch_size": 32, "seconds_per_row": 240.0}
"""The changes of `--lerobot`."""

QUICK = {
    "is_quick": True,
    "budget_seconds": 120.0,
    "seconds": 0.3,
    "seconds_per_row": 20.0,
    "batch_size": 32,
    "num_copies": 20,
    "cache_frames": 640,
    "usual_images": 20,
    "lookahead_batches": 8,
    "most_video_bytes": 100_000_000,
    "sample": SampleSize(num_videos=4, num_frames=60, width=640, height=360),
}
"""The changes of `--quick`."""


def _flag(name: str) -> str:
    """The name of its option."""
    short = {"num_rounds": "rounds", "num_copies": "copies"}
    return short.get(name, "lookahead" if name == "lookahead_batches" else name.replace("_", "-"))
