"""The nested order straight from its definition, and what its coins must have been, from the places alone."""

import itertools

import numpy as np


def every_arrangement(num_places):
    """All outcomes of the coins: the position that takes each place, as tuples; equally likely, some the same."""

    def arranged(positions):
        if len(positions) < 2:
            return [tuple(positions)]
        first, second = arranged(positions[::2]), arranged(positions[1::2])
        return [
            left + right
            for of_first, of_second in itertools.product(first, second)
            for left, right in ((of_first, of_second), (of_second, of_first))
        ]

    return arranged(list(range(num_places)))


def every_order(num_places):
    """All outcomes of coins and turns: the place of each position, as tuples."""
    orders = []
    for arrangement in every_arrangement(num_places):
        for turn in range(num_places):
            places = [0] * num_places
            for place, position in enumerate(arrangement):
                places[position] = (place + turn) % num_places
            orders.append(tuple(places))
    return orders


def coins_of(places):
    """The coin of each node with two children: a list by level of arrays by residue, 1 where the first child is right.

    `places` has the place of each position, shape (N,). Nodes of one place have the coin -1.

    Raises:
        AssertionError: a node whose places are no stretch.
    """
    num_places = len(places)
    assert np.array_equal(np.sort(places), np.arange(num_places))
    levels = [_lowest(places, level) for level in range(max(1, (num_places - 1).bit_length() + 1))]
    coins = []
    for level, (above, below) in enumerate(itertools.pairwise(levels)):
        held = np.arange(1 << level) + (1 << level) < num_places  # the second child has a position
        first, second = below[: 1 << level], below[1 << level :]
        coins.append(np.where(held, first > above, -1))
        assert np.array_equal(np.minimum(first, second)[held], above[held])
    return coins


def _lowest(places, level):
    """Of the nodes of a level: the lowest place of each, by residue."""
    num_nodes = 1 << level
    nodes = np.arange(len(places)) % num_nodes
    lowest, highest = np.full(num_nodes, len(places)), np.full(num_nodes, -1)
    np.minimum.at(lowest, nodes, places)
    np.maximum.at(highest, nodes, places)
    counts = np.bincount(nodes, minlength=num_nodes)
    held = counts > 0
    assert np.array_equal((highest - lowest + 1)[held], counts[held]), f"level {level}: no stretch"
    return lowest
