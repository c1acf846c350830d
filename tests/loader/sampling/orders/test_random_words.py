import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.errors import SamplingError
from loader.sampling.orders.random_words import draw_without_replacement, epoch_keys, integers_below, words_at


def test_words_are_those_of_the_published_splitmix64():
    # The reference implementation's first five words for seed 1234567.
    words = words_at(np.uint64(1234567), np.arange(5, dtype=np.uint64))
    assert words.tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_epoch_keys_are_pinned():
    # Every order depends on these values: if they change, resumed and repeated runs see other frames.
    assert epoch_keys(seed=3, epoch=5, num_keys=2).tolist() == [9791734468858838757, 7625315995053767278]


def test_more_keys_start_with_the_fewer():
    assert (
        epoch_keys(seed=1, epoch=2, num_keys=9)[:4].tolist()
        == epoch_keys(seed=1, epoch=2, num_keys=4).tolist()
    )


def test_no_two_epochs_of_any_seeds_share_a_key():
    keys = [
        epoch_keys(seed=seed, epoch=epoch, num_keys=1).item()
        for seed in [0, 1, 2, 2**31, 2**32 - 1]
        for epoch in [0, 1, 2, 2**31, 2**32 - 1]
    ]
    assert len(set(keys)) == 25


@pytest.mark.parametrize("number", [-1, 2**32])
def test_seed_and_epoch_are_one_word_each(number):
    with pytest.raises(SamplingError, match=f"seed must be in .*{number}"):
        epoch_keys(seed=number, epoch=0, num_keys=1)
    with pytest.raises(SamplingError, match=f"epoch must be in .*{number}"):
        epoch_keys(seed=0, epoch=number, num_keys=1)


def test_a_seed_that_is_no_integer_is_refused():
    with pytest.raises(SamplingError, match=r"seed must be a whole number, found 1\.5"):
        epoch_keys(seed=1.5, epoch=0, num_keys=1)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=5), st.integers(1, 2**63 - 1))
def test_integers_below_stay_below(words, bound):
    assert integers_below(np.array(words, np.uint64), bound).tolist() == [word % bound for word in words]


@pytest.mark.parametrize(("num_items", "num_drawn"), [(4, 2), (4, 4), (5, 3)])
def test_draws_without_replacement_are_exactly_uniform(num_items, num_drawn):
    # Each equally likely tuple of choices (below n, below n - 1, ...) must give another ordered draw.
    choices = itertools.product(*(range(num_items - position) for position in range(num_drawn)))
    drawn = [tuple(draw_without_replacement(np.array(words, np.uint64), num_items)) for words in choices]
    assert sorted(drawn) == sorted(itertools.permutations(range(num_items), num_drawn))
