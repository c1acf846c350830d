"""What a sampler's batches are worth on given data: the law, rho and the design effect that follows from both."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from frame_store.protocol import FrameStore
from loader import design_effect as formulas
from loader.clip_order import contiguous_video_sizes
from loader.epoch_order import epoch_order
from loader.errors import SamplingError
from loader.frame_orders import EpochOrder
from loader.rho_estimate import (
    DRAWS,
    FRAMES_PER_DRAW,
    ReadFeatures,
    RhoEstimate,
    Units,
    estimate_rho,
    rho_of_groups,
    units_of,
)
from loader.sampling_law import SamplingLaw
from loader.sampling_spec import Sampling, SamplingSpec

Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class BiasReport:
    """One sampler on one store."""

    law: SamplingLaw
    rho: RhoEstimate | None
    """Of the level this sampler's design effect stands on; None where it needs none, or none could be had."""
    design_effect: float | None
    """Variance of a batch's mean over that of B independent frames; None without rho."""
    design_effect_low: float | None
    design_effect_high: float | None
    """At the ends of rho's interval."""
    bias_of_proxy: float | None
    """Length of the bias over sigma, both of the proxy, exact over all frames; None where features are not given."""

    @property
    def effective_batch(self) -> float | None:
        """Independent frames that a batch is worth."""
        return self._worth(self.design_effect)

    @property
    def effective_batch_low(self) -> float | None:
        """The same at the upper end of the design effect's interval."""
        return self._worth(self.design_effect_high)

    @property
    def effective_batch_high(self) -> float | None:
        """The same at the lower end of the design effect's interval."""
        return self._worth(self.design_effect_low)

    def _worth(self, effect: float | None) -> float | None:
        if effect is None:
            return None
        return self.law.slots_per_batch / effect if effect > 0 else float("inf")


def make_report(
    law: SamplingLaw,
    spec: SamplingSpec,
    shard_sizes: npt.NDArray[np.int64],
    *,
    rho: RhoEstimate | None,
    features: Reals | None = None,
    shard_ids: npt.NDArray[np.int64] | None = None,
) -> BiasReport:
    """Put law and data together. `rho` is that of `rho_level(spec)`; `features` has a row a frame id, all frames."""
    ends: list[float | None] = [None] * 3
    if rho_level(spec) is None:
        ends = [_design_effect(law, spec, shard_sizes, 0.0)] * 3
    elif rho is not None:
        ends = [_design_effect(law, spec, shard_sizes, value) for value in (rho.rho, rho.low, rho.high)]
    bias = None
    if law.chi2 == 0:
        bias = 0.0
    elif features is not None and shard_ids is not None and law.shard_probability is not None:
        bias = bias_of_features(law, features, shard_ids)
    return BiasReport(
        law=law,
        rho=rho,
        design_effect=ends[0],
        design_effect_low=ends[1],
        design_effect_high=ends[2],
        bias_of_proxy=bias,
    )


def rho_level(spec: SamplingSpec) -> str | None:
    """What two slots of a batch may have in common under `spec`: `shard`, `clip`, `batch`, or None where nothing."""
    if spec.clip_frames is not None:
        return "clip" if spec.clip_frames > 1 else None
    return {"shards": "shard", "block": "shard", "sequential": "batch"}.get(spec.sampling)


def _design_effect(
    law: SamplingLaw, spec: SamplingSpec, shard_sizes: npt.NDArray[np.int64], rho: float
) -> float:
    slots = law.slots_per_batch
    held = shard_sizes[shard_sizes > 0]
    if spec.clip_frames is not None:
        return formulas.clip_design_effect(
            rho,
            clip_frames=spec.clip_frames,
            batch_size=slots // spec.clip_frames,
            num_windows=None if spec.with_replacement else law.num_windows,
        )
    if spec.sampling == "shards":
        if spec.frames_with_replacement:
            # Two slots of a visit may show one frame: the correlation ratio takes the place of rho.
            mean_size = float(held.mean())
            rho = (1 + (mean_size - 1) * rho) / mean_size
        return formulas.visit_design_effect(rho, frames_per_visit=law.slots_per_visit)
    if spec.sampling == "permutation":
        return formulas.permutation_design_effect(law.num_frames, batch_size=slots)
    if spec.sampling == "sequential":
        return formulas.visit_design_effect(rho, frames_per_visit=slots)
    if spec.sampling == "block":
        return stream_design_effect(law, held, rho)
    return 1.0


def stream_design_effect(law: SamplingLaw, shard_sizes: npt.NDArray[np.int64], rho: float) -> float:
    """1 + (B - 1) c(kappa); shards of any sizes stand for as many of the average size.

    Exact for equal shards whose frames lie in random order. Where neighbours are alike (`--layout video`) a block's
    first and last shard, of which it holds a part, count for a little too little: 5 to 12% of the design effect in
    the cases tried.
    """
    if len(shard_sizes) == 1:
        return formulas.permutation_design_effect(law.num_frames, batch_size=law.slots_per_batch)
    shard_size = max(2, round(float(shard_sizes.mean())))
    correlation = formulas.slot_correlation(
        law.kappa["shard"],
        max(rho, -1 / (shard_size - 1)),  # an estimate may fall below what is possible
        shard_size=shard_size,
        num_shards=len(shard_sizes),
    )
    return formulas.design_effect(correlation, batch_size=law.slots_per_batch)


def bias_of_features(law: SamplingLaw, features: Reals, shard_ids: npt.NDArray[np.int64]) -> float:
    """||sum_s (P_s - pi_s) mu_s|| / sigma, exact: features (N, D) of all frames, their shards (N,).

    Raises:
        SamplingError: a law under which the frames of a shard are not alike.
    """
    if law.shard_probability is None:
        raise SamplingError(f"{law.name}: the frames of a shard are not drawn alike")
    counts = np.bincount(shard_ids, minlength=len(law.shard_probability))
    centred = features - features.mean(axis=0)
    sigma = float(np.sqrt(np.square(centred).sum(axis=1).mean()))
    if sigma == 0:
        return 0.0
    weights = np.divide(
        law.shard_probability, counts, out=np.zeros_like(law.shard_probability), where=counts > 0
    )
    return float(np.linalg.norm(weights[shard_ids] @ centred)) / sigma


def estimate_for(
    spec: SamplingSpec,
    store: FrameStore,
    read_features: ReadFeatures,
    *,
    proxy: str,
    batch_size: int,
    draws: int = DRAWS,
    frames_per_draw: int = FRAMES_PER_DRAW,
    seed: int = 0,
) -> RhoEstimate | None:
    """Rho of the level that `spec` stands on, from a few frames of the store; None where it stands on none."""
    level = rho_level(spec)
    if level is None:
        return None
    if level == "clip":
        return _rho_of_clips(spec, store, read_features, proxy=proxy, draws=draws, seed=seed)
    if level == "batch":
        num_batches = max(1, len(store) // batch_size)
        units = Units(order=None, ends=np.arange(1, num_batches + 1) * min(batch_size, len(store)))
    else:
        units = units_of(store.index, "shard", frames_per_gop=np.ones(1))
    return estimate_rho(
        units,
        read_features,
        level=level,
        proxy=proxy,
        draws=draws,
        frames_per_draw=frames_per_draw,
        seed=seed,
    )


def _rho_of_clips(
    spec: SamplingSpec, store: FrameStore, read_features: ReadFeatures, *, proxy: str, draws: int, seed: int
) -> RhoEstimate | None:
    """The windows themselves are the groups: all of them where there are few, else independent uniform draws."""
    assert spec.clip_frames is not None  # spec asks for clips
    video_sizes = contiguous_video_sizes(store.index)

    def order_by(sampling: Sampling) -> EpochOrder:
        drawn = replace(spec, sampling=sampling)
        return epoch_order(store.shard_sizes, drawn, seed=seed, video_sizes=video_sizes)

    order = order_by("permutation")
    num_windows = len(order)
    if num_windows > draws:
        # The pair estimator compares independent draws (S40), whatever the order of an epoch.
        order = order_by("iid")
    frame_ids, places = np.unique(order.ids(0, min(draws, num_windows)), return_inverse=True)
    features = read_features(frame_ids)[places.reshape(-1)]
    clips = np.split(features, len(features) // spec.clip_frames)
    if num_windows > draws:
        return rho_of_groups(clips, level="clip", proxy=proxy, frames_per_draw=spec.clip_frames)
    try:
        rho = formulas.intraclass_correlation(clips)
    except SamplingError:  # all frames are alike: nothing varies
        return None
    return RhoEstimate(
        level="clip",
        proxy=proxy,
        rho=rho,
        low=rho,
        high=rho,
        num_draws=num_windows,
        frames_per_draw=spec.clip_frames,
    )
