"""The sampler that `cache-bias --plan` picks, for given speeds and effective batches."""

import dataclasses

import numpy as np
import pytest
from frame_cache_tools.bias.plan import MeasuredSampler, pick_sampler, plan_text

from loader import SamplingError, SamplingSpec
from loader.bias import LongRun
from loader.bias.report import report_of_effects
from loader.bias.rho import RhoEstimate
from tests.support.statistics.laws import law_of

SIZES = np.array([50] * 32)
PERMUTATION = {"sampling": "permutation"}
IID = {"sampling": "iid"}
BLOCK = {"sampling": "block", "shards_per_block": 16}
VISITS = {"sampling": "shards", "frames_per_visit": 8}


def measured(options, *, effective, speed, over=None, error=0.0, ends=None, case="cache"):
    """A sampler whose batches of 32 are worth `effective` frames each, in an interval of `ends`, and `over` 100 steps.

    `over` None: many steps are worth as much. "unknown": what they are worth is not known.
    """
    law = dataclasses.replace(law_of(SIZES, batch_size=32, **options), name=str(SamplingSpec(**options)))
    low, high = ends or (effective, effective)
    rho = RhoEstimate(level="shard", proxy="", rho=0, low=0, high=0, num_draws=9, frames_per_draw=6)
    report = report_of_effects(law, [32 / effective, 32 / high, 32 / low], rho=rho, basis="sampled", bias=0.0)
    if over != "unknown":
        effect = 32 / (effective if over is None else over)
        run = LongRun(
            effect=effect,
            standard_error=error * effect,
            horizon=100,
            num_orders=128 if error else 0,
            slots_per_batch=32,
        )
        report = dataclasses.replace(report, long_run=run)
    return MeasuredSampler(
        case_name=case,
        layout="shuffled",
        name=options["sampling"],
        report=report,
        frames_per_second=speed,
        slowest=0.9 * speed,
        fastest=1.1 * speed,
    )


def picked(rows, demand=4000.0):
    best, why = pick_sampler(rows, demand=demand)
    return best.report.law.name, why


def test_what_many_steps_are_worth_decides_and_not_one_batch():
    rows = [
        measured(BLOCK, effective=60.0, over=20.0, speed=98_000),
        measured(PERMUTATION, effective=32.7, over=200.0, speed=82_000),
        measured(IID, effective=32.0, speed=99_000),
        measured(VISITS, effective=8.0, speed=200_000),
    ]
    name, why = picked(rows)
    assert name == "sampling=permutation"
    assert "4 of 4 samplers are unbiased" in why and "200.0 independent frames over 100 steps" in why
    assert "iid follows with 32.0" in why
    assert picked(rows[::-1])[0] == "sampling=permutation"  # for any order of the rows
    stratified = measured({"sampling": "stratified"}, effective=2000, over=9000.0, speed=5000)
    name, why = picked([*rows, stratified])
    assert name == "sampling=stratified" and "permutation follows with 200.0" in why
    assert picked([*rows, stratified], demand=6000)[0] == "sampling=permutation"  # the other is too slow


def test_a_sampler_that_is_worth_more_beats_a_plainer_one_and_an_equal_one_does_not():
    rows = [measured(PERMUTATION, effective=32.7, speed=3000), measured(IID, effective=20, speed=9000)]
    rows += [measured(VISITS, effective=30.0, speed=5000), measured(BLOCK, effective=30.5, speed=9000)]
    name, why = picked(rows)
    assert (
        name == "sampling=shards frames_per_visit=8"
    )  # permutation is too slow, and iid has a smaller effective batch
    assert "3 of 4" in why and "2 of these" in why
    assert picked(rows[:2]) == (
        "sampling=iid",
        "it alone of 2 samplers is unbiased at every position and gives 4000 frames/s or more",
    )


def test_an_interval_that_reaches_the_best_is_as_good():
    best = measured(BLOCK, effective=30.0, speed=9000)
    assert picked([best, measured(VISITS, effective=20, over=27, error=0.1, speed=9000)])[0].startswith(
        "sampling=shards"
    )
    assert picked([best, measured(VISITS, effective=20, over=27, error=0.01, speed=9000)])[0].startswith(
        "sampling=block"
    )


def test_a_sampler_of_which_only_one_batch_is_known_is_taken_if_nothing_else_meets_the_demand():
    block = measured(BLOCK, effective=100.0, over="unknown", speed=9000)
    assert picked([block, measured(IID, effective=32.0, speed=9000)])[0] == "sampling=iid"
    name, why = picked([block, measured(VISITS, effective=20, over="unknown", speed=9000)])
    assert name.startswith("sampling=block") and "what many steps are worth is not known here" in why
    both = [block, measured(IID, effective=32.0, speed=900)]
    assert picked(both)[0].startswith("sampling=block")


def test_where_none_meets_the_demand_the_most_independent_frames_a_second():
    rows = [measured(PERMUTATION, effective=32, speed=1000), measured(BLOCK, effective=32, speed=1050)]
    name, why = picked(rows)
    assert name == "sampling=permutation"  # the rounds overlap
    assert "no unbiased sampler gives 4000 frames/s here; 2 of them deliver most" in why and "1000" in why
    name, why = picked([*rows, measured(VISITS, effective=16, speed=3000)])
    assert name == "sampling=shards frames_per_visit=8" and "frames/s, worth 1500 independent ones" in why


def test_of_several_caches_the_one_on_which_a_sampler_is_fastest():
    rows = [measured(PERMUTATION, effective=32, speed=speed, case=f"{speed}") for speed in (5000, 7000, 6000)]
    assert pick_sampler(rows, demand=4000)[0].case_name == "7000"


def test_nothing_biased_is_picked():
    with pytest.raises(SamplingError, match="nothing to pick"):
        pick_sampler([measured({"sampling": "sequential"}, effective=32, speed=9000)], demand=1)


@pytest.mark.parametrize(("sizes", "mark"), [([50] * 32, ">="), ([20, 80] * 16, "~")])
def test_a_floor_that_is_not_proven_is_marked_as_one(sizes, mark):
    """For unequal shards in a stream nothing is certain (S25)."""
    law = law_of(np.array(sizes), batch_size=32, **BLOCK)
    report = report_of_effects(law, None, rho=None, why="needs rho", bias=0.0)
    row = MeasuredSampler(
        case_name="cache",
        layout=None,
        name="block",
        report=report,
        frames_per_second=9000,
        slowest=8000,
        fastest=9500,
    )
    text = plan_text([row], demand=1.0)
    assert f" {mark}{law.effective_batch_floor:.1f}\n" in text
