"""Training curves: many small autoencoders at once, each with its own sampler, seed and step size."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from study.clips import Clips, Parts
from study.networks import HIDDEN, centred
from study.samplers import IID, StudySampler, steps_of

Weights = tuple[Tensor, ...]
Losses = npt.NDArray[np.float64]

PARTS = ("train", "other times", "other videos")
"""What a loss is of: the frames that are learned from, later frames of their videos, and other videos."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Losses of all runs. Runs with one seed start from the same weights."""

    steps: list[int]
    """(C,) When the losses were computed."""
    losses: Losses
    """(parts, C, samplers, step sizes, seeds)"""
    whole: Losses | None
    """The same for gradient descent on all frames, which has no noise: (parts, C, step sizes, starts)."""


class Runs:
    """R autoencoders as one: weights of shape (R, ...)."""

    def __init__(self, starts: Sequence[Weights]) -> None:
        """One for each of `starts`."""
        self.weights = [torch.stack(each).requires_grad_() for each in zip(*starts, strict=True)]

    def losses(self, pictures: Tensor, shares: Tensor) -> Tensor:
        """The loss of each run: (R,). `pictures` (R, B, D); `shares` (R or 1, B) weighs them, with sum 1."""
        inner, inner_bias, outer, outer_bias = self.weights
        hidden = torch.tanh(torch.baddbmm(inner_bias, pictures, inner))
        errors = torch.baddbmm(outer_bias, hidden, outer) - pictures
        return (0.5 * errors.square().sum(-1) * shares).sum(-1)

    def losses_of_all(self, pictures: Tensor) -> npt.NDArray[np.float64]:
        """The mean loss over `pictures` (M, D), of each run: (R,). It multiplies out the square, which saves memory."""
        with torch.no_grad():
            inner, inner_bias, outer, outer_bias = self.weights
            runs, size, hidden = inner.shape
            flat = inner.transpose(0, 1).reshape(size, runs * hidden)
            hiddens = torch.tanh((pictures @ flat).reshape(-1, runs, hidden).transpose(0, 1) + inner_bias)
            along = (
                (pictures @ outer.reshape(runs * hidden, size).T).reshape(-1, runs, hidden).transpose(0, 1)
            )
            along = along - (outer @ outer_bias.transpose(1, 2)).transpose(1, 2)
            squares = (hiddens @ (outer @ outer.transpose(1, 2)) * hiddens).sum(-1) - 2 * (
                hiddens * along
            ).sum(-1)
            squares += pictures.square().sum(-1) - 2 * outer_bias[:, 0] @ pictures.T
            return (0.5 * (squares.double().mean(1) + outer_bias.double().square().sum((1, 2)))).numpy()

    def step(self, pictures: Tensor, shares: Tensor, step_sizes: Tensor) -> None:
        """One step of SGD of each run, with its own step size (R,)."""
        grads = torch.autograd.grad(self.losses(pictures, shares).sum(), self.weights)
        with torch.no_grad():
            for weight, grad in zip(self.weights, grads, strict=True):
                weight.sub_(step_sizes[:, None, None] * grad)


def first_weights(seed: int, size: int) -> Weights:
    """Random weights of an autoencoder of pictures of `size` numbers."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(inputs: int, *shape: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=generator) - 1) / inputs**0.5

    return (
        uniform(size, size, HIDDEN),
        uniform(size, 1, HIDDEN),
        uniform(HIDDEN, HIDDEN, size),
        uniform(HIDDEN, 1, size),
    )


def trained_weights(
    clips: Clips, parts: Parts, start: Weights, *, step_size: float, num_steps: int
) -> Weights:
    """What independent, uniform frames make of `start`. The step size falls to a tenth in the second half."""
    train = centred(clips.pictures)[parts.train_ids]
    runs = Runs([start])
    steps = steps_of(IID, parts.train, batch_size=64, seed=999)
    for step in range(num_steps):
        ids = torch.from_numpy(next(steps))
        rate = step_size if step < num_steps / 2 else step_size / 10
        runs.step(train[ids][None], torch.full((1, len(ids)), 1 / len(ids)), torch.tensor([rate]))
    return tuple(weight[0].detach() for weight in runs.weights)


def train_curves(
    clips: Clips,
    parts: Parts,
    samplers: Sequence[StudySampler],
    *,
    starts: Sequence[Weights],
    step_sizes: Sequence[float],
    num_seeds: int,
    num_steps: int,
    batch_size: int,
    num_checks: int = 10,
) -> Curves:
    """Train one autoencoder for each sampler, step size and seed, and look at its losses `num_checks` times.

    A seed decides the order of the frames. `starts` has the first weights of each seed, or one for all seeds; then
    gradient descent on all frames is run as well.
    """
    pictures = centred(clips.pictures)
    train = pictures[parts.train_ids]
    looked_at = [train, pictures[parts.other_times], pictures[parts.other_videos]]
    streams = [
        [steps_of(sampler, parts.train, batch_size=batch_size, seed=1000 + seed) for seed in range(num_seeds)]
        for sampler in samplers
    ]
    shape = (len(samplers), len(step_sizes), num_seeds)
    runs = Runs([starts[seed % len(starts)] for _ in range(shape[0] * shape[1]) for seed in range(num_seeds)])
    rates = torch.tensor(step_sizes).repeat_interleave(num_seeds).repeat(len(samplers))
    whole = Runs([starts[0]] * len(step_sizes)) if len(starts) == 1 else None
    even = torch.full((1, len(train)), 1 / len(train))
    checks = sorted({round(k * num_steps / num_checks) for k in range(num_checks + 1)})
    losses, losses_of_whole = [], []
    for step in range(num_steps + 1):
        if step in checks:
            losses.append([runs.losses_of_all(part).reshape(shape) for part in looked_at])
            if whole is not None:
                losses_of_whole.append([whole.losses_of_all(part) for part in looked_at])
        if step == num_steps:
            break
        ids, shares = _batches([next(stream) for row in streams for stream in row], batch_size)
        runs.step(train[_for_each_step_size(ids, shape)], _for_each_step_size(shares, shape), rates)
        if whole is not None:
            whole.step(train.expand(len(step_sizes), -1, -1), even, torch.tensor(step_sizes))
    return Curves(
        steps=checks,
        losses=np.moveaxis(np.array(losses), 1, 0),
        whole=np.moveaxis(np.array(losses_of_whole), 1, 0) if losses_of_whole else None,
    )


def _for_each_step_size(values: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(samplers x seeds, B) -> (samplers x step sizes x seeds, B): every step size sees the same batches."""
    num_samplers, num_step_sizes, num_seeds = shape
    apart = values.reshape(num_samplers, 1, num_seeds, -1)
    return apart.expand(-1, num_step_sizes, -1, -1).reshape(-1, values.shape[1])


def _batches(batches: list[npt.NDArray[np.int64]], batch_size: int) -> tuple[Tensor, Tensor]:
    """Batches as one array, and the share of each frame. A shorter batch is filled up with frames of share 0."""
    ids = np.zeros((len(batches), batch_size), np.int64)
    shares = np.zeros((len(batches), batch_size), np.float32)
    for row, batch in enumerate(batches):
        ids[row, : len(batch)] = batch
        shares[row, : len(batch)] = 1 / len(batch)
    return torch.from_numpy(ids), torch.from_numpy(shares)
