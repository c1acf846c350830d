"""The rows of `cache-bias`: a report for each sampler on one case."""

import warnings
from dataclasses import replace
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from frame_cache_tools.bias.cases import BiasCase
from frame_cache_tools.bias.views import frames_per_gop

from frame_store import View
from frame_store.growth import joined_shard_sizes
from loader import SamplingError, SamplingSpec, Weights
from loader.bias import (
    DRAWS,
    BiasReport,
    Draws,
    Level,
    LongRun,
    ReadFeatures,
    Reals,
    RhoEstimate,
    SamplingLaw,
    Units,
    WindowsOfVideos,
    camera_of_pixels,
    estimate_for,
    estimate_rho,
    long_run_effect,
    make_report,
    offsets_of,
    rho_level,
    rho_of_all,
    rho_of_shuffled_frames,
    sampling_law,
    thumbnails,
    units_of,
    units_of_batches,
)
from loader.bias.webdataset import WebDatasetSpec, webdataset_report
from loader.sampling import BatchOptions, BatchPlan, Remainder
from loader.sampling.orders import ShortShards, StratumOrder, WeightedFrames
from loader.windows import WindowSpec, plan_windows, span_of

LEVELS: Final[tuple[Level, ...]] = ("gop", "video", "shard")
HORIZON: Final = 100
"""Steps over which the noise of batches adds up, if nothing else is asked for."""
MAX_FRAMES_READ = 20_000
"""Up to this number thumbnails of all frames are read, and figures are exact. Above it, rho is estimated from a few."""


class ShortVideo(NamedTuple):
    """A video that holds no whole window."""

    name: str
    num_frames: int


class BiasTable:
    """Makes the reports on one case. Frames are read once, and rho is computed once for each level."""

    def __init__(
        self,
        case: BiasCase,
        *,
        batch_size: int,
        windows: WindowSpec | None = None,
        weights: Weights | None = None,
        world_size: int = 1,
        remainder: Remainder | None = None,
        features: Reals | None = None,
        features_name: str = "",
        assumed_rho: float | None = None,
        draws: int = DRAWS,
        seed: int = 0,
        horizon: float = HORIZON,
        max_frames_read: int | None = None,
    ) -> None:
        self.case = case
        self.batch_size = batch_size
        self.world_size = world_size
        self.windows = windows
        """What is shown around the frames that the samplers of ours draw; None for the frames alone."""
        self.weights = weights
        """How often the samplers of ours draw each video; None for every frame alike."""
        self._frames: WeightedFrames | None = None
        self._target: Reals | None = None
        self.remainder = remainder
        self._features = features
        self._assumed_rho = assumed_rho
        self._num_draws, self._seed = draws, seed
        self._drawn: Draws | None = None
        self.horizon = horizon
        """Steps over which the noise of batches adds up, in the long-run figures."""
        self._max_frames_read = MAX_FRAMES_READ if max_frames_read is None else max_frames_read
        self._read: ReadFeatures | None = None
        self.proxy = ""
        """The quantity that design effects are of: thumbnails, or the name of the features. Empty if it is assumed."""
        if features is not None:
            self._read, self.proxy = features.__getitem__, features_name
        elif case.store is not None and assumed_rho is None:  # with an assumed rho no pixels are read
            camera = camera_of_pixels(case.store, case.camera)
            self._read = thumbnails(case.store, camera=camera)
            self.proxy = "thumbnails 16x16" + ("" if camera is None else f" of camera {camera!r}")
        self._rho: dict[object, RhoEstimate | None] = {}

    def report(self, spec: SamplingSpec | WebDatasetSpec, *, with_long_run: bool = True) -> BiasReport:
        """One row; figures over many steps may be left out, since they may take seconds.

        Raises:
            SamplingError: the loader would refuse `spec` on this case.
        """
        sizes = self.case.shard_sizes
        if isinstance(spec, WebDatasetSpec):
            return webdataset_report(
                sizes, spec, batch_size=self.batch_size, world_size=self.world_size, rho=self._shard_rho()
            )
        windows = self._windows()
        frames, target = None, None
        if self.weights is not None:
            replace(spec, weights="given")  # refuses samplings that have no weights
            frames = self._weighted_frames()
            spec = replace(spec, weights=frames.weights.label)
        law = sampling_law(
            sizes,
            spec,
            batch_size=self.batch_size,
            world_size=self.world_size,
            remainder=self.remainder,
            windows=windows,
            short_shards=self._short_shards,
            frames=frames,
        )
        features = self._all_features() if rho_level(spec, windows) is not None else None
        rho = self._rho_for(spec, windows, global_batch=law.slots_per_batch // law.slots_per_window)
        if frames is not None and features is not None:
            target = self._target = frames.probabilities() if self._target is None else self._target
        report = make_report(
            law,
            spec,
            sizes,
            rho=rho,
            features=features,
            windows=windows,
            target=target,
            strata_ids=self._strata_ids(spec) if features is not None else None,
        )
        return replace(report, long_run=self._long_run(spec, report)) if with_long_run else report

    @property
    def _short_shards(self) -> ShortShards:
        return "replace" if isinstance(self.case.store, View) or self.case.has_grown else "refuse"

    def report_if_joined(self, spec: SamplingSpec) -> BiasReport | None:
        """`shards` or `block` after `cache-compact --all`, which keeps the ids and cuts other shards (S73).

        None where there is one generation, where no pixels are read, or where there would be too few shards.
        """
        store, read = self.case.store, self._read
        sizes = None if store is None else joined_shard_sizes(store)
        if sizes is None or read is None:
            return None
        sizes, features = sizes[sizes > 0], self._all_features()
        units = Units(order=None, ends=np.cumsum(sizes))
        if features is not None:
            rho = rho_of_all(units, features, level="shard", proxy=self.proxy)
        else:
            rho = estimate_rho(
                units, read, level="shard", proxy=self.proxy, draws=self._num_draws, seed=self._seed
            )
        try:
            return self._report_of_shards(spec, sizes, rho=rho, features=features)
        except SamplingError:  # longer blocks than the joined cache has shards
            return None

    def report_if_shuffled(self, spec: SamplingSpec) -> BiasReport:
        """`shards` or `block` over as many frames in such shards, if one build had shuffled them: 95% of its seeds."""
        sizes = self.case.shard_sizes
        return self._report_of_shards(
            spec, sizes, rho=rho_of_shuffled_frames(sizes, level="shard"), features=None
        )

    def report_by_content(self, spec: SamplingSpec, order: npt.NDArray[np.int64]) -> BiasReport:
        """`stratified` over all frames, which are read, by that order."""
        law = sampling_law(
            self.case.shard_sizes,
            spec,
            batch_size=self.batch_size,
            world_size=self.world_size,
            remainder=self.remainder,
        )
        return make_report(
            law, spec, self.case.shard_sizes, rho=None, features=self._all_features(), strata_ids=order
        )

    def _report_of_shards(
        self,
        spec: SamplingSpec,
        sizes: npt.NDArray[np.int64],
        *,
        rho: RhoEstimate | None,
        features: Reals | None,
    ) -> BiasReport:
        law = sampling_law(
            sizes,
            spec,
            batch_size=self.batch_size,
            world_size=self.world_size,
            remainder=self.remainder,
            short_shards=self._short_shards,
        )
        return make_report(law, spec, sizes, rho=rho, features=features)

    def _long_run(self, spec: SamplingSpec, report: BiasReport) -> LongRun | None:
        law = report.law
        positions = law.num_positions_read
        if self.world_size > 1 and positions % (law.slots_per_batch // law.slots_per_window):
            return None  # the last step has batches of different sizes on the ranks
        is_known = report.basis in {"exact", "sampled", "builds", "bound", "assumed"}
        return long_run_effect(
            self._plan(spec, law),
            self._draws(),
            horizon=self.horizon,
            slots_per_window=law.slots_per_window,
            of_batch=report.design_effect_high if is_known else None,
        )

    def _draws(self) -> Draws | None:
        if self._drawn is None and (features := self._all_features()) is not None:
            target = None
            if self.weights is not None:
                target = self._target = (
                    self._weighted_frames().probabilities() if self._target is None else self._target
                )
            self._drawn = Draws.of(features, windows=self._windows(), target=target)
        return self._drawn

    def _plan(self, spec: SamplingSpec, law: SamplingLaw) -> BatchPlan:
        """The loader's plan of the global batches, as of one rank."""
        batch_size = law.slots_per_batch // law.slots_per_window
        if self.case.store is None:
            return BatchPlan(
                self.case.shard_sizes,
                spec,
                batch_size=batch_size,
                seed=self._seed,
                remainder=self.remainder,
                rank=0,
                world_size=1,
            )
        options: dict[str, Any] = {
            **{name: value for name, value in spec.to_builtins().items() if value is not None},
            "weights": self.weights,
            "batch_size": batch_size,
            "seed": self._seed,
            "remainder": self.remainder,
            "rank": 0,
            "world_size": 1,
        } | ({} if self.windows is None else self.windows.options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about biased or short visits, which the report shows
            return plan_windows("cache-bias", self.case.store, cast("BatchOptions", options)).plan

    def _strata(self, spec: SamplingSpec) -> StratumOrder | None:
        """The order that `spec` cuts into strata; None for other samplings, and for a case without a store."""
        if spec.sampling != "stratified" or self.case.store is None:
            return None
        return StratumOrder(self.case.store, "time" if spec.strata == "time" else "content")

    def _strata_ids(self, spec: SamplingSpec) -> npt.NDArray[np.int64] | None:
        strata = self._strata(spec)
        return None if strata is None else strata.ids_at(np.arange(len(strata)))

    def _weighted_frames(self) -> WeightedFrames:
        assert self.case.store is not None and self.weights is not None  # the flags were checked
        if self._frames is None:
            self._frames = WeightedFrames(self.case.store, self.weights)
        return self._frames

    def short_videos(self, spec: SamplingSpec | WebDatasetSpec) -> list[ShortVideo]:
        """The videos that `spec` never shows because they hold no whole window; empty for single frames.

        Raises:
            SamplingError: windows are shown, and it is not known where the videos of the case begin.
        """
        windows = None if isinstance(spec, WebDatasetSpec) else self._windows()
        if windows is None or windows.spec.edges == "pad":
            return []
        sizes = windows.video_sizes
        names = self.case.video_names or [f"video {row}" for row in range(len(sizes))]
        before, after = span_of(offsets_of(windows.spec))
        rows = np.flatnonzero((sizes > 0) & (sizes <= before + after)).tolist()
        return [ShortVideo(names[row], int(sizes[row])) for row in rows]

    def _windows(self) -> WindowsOfVideos | None:
        case = self.case
        if self.windows is None:
            return None
        if case.video_sizes is None:
            raise SamplingError(
                f"{case.name}: it is not known where its videos begin, and windows need that; give a cache, or a "
                f"folder of videos"
            )
        return WindowsOfVideos(spec=self.windows, video_sizes=case.video_sizes, source_ids=case.source_ids)

    def levels(self) -> list[RhoEstimate]:
        """Rho of GOPs, videos and shards; empty if there are neither pixels nor features."""
        if self.case.store is None or self._read is None:
            return []
        found = [self._rho_of_level(level) for level in LEVELS]
        return [estimate for estimate in found if estimate is not None]

    def _all_features(self) -> Reals | None:
        """A row for every frame: the given features, or thumbnails of a cache that is read in a few seconds."""
        if (
            self._features is None
            and self._read is not None
            and self.case.num_frames <= self._max_frames_read
        ):
            self._features = self._read(np.arange(self.case.num_frames))
        return self._features

    def _rho_for(
        self, spec: SamplingSpec, windows: WindowsOfVideos | None, *, global_batch: int
    ) -> RhoEstimate | None:
        """Rho of the level that `spec` needs: exact, else of a shuffled build, else from a few frames."""
        level = rho_level(spec, windows)
        if level is None or (windows is not None and level != "clip"):
            return None
        if level == "shard":
            return self._shard_rho()
        features = self._all_features()
        if level == "batch" and features is None and self._is_shuffled:
            return rho_of_shuffled_frames(
                units_of_batches(self.case.num_frames, global_batch).sizes, level=level
            )
        if self.case.store is None or self._read is None:
            return None
        key = (level, self.windows and str(self.windows), global_batch, spec.strata)
        if key not in self._rho:
            strata = self._strata(spec)
            self._rho[key] = estimate_for(
                spec,
                self.case.store,
                self._read,
                proxy=self.proxy,
                batch_size=global_batch,
                windows=windows,
                features=features,
                strata_ids_at=None if strata is None else strata.ids_at,
                draws=self._num_draws,
                seed=self._seed,
            )
        return self._rho[key]

    @property
    def _is_shuffled(self) -> bool:
        return self.case.layout == "shuffled" and not self.case.has_grown and self._assumed_rho is None

    def _shard_rho(self) -> RhoEstimate | None:
        if self._assumed_rho is not None:
            return _assumed(self._assumed_rho)
        if self._is_shuffled and self._all_features() is None:
            return rho_of_shuffled_frames(self.case.shard_sizes, level="shard")
        return self._rho_of_level("shard") if self.case.store is not None else None

    def _rho_of_level(self, level: Level) -> RhoEstimate | None:
        store = self.case.store
        assert store is not None and self._read is not None  # callers checked
        if level not in self._rho:
            units = units_of(store, level, frames_per_gop=np.array(frames_per_gop(store)))
            features = self._all_features()
            if features is not None:
                self._rho[level] = rho_of_all(units, features, level=level, proxy=self.proxy)
            else:
                self._rho[level] = estimate_rho(
                    units, self._read, level=level, proxy=self.proxy, draws=self._num_draws, seed=self._seed
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
