"""Which generations are joined: runs, bounds of their number, and how often a frame is copied."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.compaction import plan_joins


@given(sizes=st.lists(st.integers(1, 10**6), max_size=60), join_all=st.booleans())
def test_runs_are_of_two_or_more_in_order_and_none_is_left(sizes, join_all):
    runs = plan_joins(sizes, join_all=join_all)
    assert all(len(run) >= 2 and run.start >= 0 and run.stop <= len(sizes) for run in runs)
    assert all(one.stop <= other.start for one, other in pairwise(runs))
    after = joined(sizes, runs)
    assert sum(after) == sum(sizes)
    assert plan_joins(after, join_all=join_all) == []
    if join_all:
        assert len(after) == min(1, len(sizes))
    else:
        assert len(after) <= 9 * num_tiers(after)


def joined(sizes, runs):
    after, at = [], 0
    for run in runs:
        after += [*sizes[at : run.start], sum(sizes[run.start : run.stop])]
        at = run.stop
    return after + sizes[at:]


def num_tiers(sizes):
    """At most: the largest of each tier has less than a fifth of the largest of the one before."""
    return 1 + sum(5**power < max(sizes) / min(sizes) for power in range(40)) if sizes else 0


def grown_weekly(sizes):
    """Appends, each followed by a compaction: the most generations there were, those at the end, the copied share."""
    generations, most, copied = [], 0, 0
    for size in sizes:
        generations.append(size)
        runs = plan_joins(generations)
        copied += sum(sum(generations[run.start : run.stop]) for run in runs)
        generations = joined(generations, runs)
        most = max(most, len(generations))
    return most, generations, copied / sum(sizes)


def test_a_hundred_equal_appends():
    assert grown_weekly([1000] * 99) == (18, [10_000] * 9 + [1000] * 9, 90 / 99)
    assert grown_weekly([1000] * 100) == (18, [100_000], 1.9)


def test_a_large_base_is_not_copied_until_the_appends_add_up():
    base = 10**6
    most, generations, copied = grown_weekly([base] + [1000] * 100)
    assert (most, generations) == (19, [base, 100_000])
    assert copied == pytest.approx(190_000 / 1_100_000)
    _, generations, _ = grown_weekly([base] + [1000] * 8999)
    assert generations[0] == base
    _, generations, _ = grown_weekly([base] + [1000] * 9000)
    assert generations == [10 * base]


@pytest.mark.parametrize(
    ("draw", "most_generations", "most_copied"),
    [
        (lambda rng: rng.randint(500, 2000), 20, 2.0),
        (lambda rng: int(10 ** rng.uniform(2, 5)), 28, 2.6),
        (lambda rng: int(100 * rng.paretovariate(1)), 36, 2.6),
    ],
    ids=["within a factor of 4", "over three decades", "heavy tails"],
)
def test_random_appends(draw, most_generations, most_copied):
    of_seeds = []
    for seed in range(10):
        rng = random.Random(seed)
        of_seeds.append(grown_weekly([draw(rng) for _ in range(200)]))
    assert max(most for most, _, _ in of_seeds) <= most_generations
    assert max(copied for _, _, copied in of_seeds) <= most_copied
    assert sum(copied for _, _, copied in of_seeds) / 10 <= 2.1
