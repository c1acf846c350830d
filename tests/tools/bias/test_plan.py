"""The sampler that `cache-bias --plan` picks, for given speeds and effective batches."""

import dataclasses

import numpy as np
import pytest
from frame_cache_tools.bias.plan import MeasuredSampler, pick_sampler, plan_text

from loader import SamplingError, SamplingSpec
from loader.bias.report import report_of_effects
from loader.bias.rho import RhoEstimate
from tests.support.statistics.laws import law_of

SIZES = np.array([50] * 32)
PERMUTATION = {"sampling": "permutation"}
IID = {"sampling": "iid"}
BLOCK = {"sampling": "block", "shards_per_block": 16}
VISITS = {"sampling": "shards", "frames_per_visit": 8}


def measured(options, *, effective, speed, ends=None, case="cache"):
    """A sampler whose batches of 32 have the effective batch `effective`, in an interval of `ends`."""
    law = dataclasses.replace(law_of(SIZES, batch_size=32, **options), name=str(SamplingSpec(**options)))
    low, high = ends or (effective, effective)
    rho = RhoEstimate(level="shard", proxy="", rho=0, low=0, high=0, num_draws=9, frames_per_draw=6)
    report = report_of_effects(law, [32 / effective, 32 / high, 32 / low], rho=rho, basis="sampled", bias=0.0)
    return MeasuredSampler(
        case_name=case,
        layout="shuffled",
        report=report,
        frames_per_second=speed,
        slowest=0.9 * speed,
        fastest=1.1 * speed,
    )


def picked(rows, demand=4000.0):
    best, why = pick_sampler(rows, demand=demand)
    return best.report.law.name, why


def test_a_permutation_that_meets_the_demand_is_taken_however_fast_the_others_are():
    rows = [
        measured(BLOCK, effective=60.0, speed=98_000),
        measured(PERMUTATION, effective=32.7, speed=82_000),
        measured(IID, effective=32.0, speed=99_000),
        measured(VISITS, effective=8.0, speed=200_000),
    ]
    name, why = picked(rows)
    assert name == "sampling=permutation"
    assert "4 of 4 samplers are unbiased" in why and "permutation does, and its noise cancels" in why
    assert picked(rows[::-1])[0] == "sampling=permutation"  # for any order of the rows


def test_a_larger_effective_batch_beats_a_plainer_sampler():
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
    assert picked([best, measured(VISITS, effective=20, ends=(15, 31), speed=9000)])[0].startswith(
        "sampling=shards"
    )
    assert picked([best, measured(VISITS, effective=20, ends=(15, 25), speed=9000)])[0].startswith(
        "sampling=block"
    )


def test_where_none_meets_the_demand_the_most_independent_frames_a_second():
    rows = [measured(PERMUTATION, effective=32, speed=1000), measured(BLOCK, effective=32, speed=1050)]
    name, why = picked(rows)
    assert name == "sampling=permutation"  # the rounds overlap
    assert "no unbiased sampler gives 4000 frames/s here; 2 of them deliver most" in why and "1000" in why
    name, why = picked([*rows, measured(VISITS, effective=16, speed=3000)])
    assert name == "sampling=shards frames_per_visit=8" and "this one delivers most, 1500 independent" in why


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
        report=report,
        frames_per_second=9000,
        slowest=8000,
        fastest=9500,
    )
    text = plan_text([row], demand=1.0)
    assert f" {mark}{law.effective_batch_floor:.1f}\n" in text
