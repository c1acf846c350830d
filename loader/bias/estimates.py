"""What a sampling needs to know of the data, exact if all frames were read, else estimated from a few of them."""

import numpy as np

from frame_store.protocol import FrameStore
from loader.bias.checks import Reals
from loader.bias.distributions import WindowCoverage, WindowsOfVideos, offsets_of
from loader.bias.exact_design_effect import window_correlation
from loader.bias.pixels import ReadFeatures
from loader.bias.rho import (
    DRAWS,
    FRAMES_PER_DRAW,
    RhoEstimate,
    Units,
    estimate_rho,
    rho_of_all,
    rho_of_groups,
    units_of,
)
from loader.bias.stretches import STRETCH, IdsAt, rho_of_stretches
from loader.sampling import SamplingSpec
from loader.sampling.orders import epoch_order


def rho_level(spec: SamplingSpec, windows: WindowsOfVideos | None = None) -> str | None:
    """What two slots of a batch may share under `spec`: `shard`, `clip` (a window), `batch`, or None.

    For `stratified` it is what they do *not* share, `stretch`; see `rho_of_stretches`.
    """
    if windows is not None and spec.sampling in {"permutation", "iid"}:
        return "clip" if len(offsets_of(windows.spec)) > 1 else None
    return {"shards": "shard", "block": "shard", "sequential": "batch", "stratified": STRETCH}.get(
        spec.sampling
    )


def estimate_for(
    spec: SamplingSpec,
    store: FrameStore,
    read_features: ReadFeatures,
    *,
    proxy: str,
    batch_size: int,
    windows: WindowsOfVideos | None = None,
    features: Reals | None = None,
    strata_ids_at: IdsAt | None = None,
    draws: int = DRAWS,
    frames_per_draw: int = FRAMES_PER_DRAW,
    seed: int = 0,
) -> RhoEstimate | None:
    """Rho of the level that `spec` needs, or None if it needs none.

    It is exact if `features` has all frames. Else it is estimated from a few frames of the store. `batch_size` is that
    of the global batch. `strata_ids_at` gives the frame ids at places of the order that `stratified` cuts into strata;
    None where ids are in that order. There is no estimate of `stratified` under weights or for windows, and none is
    needed if `features` is given.
    """
    level = rho_level(spec, windows)
    is_estimated = windows is None and spec.weights is None and features is None
    if level is None or (level == STRETCH and not is_estimated):
        return None
    if level == STRETCH:
        return rho_of_stretches(
            len(store),
            read_features,
            ids_at=strata_ids_at,
            proxy=proxy,
            batch_size=batch_size,
            draws=draws,
            frames_per_draw=frames_per_draw,
            seed=seed,
        )
    if windows is not None:  # how alike the windows of a shard are follows from all features alone
        return (
            _rho_of_windows(windows, read_features, proxy=proxy, features=features, draws=draws, seed=seed)
            if level == "clip"
            else None
        )
    if level == "batch":
        units = units_of_batches(len(store), batch_size)
    else:
        units = units_of(store, "shard", frames_per_gop=np.ones(1))
    if features is not None:
        return rho_of_all(units, features, level=level, proxy=proxy)
    return estimate_rho(
        units,
        read_features,
        level=level,
        proxy=proxy,
        draws=draws,
        frames_per_draw=frames_per_draw,
        seed=seed,
    )


def units_of_batches(num_frames: int, batch_size: int) -> Units:
    """The whole batches of the order on disk."""
    num_batches = max(1, num_frames // batch_size)
    return Units(order=None, ends=np.arange(1, num_batches + 1) * min(batch_size, num_frames))


def _rho_of_windows(
    windows: WindowsOfVideos,
    read_features: ReadFeatures,
    *,
    proxy: str,
    features: Reals | None,
    draws: int,
    seed: int,
) -> RhoEstimate | None:
    """The groups are windows: all of them if features are given, else independent, uniform draws."""
    num_windows = WindowCoverage.of(windows.video_sizes, windows.spec).num_windows
    slots = len(offsets_of(windows.spec))
    if features is not None:
        rho = window_correlation(features, windows)
        if rho is None:  # all frames are alike
            return None
        return RhoEstimate(
            level="clip",
            proxy=proxy,
            rho=rho,
            low=rho,
            high=rho,
            num_draws=num_windows,
            frames_per_draw=slots,
            basis="exact",
        )
    # The pair estimator needs independent draws (S40), not the order of an epoch.
    draws = min(draws, num_windows)
    numbers = epoch_order([num_windows], SamplingSpec(sampling="iid"), seed=seed).ids(0, draws)
    frame_ids, places = np.unique(windows.frame_ids(numbers), return_inverse=True)
    drawn = read_features(frame_ids)[places.reshape(-1)]
    return rho_of_groups(
        np.split(drawn, draws),
        level="clip",
        proxy=proxy,
        frames_per_draw=slots,
        least=-1 / (slots - 1),
    )
