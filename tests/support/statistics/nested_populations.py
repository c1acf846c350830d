"""Frames for nested orders: few, whose orders are all enumerated, and many, whose orders are drawn."""

import numpy as np

from loader.sampling.orders import NestedOrder, epoch_keys
from tests.support.statistics.oracles.nested import every_order


def some_frames(num_frames, *, seed=0, dimensions=3):
    """Features of frames that are like their neighbours, shape (N, D)."""
    chance = np.random.default_rng(seed)
    return chance.normal(size=(num_frames, dimensions)).cumsum(0) + 2


def runs_of_every_order(num_places, num_positions, start=0):
    """Places of a run of positions for all coins and turns, shape (outcomes, num_positions). It wraps at the end."""
    positions = (start + np.arange(num_positions)) % num_places
    return np.array(every_order(num_places))[:, positions]


def enumerated_effect(frames, num_positions, start=0):
    """Design effect of a run of positions over all coins and turns; frames in the order of the circle."""
    centred = frames - frames.mean(0)
    means = centred[runs_of_every_order(len(frames), num_positions, start)].mean(1)
    return num_positions * (means**2).sum(1).mean() / (centred**2).sum(1).mean()


def videos_and_walks(num_frames, *, num_videos, seed=0, dimensions=4):
    """Features of videos of unequal lengths whose frames drift, shape (N, D), in source order."""
    chance = np.random.default_rng(seed)
    cuts = np.sort(chance.choice(np.arange(1, num_frames), num_videos - 1, replace=False))
    video = np.searchsorted(cuts, np.arange(num_frames), side="right")
    walk = chance.normal(scale=0.06, size=(num_frames, dimensions)).cumsum(0)
    walk -= walk[np.append(0, cuts)][video]
    scenes = 1.5 * chance.normal(size=(num_videos, dimensions))
    return scenes[video] + walk + 0.2 * chance.normal(size=(num_frames, dimensions))


def nested_epoch(num_places, *, seed, epoch=0):
    """Places of an epoch of the product's order, int64, shape (N,)."""
    keys = epoch_keys(seed=seed, epoch=epoch, num_keys=2)
    return NestedOrder(num_places, keys, lambda places: places).ids(0, num_places)
