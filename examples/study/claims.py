"""What the figures say, in sentences that are computed from them. Nothing here is true of every data set."""

from collections.abc import Sequence
from typing import Any

import numpy as np

REFERENCE = "i.i.d."
STRATIFIED = ("stratified, time", "stratified, content")
PARTS = {
    "train": "the frames that it learns from",
    "other times": "later frames of the same videos",
    "other videos": "other videos",
}
_CLOSE = 0.05
"""A prediction counts as met within 5% or three standard errors."""


def half_interval(values: Sequence[float]) -> float:
    """Half the 95% interval of the mean of `values`, by Student's quantile (its expansion in 1 / (n - 1))."""
    freedom = len(values) - 1
    z = 1.959964
    quantile = (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )
    return quantile * float(np.std(values, ddof=1)) / len(values) ** 0.5


def verdict(differences: Sequence[float]) -> str:
    """`lower`, `higher` or `no difference seen`: whether the 95% interval of the mean difference holds 0."""
    mean, half = float(np.mean(differences)), half_interval(differences)
    if abs(mean) <= half:
        return "no difference seen"
    return "lower" if mean < 0 else "higher"


def is_biased(row: dict[str, float]) -> bool:
    """Whether a bias was measured that counts: above 0.02 sigma, and above what chance explains."""
    return row["bias"] > max(0.02, 2 * row["bias_error"])


def noise_claims(noise: dict[str, dict[str, dict[str, float]]], *, batch_size: int) -> list[str]:
    """About part (a): {features: {sampler: figures}}."""
    found = []
    met, total, worst = 0, 0, (0.0, "")
    for features, rows in noise.items():
        for sampler, row in rows.items():
            if row["predicted"] is None:
                continue
            total += 1
            off = abs(row["design_effect"] / row["predicted"] - 1)
            within = max(_CLOSE * row["predicted"], 3 * row["standard_error"])
            met += abs(row["design_effect"] - row["predicted"]) <= within
            worst = max(worst, (off, f"{sampler}, {features}"))
    found.append(
        f"Predicted and measured noise agree, within 5% or three standard errors, in {met} of {total} cases. "
        f"The largest difference is {worst[0]:.1%} ({worst[1]})."
    )
    for features, rows in noise.items():
        for sampler in STRATIFIED:
            if sampler in rows:
                effect = rows[sampler]["design_effect"]
                found.append(f"{features}: {_worth_text(sampler, effect, batch_size)}")
    biased = sorted({name for rows in noise.values() for name, row in rows.items() if is_biased(row)})
    found.append(
        f"A bias of more than 0.02 sigma was measured for: {', '.join(biased) if biased else 'no sampler'}."
    )
    return found


def _worth_text(sampler: str, effect: float, batch_size: int) -> str:
    worth = f"a batch of {batch_size} is worth {batch_size / effect:,.0f} independent frames"
    if effect < 1:
        return f"{sampler} leaves {effect:.3f} of the variance; {worth}."
    return f"{sampler} gains nothing: the variance is {effect:.2f} times that of independent frames; {worth}."


def shrinking_claims(noise: dict[str, dict[str, dict[str, float]]], tasks: dict[str, list[str]]) -> list[str]:
    """Whether the gain of stratified batches shrinks in training: `tasks` has the features of each stage."""
    found = []
    for task, stages in tasks.items():
        for sampler in STRATIFIED:
            effects = [noise[stage][sampler]["design_effect"] for stage in stages if sampler in noise[stage]]
            if not effects:
                continue
            change = (
                "shrinks"
                if effects[-1] > 1.1 * effects[0]
                else "grows"
                if effects[-1] < 0.9 * effects[0]
                else "stays"
            )
            left = " -> ".join(f"{effect:.3f}" for effect in effects)
            found.append(f"{task}, {sampler}: the gain {change} in training (variance left {left}).")
    return found


def training_claims(training: dict[str, Any]) -> list[str]:
    """About part (c): at how many step sizes stratified batches end with a lower loss than i.i.d. ones, or a higher."""
    found = []
    for start, run in training.items():
        for part, where in PARTS.items():
            last = run["last"][part]
            for sampler in STRATIFIED:
                if sampler not in last:
                    continue
                verdicts = [
                    verdict([a - b for a, b in zip(own, other, strict=True)])
                    for own, other in zip(last[sampler], last[REFERENCE], strict=True)
                ]
                lower, higher, steps = verdicts.count("lower"), verdicts.count("higher"), len(verdicts)
                if lower == steps:
                    gain = "gains at every step size"
                elif lower:
                    gain = f"gains at {lower} of {steps} step sizes"
                else:
                    gain = "does not gain"
                loss = f", and loses at {higher}" if higher else ""
                found.append(f"{start}, {where}: {sampler} {gain}{loss}.")
    return found
