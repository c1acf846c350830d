"""Which way to the long-run design effect a sampler has: a formula, or simulated orders."""

from dataclasses import dataclass

from loader.bias.long_run.closed import check_horizon, periodic_long_run, permutation_long_run
from loader.bias.long_run.draws import Draws
from loader.bias.long_run.simulated import batch_means, simulated_long_run
from loader.sampling import BatchPlan

ROUNDING = 1e-12
"""A smaller design effect counts as 0."""


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """The noise that adds up over about H steps, over that of as many independent frames (S43)."""

    effect: float
    """B v / sigma^2, with v = gamma_0 + 2 sum_j (1 - 1/H)^j gamma_j and gamma_j the covariance of batch means j apart."""
    standard_error: float
    """Of `effect`, over the simulated orders; 0 if it is exact."""
    horizon: float
    """H, in steps."""
    num_orders: int
    """Simulated orders; 0 if a formula gives the effect."""
    slots_per_batch: int
    """Frames of a batch, B; of windows, the frames that they show."""

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
    independent: float | None = None,
) -> LongRun | None:
    """The long-run design effect of the batches of `plan`, which has one rank: a global batch is a batch of it.

    None if it depends on the data and these are not known, or if all frames are alike.

    Args:
        plan: what is drawn. Each position of it draws as `draws` says in the mean, but for `sequential`.
        draws: what a position draws; None if no features are known.
        horizon: H, 1 or more.
        slots_per_window: T.
        independent: the design effect of a batch, if the batches of the plan are independent of each other.

    Raises:
        SamplingError: a horizon below 1.
    """
    check_horizon(horizon)

    def found(effect: float, standard_error: float = 0.0, num_orders: int = 0) -> LongRun:
        return LongRun(
            effect=effect,
            standard_error=standard_error,
            horizon=horizon,
            num_orders=num_orders,
            slots_per_batch=plan.batch_size * slots_per_window,
        )

    if independent is not None:
        return found(independent)
    if draws is not None and not draws.differ:
        return None
    per_draw = 1.0  # the variance of a draw, over what stands for sigma^2
    if slots_per_window > 1:
        if draws is None:
            return None
        per_draw = draws.variance / draws.reference
    if plan.spec.sampling == "iid":
        return found(per_draw)
    if plan.spec.sampling == "permutation":
        return found(per_draw * _of_permutation(plan, horizon))
    if draws is None:
        return None
    scale = plan.batch_size / draws.reference
    if plan.spec.sampling == "sequential":
        return found(scale * periodic_long_run(batch_means(plan, draws.centred, 0), horizon=horizon))
    simulated = simulated_long_run(plan, draws, horizon=horizon)
    return found(scale * simulated.noise, scale * simulated.standard_error, simulated.num_orders)


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
