# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""Design effects of the global batch of several ranks, against every outcome on tiny populations."""

import itertools

import numpy as np
import pytest

from loader import SamplingError
from loader.bias.design_effect import (
    design_effect,
    slot_correlation,
)
from loader.bias.webdataset.kappa import webdataset_kappa
from loader.bias.webdataset.report import WebDatasetSpec, webdataset_report
from loader.sampling.plan import make_plan
from loader.windows import plan_windows
from tests.support.caches.array_store import ArrayStore
from tests.support.statistics.design_effects import (
    every_epoch,
    mean_square_effect,
    measured_design_effect,
    report_of,
)
from tests.support.statistics.enumeration import (
    SUMMED,
    Outcomes,
    Population,
    assert_equal,
    assert_rejected,
    whole_batches,
)
from tests.support.statistics.oracles.correlations import intraclass_correlation
from tests.support.statistics.spread_orders import spread_visits

UNEQUAL = Population([2, 3, 4], seed=1)

BLOCKS = [[2, 2, 2], [1, 2, 3], [3, 1, 1, 1], [4, 2]]


@pytest.mark.parametrize("sizes", BLOCKS, ids=str)
@pytest.mark.parametrize(
    "options", [{"sampling": "permutation"}, {"sampling": "block", "shards_per_block": 1}]
)
@pytest.mark.parametrize(("batch_size", "world_size"), [(1, 2), (2, 2), (1, 3), (2, 3)])
def test_S48_the_averaged_gradient_of_ranks_is_that_of_the_global_batch(
    sizes, options, batch_size, world_size
):
    population, slots = Population(sizes, seed=7, dimensions=2), batch_size * world_size
    report = report_of(population, batch_size=batch_size, world_size=world_size, remainder="drop", **options)
    epochs = every_epoch(population, options)
    measured = measured_design_effect(whole_batches(epochs, slots), population)
    assert report.law.slots_per_batch == slots and report.is_exact
    assert_equal(report.design_effect, measured, SUMMED)
    assert_equal(report.effective_batch * measured if measured > 1e-12 else slots, slots, SUMMED)
    one_rank = report_of(population, batch_size=batch_size, remainder="drop", **options)
    if measured > 1e-12:  # neither as for one rank, nor R times as much
        assert_rejected(one_rank.effective_batch, report.effective_batch)
        if options["sampling"] == "block":
            assert_rejected(world_size * one_rank.effective_batch, report.effective_batch)


@pytest.mark.parametrize(
    "options",
    [
        {"sampling": "permutation"},
        {"sampling": "iid"},
        {"sampling": "sequential"},
        {"sampling": "block", "shards_per_block": 2},
        {"sampling": "shards", "frames_per_visit": 2},
        {"sampling": "permutation", "clip_frames": 3},
    ],
    ids=lambda options: options["sampling"],
)
def test_S48_a_step_of_all_ranks_is_a_batch_of_the_one_order(options):
    sizes, video_sizes = [20, 12, 16], [30, 18]
    store = ArrayStore(sizes, video_sizes=video_sizes)

    def anchors(**where):
        return list(
            plan_windows("test", store, {"remainder": "drop", "seed": 3, **where, **options}).frame_ids(0)
        )

    one = anchors(batch_size=12)
    ranks = [anchors(batch_size=4, rank=rank, world_size=3) for rank in range(3)]
    together = [np.concatenate(parts) for parts in zip(*ranks, strict=True)]
    assert len(one) == len(together) > 1
    assert all(np.array_equal(batch, step) for batch, step in zip(one, together, strict=True))


@pytest.mark.parametrize("world_size", [1, 2])
def test_S48_visits_and_independent_frames_of_ranks_add_up(world_size):
    naive = {"sampling": "shards", "frames_per_visit": 2, "shard_choice": "uniform"}
    for options in ({"sampling": "iid"}, naive):
        report = report_of(UNEQUAL, batch_size=2, world_size=world_size, **options)
        one_rank = report_of(UNEQUAL, batch_size=2, **options)
        assert_equal(report.effective_batch, world_size * one_rank.effective_batch)
        assert_equal(report.law.effective_batch_floor, world_size * one_rank.law.effective_batch_floor)


def test_S48_spread_visits_of_ranks_are_worth_more_than_their_sum():
    options = {"sampling": "shards", "frames_per_visit": 2}
    reports = [report_of(UNEQUAL, batch_size=2, world_size=ranks, **options) for ranks in (1, 2, 3)]
    for ranks, report in enumerate(reports, start=1):
        measured = measured_design_effect(spread_visits(UNEQUAL, ranks, 2), UNEQUAL)
        assert_equal(report.design_effect, measured)
        if ranks > 1:
            assert report.effective_batch > 1.05 * ranks * reports[0].effective_batch


def test_S48_the_order_on_disk_of_ranks():
    for batch_size, world_size, remainder in [
        (2, 2, "drop"),
        (1, 5, "drop"),
        (2, 4, "pad"),
        (3, 3, "uneven"),
    ]:
        plans = [
            make_plan([5, 7], batch_size=batch_size, rank=rank, world_size=world_size, remainder=remainder,
                      sampling="sequential")
            for rank in range(world_size)
        ]  # fmt: skip
        steps = zip(*(plan.batches(0) for plan in plans), strict=False)
        slots = batch_size * world_size
        whole = [np.concatenate(step) for step in steps if sum(map(len, step)) == slots]
        outcomes = Outcomes.of((1 / len(whole), step) for step in whole)
        population = Population([5, 7], seed=3)
        report = report_of(
            population,
            batch_size=batch_size,
            world_size=world_size,
            remainder=remainder,
            sampling="sequential",
        )
        assert_equal(report.design_effect, measured_design_effect(outcomes, population))
        if remainder == "uneven":  # three frames are left for a short step
            assert report.mean_square_effect is None
        else:
            assert_equal(report.mean_square_effect, mean_square_effect(outcomes, population))
        assert report.is_exact
        assert report.design_effect <= report.law.worst_design_effect * (1 + 1e-12)


def test_S48_the_ranks_of_webdataset_own_different_shards():
    sizes, spec = [12] * 8, WebDatasetSpec(shuffle_buffer=10)
    report = webdataset_report(sizes, spec, batch_size=4, world_size=2, rho=None)
    of_a_rank = webdataset_kappa(sizes, shuffle_buffer=10, batch_size=4, num_workers=2)
    assert report.law.slots_per_batch == 8
    # Ordered pairs of distinct slots: 2 x 4 x 3 of 8 x 7 are of one rank.
    assert report.law.kappa["shard"] == pytest.approx(of_a_rank * 24 / 56)
    with pytest.raises(
        SamplingError, match="9 workers of all ranks together cannot share the 8 shards that hold frames"
    ):
        webdataset_report(sizes, WebDatasetSpec(num_workers=3), batch_size=4, world_size=3, rho=None)


def test_S48_two_readers_of_equal_shards_in_every_order():
    """Readers w = 0, 1 read shards w, w + 2 of a random order end to end; frames lie in any order in their shards."""
    population = Population([2] * 4, seed=9)
    pairs = []
    inner = list(itertools.product(*(itertools.permutations(population.ids_of(s)) for s in range(4))))
    for order, frames in itertools.product(itertools.permutations(range(4)), inner):
        streams = [sum((frames[shard] for shard in order[reader::2]), ()) for reader in range(2)]
        pairs += [streams[0][start : start + 2] + streams[1][start : start + 2] for start in (0, 2)]
    found = measured_design_effect(Outcomes.of((1 / len(pairs), pair) for pair in pairs), population)
    rho, equal = intraclass_correlation(population.by_shard), {"shard_size": 2, "num_shards": 4}
    kappa = 1.0 * (2 - 1) / (4 - 1)  # a batch of one reader is one shard
    assert_equal(design_effect(slot_correlation(kappa, rho, **equal), batch_size=4), found)
    assert_rejected(design_effect(slot_correlation(1.0, rho, **equal), batch_size=4), found)
    one_rank = design_effect(slot_correlation(1.0, rho, **equal), batch_size=2)
    assert_rejected(one_rank, found)  # two readers' batches taken for independent
