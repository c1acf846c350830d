"""What the project's own functions predict for a sampler, from the features of all frames (loader/bias/SAMPLING.md)."""

import warnings
from dataclasses import dataclass

import numpy as np

from frame_store.protocol import FrameStore
from loader import SamplingSpec
from loader.bias import BiasReport, Draws, long_run_effect, make_report, sampling_law
from loader.sampling import BatchPlan
from loader.sampling.orders import StratumOrder
from study.noise import Reals
from study.samplers import NAIVE_SPEC, StudySampler, ids_by_video, sizes_of_videos


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The predicted mean of a batch."""

    design_effect: float
    """Variance of the batch's mean, over that of independent, uniform frames."""
    bias: float
    """Distance of its expectation from the mean of all frames, over sigma."""


def predicted_noise(
    sampler: StudySampler, store: FrameStore, features: Reals, *, batch_size: int
) -> Prediction | None:
    """Of a batch of `batch_size` frames; None if the project has no formula. `features` has shape (N, D), mean 0."""
    report, _ = _report(sampler, store, features, batch_size=batch_size)
    if report.design_effect is None:
        return None
    return Prediction(design_effect=report.design_effect, bias=report.bias_of_proxy or 0.0)


def predicted_long_run(
    sampler: StudySampler, store: FrameStore, features: Reals, *, batch_size: int, horizons: list[float]
) -> list[float | None]:
    """The long-run design effect (S43) over each of `horizons`, in steps."""
    report, plan = _report(sampler, store, features, batch_size=batch_size)
    draws = Draws.of(_by_place(sampler, store, features))
    of_batch = report.design_effect if sampler.by_video else None
    found = [long_run_effect(plan, draws, horizon=horizon, of_batch=of_batch) for horizon in horizons]
    return [None if run is None else run.effect for run in found]


def _report(
    sampler: StudySampler, store: FrameStore, features: Reals, *, batch_size: int
) -> tuple[BiasReport, BatchPlan]:
    spec = NAIVE_SPEC if sampler.by_video else SamplingSpec(**sampler.options)
    sizes = sizes_of_videos(store) if sampler.by_video else np.asarray(store.shard_sizes)
    strata = strata_ids = None
    if spec.sampling == "stratified":
        strata = StratumOrder(store, sampler.options["strata"])
        strata_ids = strata.ids_at(np.arange(len(strata)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the bias of the naive way, which the study shows
        law = sampling_law(sizes, spec, batch_size=batch_size)
        plan = BatchPlan(
            sizes, spec, batch_size=batch_size, seed=0, remainder=None, rank=0, world_size=1, strata=strata
        )
    seen = _by_place(sampler, store, features)
    report = make_report(law, spec, sizes, rho=None, features=seen, strata_ids=strata_ids)
    return report, plan


def _by_place(sampler: StudySampler, store: FrameStore, features: Reals) -> Reals:
    """Rows in the order of the ids that the sampler's plan draws."""
    return features[ids_by_video(store)] if sampler.by_video else features
