# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""A trainer takes a step for each batch: laws by steps, against every order of tiny epochs."""

import itertools

import numpy as np
import pytest

from loader import SamplingError
from loader.bias.distributions.last_batch import (
    chi2_of_fixed_order,
    chi2_of_short_batch,
    epoch_variance_of_permutation,
    max_over_representation_of_short_batch,
    total_variation_of_short_batch,
)
from tests.support.statistics.enumeration import assert_equal, assert_rejected, every_whole_clip
from tests.support.statistics.laws import batches_of, law_by_steps, law_of
from tests.support.statistics.oracles.distributions import (
    chi2_of_law,
    max_over_representation,
    total_variation,
)

VALUES = np.random.default_rng(4).normal(size=(6, 2))


def cut(order, batch_size, remainder, world_size=1):
    """The batches of all ranks of an order, as `RankSlice` cuts it."""
    step, order = batch_size * world_size, list(order)
    if remainder == "drop":
        order = order[: len(order) // step * step]
    if remainder == "pad":
        order += [order[place % len(order)] for place in range(-len(order) % step)]
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 8, 40])
def test_S50_a_short_last_batch_by_steps(batch_size):
    for num_frames in range(1, 41):
        law = law_by_steps(cut(range(num_frames), batch_size, "uneven"), num_frames)
        chi2 = chi2_of_short_batch(num_frames, batch_size=batch_size)
        assert_equal([chi2], [chi2_of_law(law)])
        assert_equal(total_variation_of_short_batch(num_frames, batch_size=batch_size), total_variation(law))
        assert_equal(
            max_over_representation_of_short_batch(num_frames, batch_size=batch_size),
            max_over_representation(law),
        )
        if num_frames % batch_size and num_frames > batch_size:
            assert_rejected([0.0], [chi2])  # by slots: every frame is shown once
    assert chi2_of_short_batch(1025, batch_size=128) == pytest.approx(12.445, abs=1e-3)


@pytest.mark.parametrize(
    ("num_frames", "batch_size", "world_size"), [(13, 4, 1), (13, 4, 2), (9, 4, 3), (3, 5, 1)]
)
@pytest.mark.parametrize("remainder", ["drop", "pad", "uneven"])
def test_the_batches_of_the_ranks_have_the_law_by_steps_that_is_stated(
    num_frames, batch_size, world_size, remainder
):
    where = {"batch_size": batch_size, "world_size": world_size, "remainder": remainder}
    if remainder == "drop" and num_frames < batch_size * world_size:
        where["remainder"] = None  # one smaller batch a rank
    for sampling in ("permutation", "sequential"):
        batches = batches_of([num_frames], sampling=sampling, **where)
        law = law_by_steps(batches, num_frames)
        fixed = chi2_of_fixed_order(
            num_frames,
            batch_size=batch_size,
            dropped=int((law == 0).sum()),
            doubled=sum(map(len, batches)) - num_frames if remainder == "pad" else 0,
        )
        if where["remainder"] == remainder:
            assert_equal([fixed], [chi2_of_law(law)])
        if sampling == "sequential":
            stated = law_of([num_frames], sampling=sampling, **where)
            assert_equal([stated.chi2], [chi2_of_law(law)])


@pytest.mark.parametrize(
    ("num_frames", "batch_size", "world_size"),
    [(5, 2, 1), (5, 3, 1), (6, 4, 1), (5, 2, 2), (6, 2, 1), (5, 1, 3)],
)
@pytest.mark.parametrize("remainder", ["drop", "pad", "uneven"])
def test_S51_the_mean_of_one_epochs_steps(num_frames, batch_size, world_size, remainder):
    """All orders of an epoch, each as likely."""
    values = VALUES[:num_frames]
    orders = list(itertools.permutations(range(num_frames)))
    laws = np.array(
        [law_by_steps(cut(order, batch_size, remainder, world_size), num_frames) for order in orders]
    )
    assert_equal(laws.mean(0), np.full(num_frames, 1 / num_frames))  # over the seeds: no bias
    off = ((laws @ values - values.mean(0)) ** 2).sum(1).mean() / values.var(0).sum()
    law = law_of(
        [num_frames],
        batch_size=batch_size,
        world_size=world_size,
        remainder=remainder,
        sampling="permutation",
    )
    assert_equal([law.epoch_variance], [off])
    assert_equal([law.chi2], [0.0])
    step = batch_size if remainder == "uneven" else batch_size * world_size
    if num_frames % step:
        assert_rejected([0.0], [off])  # an epoch's steps are not exactly the full gradient
        assert_rejected([off * (num_frames - 1) / num_frames], [off])  # chi^2 / N
    else:
        assert_equal([0.0], [off])


def test_S51_of_the_audit_and_where_it_takes_data():
    fixed = chi2_of_fixed_order(1025, batch_size=128)
    assert epoch_variance_of_permutation(1025, chi2_of_epoch=fixed) == pytest.approx(0.01215, abs=1e-5)
    sizes = [6, 7]
    assert law_of(sizes, batch_size=4, sampling="block", shards_per_block=1).epoch_variance is None
    assert law_of([6, 6], batch_size=4, sampling="block", shards_per_block=1).epoch_variance == 0
    assert law_of(sizes, batch_size=4, sampling="shards", frames_per_visit=2).epoch_variance is None
    assert law_of(sizes, batch_size=4, sampling="sequential").epoch_variance == 0
    assert law_of([5], batch_size=2, sampling="iid").epoch_variance is None


def test_the_law_is_that_of_the_batches_that_the_loader_makes():
    for options, sizes in (
        ({"sampling": "permutation"}, [5, 4]),
        ({"sampling": "block", "shards_per_block": 1}, [5, 5]),
        ({"sampling": "shards", "frames_per_visit": 2}, [5, 4]),
        ({"sampling": "iid"}, [5, 4]),
    ):
        law = law_of(sizes, batch_size=16, world_size=2, **options)
        assert {len(ids) for ids in batches_of(sizes, batch_size=16, world_size=2, **options)} == {
            law.rank_batch
        }
        assert law.rank_batch == 4 + (sum(sizes) == 10)
        as_asked_for = law_of(sizes, batch_size=law.rank_batch, world_size=2, **options)
        assert (law.kappa, law.chi2_of_pairs) == (as_asked_for.kappa, as_asked_for.chi2_of_pairs)
        assert law.num_positions_dropped == as_asked_for.num_positions_dropped


@pytest.mark.parametrize("remainder", ["drop", "pad", "uneven"])
@pytest.mark.parametrize("videos", [[4, 1, 3], [2, 5], [1, 6, 0, 1]])
def test_the_two_chi2_of_clips_are_those_of_all_orders_by_steps(videos, remainder):
    windows = every_whole_clip(videos, 2, 1)
    num_windows, num_frames = len(windows), sum(videos)
    over_windows, over_frames = np.zeros(num_windows), np.zeros(num_frames)
    orders, per_epoch = list(itertools.permutations(range(num_windows))), []
    for order in orders:
        batches = cut(order, 3, remainder)
        per_epoch.append(law_by_steps(batches, num_windows))
        over_windows += per_epoch[-1] / len(orders)
        over_frames += law_by_steps([windows[batch] for batch in batches], num_frames) / len(orders)
    law = law_of(
        [num_frames],
        batch_size=3,
        video_sizes=videos,
        remainder=remainder,
        sampling="permutation",
        clip_frames=2,
    )
    assert_equal([law.chi2_over_windows], [chi2_of_law(over_windows)])
    assert_equal([law.chi2], [chi2_of_law(over_frames)])
    assert law.num_frames_never_shown == (over_frames == 0).sum() == sum(video == 1 for video in videos)
    shown = over_frames[over_frames > 0]
    if len(shown) < num_frames:
        assert_rejected([law.chi2], [chi2_of_law(shown)])  # of the frames in windows alone
    assert_rejected([law.chi2], [law.chi2_over_windows])
    values = VALUES[:num_windows]
    off = ((np.array(per_epoch) @ values - values.mean(0)) ** 2).sum(1).mean() / values.var(0).sum()
    assert_equal([law.epoch_variance], [off])


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: chi2_of_short_batch(0, batch_size=2),
        lambda: chi2_of_short_batch(3, batch_size=0),
        lambda: epoch_variance_of_permutation(0, chi2_of_epoch=0.0),
        lambda: epoch_variance_of_permutation(3, chi2_of_epoch=-1.0),
    ],
)
def test_what_is_no_epoch_is_refused(wrong):
    with pytest.raises(SamplingError):
        wrong()
    assert epoch_variance_of_permutation(1, chi2_of_epoch=0.0) == 0
