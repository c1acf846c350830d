"""The rows of `cache-bias`: samplers over one subject, as reports, as text and as plain values."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from frame_cache_tools.bias.cases import BiasSubject

from loader import SamplingError, SamplingSpec
from loader.bias import (
    DRAWS,
    BiasReport,
    ReadFeatures,
    RhoEstimate,
    estimate_for,
    estimate_rho,
    make_report,
    rho_level,
    rho_of_all,
    rho_of_shuffled_frames,
    sampling_law,
    thumbnails,
    units_of,
    units_of_batches,
)
from loader.bias.webdataset import WebDatasetSpec, webdataset_report
from loader.sampling import Remainder
from loader.sampling.orders import contiguous_video_sizes, short_videos

Reals = npt.NDArray[np.float64]
LEVELS = ("gop", "video", "shard")
MAX_FRAMES_READ = 20_000
"""Up to here thumbnails of all frames are read and every figure is exact; beyond, rho is estimated from a few."""


class ShortVideo(NamedTuple):
    """A video that holds no whole clip."""

    name: str
    num_frames: int


class BiasTable:
    """Reports on one subject; frames are read once, and what rho costs beside that is paid once a level."""

    def __init__(
        self,
        subject: BiasSubject,
        *,
        batch_size: int,
        world_size: int = 1,
        remainder: Remainder | None = None,
        features: Reals | None = None,
        features_name: str = "",
        assumed_rho: float | None = None,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> None:
        self.subject = subject
        self.batch_size = batch_size
        self.world_size = world_size
        self._remainder = remainder
        self._features = features
        self._assumed_rho = assumed_rho
        self._draws = draws
        self._seed = seed
        self._read: ReadFeatures | None = None
        self._proxy = ""
        if features is not None:
            self._read, self._proxy = features.__getitem__, features_name
        elif subject.store is not None and assumed_rho is None:  # who assumes a rho wants no pixel read
            self._read, self._proxy = thumbnails(subject.store), "thumbnails 16x16"
        self._rho: dict[object, RhoEstimate | None] = {}

    def report(self, spec: SamplingSpec | WebDatasetSpec) -> BiasReport:
        """One row.

        Raises:
            SamplingError: what the loader would refuse of this subject.
        """
        sizes = self.subject.shard_sizes
        if isinstance(spec, WebDatasetSpec):
            return webdataset_report(
                sizes, spec, batch_size=self.batch_size, world_size=self.world_size, rho=self._shard_rho()
            )
        video_sizes = self._video_sizes(spec)
        law = sampling_law(
            sizes,
            spec,
            batch_size=self.batch_size,
            world_size=self.world_size,
            remainder=self._remainder,
            video_sizes=video_sizes,
        )
        features = self._all_features() if rho_level(spec) is not None else None
        rho = self._rho_for(spec, global_batch=law.slots_per_batch // (spec.clip_frames or 1))
        return make_report(law, spec, sizes, rho=rho, features=features, video_sizes=video_sizes)

    def short_videos(self, spec: SamplingSpec | WebDatasetSpec) -> list[ShortVideo]:
        """The videos that `spec` never shows, as they hold no whole clip; none where single frames are drawn.

        Raises:
            SamplingError: nobody knows where the subject's videos begin, and clips are drawn.
        """
        if isinstance(spec, WebDatasetSpec) or spec.clip_frames is None:
            return []
        sizes = self._video_sizes(spec)
        assert sizes is not None  # clips are drawn
        names = self.subject.video_names or [f"video {row}" for row in range(len(sizes))]
        rows = short_videos(sizes, clip_frames=spec.clip_frames, stride=spec.clip_stride).tolist()
        return [ShortVideo(names[row], int(sizes[row])) for row in rows]

    def _video_sizes(self, spec: SamplingSpec) -> npt.NDArray[np.int64] | None:
        subject = self.subject
        if spec.clip_frames is None or subject.video_sizes is not None:
            return subject.video_sizes
        if subject.store is None:
            raise SamplingError(
                f"{subject.name}: nobody knows where its videos begin, and clips need it; ask about a cache of "
                "--layout video, or a folder of videos"
            )
        return contiguous_video_sizes(subject.store)  # refuses a shuffled cache, and says what helps

    def levels(self) -> list[RhoEstimate]:
        """Rho of GOPs, videos and shards, where there are pixels or features to tell."""
        if self.subject.store is None or self._read is None:
            return []
        found = [self._rho_of_level(level) for level in LEVELS]
        return [estimate for estimate in found if estimate is not None]

    def _all_features(self) -> Reals | None:
        """A row for every frame: those given, or thumbnails of caches that are read in a few seconds."""
        if self._features is None and self._read is not None and self.subject.num_frames <= MAX_FRAMES_READ:
            self._features = self._read(np.arange(self.subject.num_frames))
        return self._features

    def _rho_for(self, spec: SamplingSpec, *, global_batch: int) -> RhoEstimate | None:
        """Rho of the level that `spec` stands on: exact, else of a shuffled build, else from a few frames."""
        level = rho_level(spec)
        if level is None:
            return None
        if level == "shard":
            return self._shard_rho()
        features = self._all_features()
        if level == "batch" and features is None and self._is_shuffled:
            return rho_of_shuffled_frames(
                units_of_batches(self.subject.num_frames, global_batch).sizes, level=level
            )
        if self.subject.store is None or self._read is None:
            return None
        key = (level, spec.clip_frames, spec.clip_stride, global_batch)
        if key not in self._rho:
            self._rho[key] = estimate_for(
                spec,
                self.subject.store,
                self._read,
                proxy=self._proxy,
                batch_size=global_batch,
                features=features,
                draws=self._draws,
                seed=self._seed,
            )
        return self._rho[key]

    @property
    def _is_shuffled(self) -> bool:
        return self.subject.layout == "shuffled" and self._assumed_rho is None

    def _shard_rho(self) -> RhoEstimate | None:
        if self._assumed_rho is not None:
            return _assumed(self._assumed_rho)
        if self._is_shuffled and self._all_features() is None:
            return rho_of_shuffled_frames(self.subject.shard_sizes, level="shard")
        return self._rho_of_level("shard") if self.subject.store is not None else None

    def _rho_of_level(self, level: Any) -> RhoEstimate | None:  # noqa: ANN401 - one of LEVELS
        store = self.subject.store
        assert store is not None and self._read is not None  # callers checked
        if level not in self._rho:
            units = units_of(store, level, frames_per_gop=_frames_per_gop(self.subject))
            features = self._all_features()
            if features is not None:
                self._rho[level] = rho_of_all(units, features, level=level, proxy=self._proxy)
            else:
                self._rho[level] = estimate_rho(
                    units, self._read, level=level, proxy=self._proxy, draws=self._draws, seed=self._seed
                )
        return self._rho[level]


def _assumed(rho: float) -> RhoEstimate:
    return RhoEstimate(
        level="shard",
        proxy="assumed (--rho)",
        rho=rho,
        low=rho,
        high=rho,
        num_draws=0,
        frames_per_draw=0,
        basis="assumed",
    )


def _frames_per_gop(subject: BiasSubject) -> Reals:
    assert subject.store is not None
    lengths = []
    for video in subject.store.manifest.videos:
        keyframes = video.facts.get("num_keyframes") or 1
        lengths.append((video.num_packets or 1) / keyframes)
    return np.array(lengths)


def candidates(subject: BiasSubject, *, batch_size: int) -> list[SamplingSpec | WebDatasetSpec]:
    """The samplers worth a look, each as far as the subject's shards allow it."""
    sizes = subject.shard_sizes[subject.shard_sizes > 0]
    specs: list[SamplingSpec | WebDatasetSpec] = [
        SamplingSpec(sampling="permutation"),
        SamplingSpec(sampling="iid"),
    ]
    smallest = int(sizes.min())
    few = largest_divisor(batch_size, at_most=min(8, smallest))
    many = largest_divisor(batch_size, at_most=smallest)
    specs += [
        SamplingSpec(sampling="block", shards_per_block=blocks) for blocks in (4, 16) if blocks < len(sizes)
    ]
    specs += [SamplingSpec(sampling="shards", frames_per_visit=m) for m in sorted({few, many})]
    specs.append(  # what people write first: one shard, a batch of it
        SamplingSpec(
            sampling="shards",
            frames_per_visit=batch_size,
            shard_choice="uniform",
            frames_with_replacement=smallest < batch_size,
        )
    )
    specs.append(WebDatasetSpec(shuffle_buffer=1000))
    specs.append(SamplingSpec(sampling="sequential"))
    return specs


def largest_divisor(number: int, *, at_most: int) -> int:
    """The largest divisor of `number` that is at most `at_most`.

    >>> largest_divisor(128, at_most=100)
    64
    """
    return max(divisor for divisor in range(1, min(number, at_most) + 1) if number % divisor == 0)


def report_builtins(report: BiasReport, short: Sequence[ShortVideo]) -> dict[str, Any]:
    """One row as plain JSON values; `short` are the videos of `BiasTable.short_videos`."""
    values = asdict(report)
    law = values["law"]
    del law["shard_probability"]  # one number a shard: `--json` stays small
    law["target"] = report.law.target
    law["short_videos"] = [video._asdict() for video in short]
    law["bias_at_most_in_sigma"] = float(np.sqrt(report.law.chi2))
    law["worst_design_effect"] = report.law.worst_design_effect
    law["effective_batch_floor"] = report.law.effective_batch_floor
    law["floor_is_proven"] = report.law.floor_is_proven
    for name in (
        "is_exact",
        "effective_batch",
        "effective_batch_low",
        "effective_batch_high",
        "effective_batch_with_bias",
        "least_effective_batch",
    ):
        values[name] = getattr(report, name)
    return values
