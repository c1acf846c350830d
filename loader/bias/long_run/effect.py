"""Which way to the long-run design effect a sampler has: a formula, or simulated orders."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from loader.bias.long_run.closed import (
    check_horizon,
    long_run_of_runs,
    periodic_long_run,
    permutation_long_run,
)
from loader.bias.long_run.draws import Draws
from loader.bias.long_run.simulated import Simulated, batch_means, simulated_long_run
from loader.bias.nested import is_power_of_two, mixed_design_effect, shares_left
from loader.sampling import BatchPlan

ROUNDING = 1e-12
"""A smaller design effect counts as 0."""


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """The noise that adds up over about H steps, over that of as many independent frames (S43)."""

    effect: float
    """B v / sigma^2: v = gamma_0 + 2 sum_j (1 - 1/H)^j gamma_j, gamma_j the covariance of batch means j steps apart."""
    standard_error: float
    """Of `effect`, over the simulated orders; 0 if it is exact."""
    horizon: float
    """H, in steps."""
    num_orders: int
    """Simulated orders; 0 if a formula gives the effect."""
    slots_per_batch: int
    """Frames of a batch, B; of windows, the frames that they show."""
    is_bound: bool = False
    """Whether `effect` is an upper bound: that of one batch of a sampler that spreads its batches."""
    is_approximate: bool = False
    """Whether the bound is proven for other numbers of frames, powers of two, and approximate for this one."""

    @property
    def effective_batch(self) -> float:
        """sigma^2 / v: the independent frames that a batch is worth, where the noise of H steps adds up."""
        return self._worth(self.effect)

    @property
    def effective_batch_low(self) -> float:
        """The same at the upper end of the effect's 95% interval over the simulated orders."""
        return self._worth(self.effect + self._reach)

    @property
    def effective_batch_high(self) -> float:
        """The same at the lower end."""
        return self._worth(self.effect - self._reach)

    @property
    def _reach(self) -> float:
        if not self.num_orders:
            return 0.0
        # Student's quantile, by the first term of Fisher and Cornish.
        return self.standard_error * (1.96 + (1.96**3 + 1.96) / (4 * (self.num_orders - 1)))

    def _worth(self, effect: float) -> float:
        return self.slots_per_batch / effect if effect > ROUNDING else float("inf")


def long_run_effect(
    plan: BatchPlan,
    draws: Draws | None,
    *,
    horizon: float,
    slots_per_window: int = 1,
    of_batch: float | None = None,
) -> LongRun | None:
    """The long-run design effect of the batches of `plan`, which has one rank: a global batch is a batch of it.

    None if it depends on the data and these are not known, or if all frames are alike.

    Args:
        plan: what is drawn. Each position of it draws as `draws` says in the mean, but for `sequential` and shards
            that are drawn alike.
        draws: what a position draws; None if no features are known.
        horizon: H, 1 or more.
        slots_per_window: T.
        of_batch: the design effect of one batch, or an upper bound of it. It is that of many steps where batches are
            independent, and a bound where they are spread.

    Raises:
        SamplingError: a horizon below 1.
    """
    check_horizon(horizon)
    if draws is not None and not draws.differ:
        return None
    found = _from_options(plan, draws, horizon, slots_per_window, of_batch)
    if found is None and draws is not None and not _is_of_one_batch(plan):
        found = _from_draws(plan, draws, horizon)
    if found is None:
        return None
    effect, simulated, is_bound = found
    return LongRun(
        effect=effect,
        standard_error=0.0 if simulated is None else effect * simulated.relative_error,
        horizon=horizon,
        num_orders=0 if simulated is None else simulated.num_orders,
        slots_per_batch=plan.batch_size * slots_per_window,
        is_bound=is_bound,
        is_approximate=is_bound and plan.spec.sampling == "stratified" and not _is_exact_mixture(plan),
    )


_Found: TypeAlias = tuple[float, Simulated | None, bool]
"""The effect, what it is simulated by, and whether it is a bound."""


def _from_options(
    plan: BatchPlan, draws: Draws | None, horizon: float, slots_per_window: int, of_batch: float | None
) -> _Found | None:
    """What follows from the options, or from the design effect of one batch."""
    spec = plan.spec
    if spec.sampling in {"iid", "permutation"}:
        effect = 1.0 if spec.sampling == "iid" else _of_permutation(plan, horizon)
        if slots_per_window > 1:
            if draws is None:
                return None
            effect *= draws.variance / draws.reference
        return effect, None, False
    if of_batch is not None and _is_of_one_batch(plan):
        return of_batch, None, False
    is_spread = spec.sampling in {"stratified", "shards"} and spec.shard_choice == "proportional"
    return (of_batch, None, True) if draws is None and is_spread and of_batch is not None else None


def _from_draws(plan: BatchPlan, draws: Draws, horizon: float) -> _Found:
    """What follows from all features."""
    scale = plan.batch_size / draws.reference
    if plan.spec.sampling == "sequential":
        return scale * periodic_long_run(batch_means(plan, draws.centred, 0), horizon=horizon), None, False
    if plan.spec.sampling == "stratified" and _is_exact_mixture(plan):
        return _of_mixture(plan, draws, horizon) * draws.variance / draws.reference, None, False
    simulated = simulated_long_run(plan, draws, horizon=horizon)
    return scale * simulated.noise, simulated, False


def _is_of_one_batch(plan: BatchPlan) -> bool:
    """Whether batches are independent, and do not draw every frame alike: shards that are drawn alike."""
    return plan.spec.sampling == "shards" and plan.spec.shard_choice == "uniform"


def _is_exact_mixture(plan: BatchPlan) -> bool:
    """Whether every run of whole batches has the variance of (S64)."""
    is_whole = plan.num_positions % plan.batch_size == 0 or plan.num_positions_dropped > 0
    return plan.frames is None and is_power_of_two(plan.num_positions) and is_whole


def _of_mixture(plan: BatchPlan, draws: Draws, horizon: float) -> float:
    """By the shares of the variance that are left inside stretches of 2^m places (S64)."""
    num_places = plan.num_positions
    in_order = draws.centred
    if plan.strata is not None:
        in_order = in_order[plan.strata.ids_at(np.arange(num_places))]
    shares = shares_left(in_order, num_levels=num_places.bit_length() - 1)
    return long_run_of_runs(
        lambda batches: mixed_design_effect(shares, num_positions=batches * plan.batch_size),
        num_steps=len(plan),
        horizon=horizon,
    )


def _of_permutation(plan: BatchPlan, horizon: float) -> float:
    short = plan.num_positions % plan.batch_size
    ends_short = short and not plan.num_positions_dropped and not plan.num_positions_doubled
    return permutation_long_run(
        plan.num_positions,
        batch_size=plan.batch_size,
        num_steps=len(plan),
        horizon=horizon,
        last_batch=short if ends_short else None,
        doubled=plan.num_positions_doubled,
    )
