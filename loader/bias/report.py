"""The report on one sampler and given data: its distribution, rho, and the design effect that follows from both."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from frame_store.notebook import facts_table, output
from loader.bias import design_effect as formulas
from loader.bias.checks import Integers, Reals
from loader.bias.distributions import SamplingLaw, WindowsOfVideos
from loader.bias.estimates import rho_level
from loader.bias.exact_design_effect import ExactEffect, exact_effect
from loader.bias.long_run import LongRun
from loader.bias.rho import Basis, RhoEstimate
from loader.bias.stretches import STRETCH
from loader.errors import SamplingError
from loader.sampling import SamplingSpec
from loader.sampling.orders import draws_again

EffectBasis: TypeAlias = Basis | Literal["bound", "approximate"]
"""What a design effect is computed from. `exact`: sizes, or every frame. The other values of `Basis`: a rho that is not
exact, by an exact formula. `bound`: a rho, by a formula that is not below the true value. `approximate`: a formula that
is not exact for this case."""

ROUNDING = 1e-12
"""A smaller design effect counts as 0: every batch has the same mean, up to rounding."""
NEEDS_RHO = "needs rho"
NEEDS_FEATURES = "needs features"
NOTHING_VARIES = "all frames are alike"
OF_INDEPENDENT_VISITS = "of independent visits; spread ones have at most that"


@dataclass(frozen=True, kw_only=True)
class BiasReport:
    """One sampler on one store. A batch is the global one, of all ranks together."""

    law: SamplingLaw
    rho: RhoEstimate | None
    """Rho of the level that this sampler needs (`rho_level`). None if it needs none, or if none is known."""
    design_effect: float | None
    """Variance of a batch's mean around its own expectation, over that of as many independent, uniform frames."""
    design_effect_low: float | None
    design_effect_high: float | None
    """The design effects at the ends of rho's interval."""
    basis: EffectBasis | None
    """What the design effect is computed from; None if there is no design effect."""
    why_not_exact: str | None
    """Why the design effect is approximate or a bound, or what is missing."""
    mean_square_effect: float | None
    """Mean square distance of a batch's mean from that of all frames, over the same variance. Without bias it is the
    design effect. None if it is not known exactly, and for windows."""
    bias_of_proxy: float | None
    """Length of the bias over sigma, both of the proxy and exact over all frames. None if features are not given."""
    long_run: LongRun | None = None
    """The design effect of many steps together (S43). None if it is not known."""

    @property
    def is_exact(self) -> bool:
        """Whether the design effect is exact for these frames, not for a sample, an assumption or an average cache."""
        return self.basis == "exact"

    @property
    def effective_batch(self) -> float | None:
        """The number of independent frames whose mean has the same variance as a batch's mean."""
        return self._effective_batch(self.design_effect)

    @property
    def effective_batch_low(self) -> float | None:
        """The same at the upper end of the design effect's interval."""
        return self._effective_batch(self.design_effect_high)

    @property
    def effective_batch_high(self) -> float | None:
        """The same at the lower end of the design effect's interval."""
        return self._effective_batch(self.design_effect_low)

    @property
    def effective_batch_with_bias(self) -> float | None:
        """The number of independent frames whose mean has the same `mean_square_effect`."""
        return self._effective_batch(self.mean_square_effect)

    @property
    def least_effective_batch(self) -> float | None:
        """A certain lower bound of the effective batch (at 95% if rho has an interval). None if none is known.

        It is the greater of `effective_batch_low`, unless that is approximate, and the law's floor, if proven.
        """
        known = []
        if self.effective_batch_low is not None and self.basis != "approximate":
            known.append(self.effective_batch_low)
        if self.law.floor_is_proven:
            known.append(self.law.effective_batch_floor)
        return max(known, default=None)

    def _effective_batch(self, effect: float | None) -> float | None:
        if effect is None:
            return None
        return self.law.slots_per_batch / effect if effect > ROUNDING else float("inf")

    def _repr_html_(self) -> str:
        """What IPython shows: the sampler's bias and variance in a table. Never raises."""
        return output(self, lambda: facts_table(self._facts()))

    def _facts(self) -> list[tuple[str, str | None]]:
        law, run = self.law, self.long_run
        noun = "frame" if law.num_windows is None else "window"
        effect = _with_interval(self.design_effect, self.design_effect_low, self.design_effect_high)
        return [
            ("sampler", law.name),
            ("frames", f"{law.num_frames:,}, {law.slots_per_batch:,} in a batch of all ranks"),
            (
                "chi2 of frames",
                f"{law.chi2:.3g}",
            ),
            ("why", law.because),
            ("bias of the mean", self._bias_text()),
            (
                f"{noun}s dropped, read again",
                f"{law.num_positions_dropped:,}, {law.num_positions_doubled:,} an epoch",
            ),
            ("design effect", self.why_not_exact if effect is None else f"{effect} ({self.basis})"),
            (
                "a batch is worth",
                _with_interval(
                    self.effective_batch,
                    self.effective_batch_low,
                    self.effective_batch_high,
                    "independent frames",
                ),
            ),
            ("at least", _with_interval(self.least_effective_batch, None, None, "independent frames")),
            (
                "many steps",
                None
                if run is None
                else _with_interval(
                    run.effective_batch,
                    run.effective_batch_low,
                    run.effective_batch_high,
                    f"independent frames a batch, where the noise of {run.horizon:g} steps adds up",
                ),
            ),
            (
                "rho",
                None if self.rho is None else f"{self.rho.rho:.3f} [{self.rho.low:.3f}, {self.rho.high:.3f}]",
            ),
            ("note", self.why_not_exact if effect is not None else None),
        ]

    def _bias_text(self) -> str:
        if self.bias_of_proxy is not None:
            return f"{self.bias_of_proxy:.3g} standard deviations of one frame"
        return (
            f"{np.sqrt(self.law.chi2):.3g} standard deviations of one frame at most" if self.law.chi2 else "0"
        )


def _with_interval(value: float | None, low: float | None, high: float | None, unit: str = "") -> str | None:
    if value is None:
        return None
    interval = "" if low is None or high is None or low == high else f" [{low:.4g}, {high:.4g}]"
    return f"{value:.4g}{interval}{f' {unit}' if unit else ''}"


def make_report(
    law: SamplingLaw,
    spec: SamplingSpec,
    shard_sizes: Integers,
    *,
    rho: RhoEstimate | None,
    features: Reals | None = None,
    windows: WindowsOfVideos | None = None,
    target: Reals | None = None,
    strata_ids: Integers | None = None,
) -> BiasReport:
    """Combine law and data.

    The report is exact if `features` has a row for each frame id, shape (N, D). Else it uses `rho`, which belongs to
    `rho_level(spec, windows)`. `windows` are those that the law is of. `target`, shape (N,), has the probability of
    each frame, where the law has weights; it is needed with `features`. `strata_ids`, shape (N,), has the frame ids in
    the order that `stratified` cuts into strata; None where ids are in that order.
    """
    bias = None
    if law.chi2 == 0:
        bias = 0.0
    elif features is not None and law.shard_probability is not None:
        shard_ids = np.repeat(np.arange(len(shard_sizes)), shard_sizes)
        bias = bias_of_features(law, features, shard_ids)
    from_sizes = _effect_of_sizes(law, spec, shard_sizes, windows)
    exact, nothing_varies = None, False
    if from_sizes is not None:
        exact = ExactEffect(design_effect=from_sizes, mean_square_effect=from_sizes)
    elif features is not None and not _is_more_than_an_epoch(law, spec):
        exact = exact_effect(
            law, spec, shard_sizes, features, windows=windows, target=target, strata_ids=strata_ids
        )
        # Without an exact effect, windows of a permutation or of draws do not vary.
        nothing_varies = exact is None and (
            law.weights is not None
            or rho_level(spec, windows) in {"clip", STRETCH}
            or not np.ptp(features, axis=0).any()
        )
    if exact is not None:
        return report_of_effects(
            law,
            [exact.design_effect, exact.low, exact.high],
            rho=rho,
            basis=_basis_of(exact),
            why=exact.why_not_exact,
            bias=bias,
            mean_square=exact.mean_square_effect,
        )
    why_not = NOTHING_VARIES if nothing_varies else _why_no_effect(law, spec, rho, windows)
    if why_not is not None:
        return report_of_effects(law, None, rho=rho, why=why_not, bias=bias)
    assert rho is not None  # without rho there is a reason, handled above
    effects = [
        _effect_of_rho(law, spec, shard_sizes, value, windows) for value in (rho.rho, rho.low, rho.high)
    ]
    approximation = None if windows is not None else _approximation(spec, shard_sizes)
    basis: EffectBasis = rho.basis if approximation is None else "approximate"
    if approximation is None and spec.has_spread_visits and law.slots_per_batch > law.slots_per_visit:
        basis, approximation = "bound", OF_INDEPENDENT_VISITS
    # The mean over frames is not the target of windows. For other samplings an exact rho gives an exact effect, and the
    # law is unbiased.
    mean_square = effects[0] if basis == "exact" and law.chi2_over_windows is None else None
    return report_of_effects(
        law, effects, rho=rho, basis=basis, why=approximation, bias=bias, mean_square=mean_square
    )


def _basis_of(exact: ExactEffect) -> EffectBasis:
    """`exact`, or a mean over some batches of an epoch: `sampled` if its standard error is known."""
    if exact.why_not_exact is None:
        return "exact"
    return "sampled" if exact.standard_error > 0 else "approximate"


def report_of_effects(
    law: SamplingLaw,
    effects: Sequence[float] | None,
    *,
    rho: RhoEstimate | None,
    basis: EffectBasis | None = None,
    why: str | None = None,
    bias: float | None,
    mean_square: float | None = None,
) -> BiasReport:
    """A report of the design effects at rho and at the ends of its interval. Negative effects become 0."""
    ends: list[float | None] = [None] * 3
    if effects is not None:
        possible = [max(0.0, effect) for effect in effects]
        ends = [possible[0], min(possible), max(possible)]
    return BiasReport(
        law=law,
        rho=rho,
        design_effect=ends[0],
        design_effect_low=ends[1],
        design_effect_high=ends[2],
        basis=basis,
        why_not_exact=why,
        mean_square_effect=mean_square,
        bias_of_proxy=bias,
    )


def _effect_of_sizes(
    law: SamplingLaw, spec: SamplingSpec, shard_sizes: Integers, windows: WindowsOfVideos | None
) -> float | None:
    """The design effect if it is the same for all data, else None."""
    if _is_more_than_an_epoch(law, spec):
        return None
    if rho_level(spec, windows) is None:
        if spec.with_replacement:
            return 1.0
        return formulas.permutation_design_effect(
            law.num_frames if law.num_windows is None else law.num_windows, batch_size=law.slots_per_batch
        )
    return None


def _is_more_than_an_epoch(law: SamplingLaw, spec: SamplingSpec) -> bool:
    """Whether `pad` makes a step of more positions than an epoch has, which shows frames twice."""
    num_positions = law.num_frames if law.num_windows is None else law.num_windows
    is_once = spec.sampling in {"permutation", "block", "stratified"} and not spec.with_replacement
    return is_once and law.slots_per_batch // law.slots_per_window > num_positions


def _why_no_effect(
    law: SamplingLaw, spec: SamplingSpec, rho: RhoEstimate | None, windows: WindowsOfVideos | None
) -> str | None:
    if _is_more_than_an_epoch(law, spec):
        return "a step is more than an epoch"
    if spec.sampling == "shards" and (law.chi2 > 0 or law.weights is not None):
        return NEEDS_FEATURES  # it needs the mean and variance of each shard; rho is not enough
    if rho_level(spec, windows) == STRETCH and (windows is not None or law.weights is not None):
        return NEEDS_FEATURES
    if rho_level(spec, windows) == "shard":
        if windows is not None:
            return NEEDS_FEATURES  # the rho of a shard's frames does not say how alike its windows are
        return NEEDS_RHO if rho is None else None
    # An assumed rho is the rho inside a shard.
    return NEEDS_FEATURES if rho is None or rho.basis == "assumed" else None


def _approximation(spec: SamplingSpec, shard_sizes: Integers) -> str | None:
    """Why the design effect from a rho is approximate; None if it is exact."""
    held = shard_sizes[shard_sizes > 0]
    is_equal = held.min() == held.max()
    if spec.sampling == "block":  # rho does not depend on which frames of a shard meet
        return "from rho, as for equal shards whose frames lie in random order"
    if spec.sampling == "shards" and not is_equal and draws_again(held, spec).any():
        return "from rho, as if it held inside every shard"
    return None


def _effect_of_rho(
    law: SamplingLaw, spec: SamplingSpec, shard_sizes: Integers, rho: float, windows: WindowsOfVideos | None
) -> float:
    slots = law.slots_per_batch
    held = shard_sizes[shard_sizes > 0]
    if rho_level(spec, windows) == STRETCH:
        return 1 - rho
    if windows is not None:
        return formulas.clip_design_effect(
            rho,
            clip_frames=law.slots_per_window,
            batch_size=slots // law.slots_per_window,
            num_windows=None if spec.with_replacement else law.num_windows,
        )
    if spec.sampling == "shards":
        # Where two slots of a visit may show one frame, eta^2 takes the place of rho (S22).
        rho = formulas.visit_correlation_on_shards(rho, held, draws_again(held, spec))
        return formulas.visit_design_effect(rho, frames_per_visit=law.slots_per_visit)
    if spec.sampling == "sequential":
        return formulas.visit_design_effect(rho, frames_per_visit=slots)
    return stream_design_effect(law, held, rho)


def stream_design_effect(law: SamplingLaw, shard_sizes: Integers, rho: float) -> float:
    """1 + (B - 1) c(kappa), where every shard is treated as one of the average size.

    It is exact for equal shards whose frames lie in random order, in the mean over those orders. If neighbours are
    alike (`--layout video`), it undercounts a block's first and last shard, because the block holds only a part of
    them: the result was 5 to 12% too small in the cases tried. With shards of 3 to 390 frames it was 19% too large.
    """
    if len(shard_sizes) == 1:
        return formulas.permutation_design_effect(law.num_frames, batch_size=law.slots_per_batch)
    shard_size = max(2.0, float(shard_sizes.mean()))
    correlation = formulas.slot_correlation(
        law.kappa["shard"],
        max(rho, -1 / (shard_size - 1)),  # unequal shards can have a smaller rho than equal ones
        shard_size=shard_size,
        num_shards=len(shard_sizes),
    )
    return formulas.design_effect(correlation, batch_size=law.slots_per_batch)


def bias_of_features(law: SamplingLaw, features: Reals, shard_ids: Integers) -> float:
    """||sum_s (P_s - pi_s) mu_s|| / sigma, exact: features (N, D) of all frames, their shards (N,).

    Raises:
        SamplingError: under this law the frames of a shard are not equally likely.
    """
    if law.shard_probability is None:
        raise SamplingError(f"{law.name}: the frames of a shard are not equally likely")
    counts = np.bincount(shard_ids, minlength=len(law.shard_probability))
    centred = features - features.mean(axis=0)
    sigma = float(np.sqrt(np.square(centred).sum(axis=1).mean()))
    if sigma == 0:
        return 0.0
    weights = np.divide(
        law.shard_probability, counts, out=np.zeros_like(law.shard_probability), where=counts > 0
    )
    return float(np.linalg.norm(weights[shard_ids] @ centred)) / sigma
