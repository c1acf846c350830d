"""Small networks, and the gradient of each frame."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from study.clips import SIDE, Clips
from study.samplers import IID, steps_of

HIDDEN = 16
_CHUNK = 100
"""Frames whose gradients are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A network and its loss on frames, which is a mean over the frames of a batch."""

    name: str
    network: nn.Module
    loss: Callable[[Tensor, Tensor, Tensor], Tensor]
    """(output, pictures, video ids) -> the loss, a number."""
    step_size: float


def autoencoder() -> nn.Module:
    """Small picture -> `HIDDEN` numbers -> small picture."""
    size = 3 * SIDE * SIDE
    return nn.Sequential(nn.Linear(size, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, size))


def classifier(num_videos: int) -> nn.Module:
    """A convolutional network: small picture -> a score for each video."""
    return nn.Sequential(
        nn.Unflatten(1, (3, SIDE, SIDE)),
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(SIDE * SIDE, num_videos),
    )


def tasks_of(clips: Clips, *, seed: int = 0) -> list[Task]:
    """Two tasks with new networks: which video a frame is of, and the picture from a few numbers."""
    torch.manual_seed(seed)
    return [
        Task(
            name="which video",
            network=classifier(len(clips.store.videos)),
            loss=lambda scores, _pictures, videos: nn.functional.cross_entropy(scores, videos),
            step_size=0.1,
        ),
        Task(
            name="autoencoder",
            network=autoencoder(),
            loss=lambda output, pictures, _videos: reconstruction_loss(output, pictures),
            step_size=0.05,
        ),
    ]


def reconstruction_loss(output: Tensor, pictures: Tensor) -> Tensor:
    """Half the squared error, summed over the numbers of a picture, mean over pictures."""
    return 0.5 * (output - pictures).square().sum(-1).mean()


def train(task: Task, clips: Clips, *, num_steps: int, batch_size: int, seed: int = 0) -> float:
    """Train on independent, uniform frames of all clips. Gives the loss over all frames afterwards."""
    pictures, videos = centred(clips.pictures), torch.from_numpy(clips.video_ids)
    optimizer = torch.optim.SGD(task.network.parameters(), lr=task.step_size)
    steps = steps_of(IID, clips.store, batch_size=batch_size, seed=seed)
    for _ in range(num_steps):
        ids = torch.from_numpy(next(steps))
        loss = task.loss(task.network(pictures[ids]), pictures[ids], videos[ids])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return float(task.loss(task.network(pictures), pictures, videos))


def centred(pictures: Tensor) -> Tensor:
    """Pictures less the mean level, which is a constant for all pixels: networks learn faster so."""
    return pictures - pictures.mean()


def gradients(task: Task, clips: Clips) -> npt.NDArray[np.float32]:
    """The gradient of each frame by all parameters: float32 (N, P)."""
    pictures, videos = centred(clips.pictures), torch.from_numpy(clips.video_ids)
    parameters = {name: value.detach() for name, value in task.network.named_parameters()}

    def loss_of(values: dict[str, Tensor], picture: Tensor, video: Tensor) -> Tensor:
        output = functional_call(task.network, values, (picture[None],))
        return task.loss(output, picture[None], video[None])

    each = vmap(grad(loss_of), in_dims=(None, 0, 0), chunk_size=_CHUNK)(parameters, pictures, videos)
    return torch.cat([value.flatten(1) for value in each.values()], dim=1).numpy()


def reduced(features: npt.NDArray[np.floating], *, share: float = 1e-5) -> npt.NDArray[np.float64]:
    """Fewer numbers a frame with the same distances: float64 (N, R), mean 0. At most `share` of the variance goes."""
    moved = features - features.mean(axis=0, dtype=np.float64).astype(features.dtype)
    if moved.shape[1] <= 256:
        return moved.astype(np.float64)
    values, vectors = np.linalg.eigh((moved @ moved.T).astype(np.float64))
    lost = np.cumsum(np.maximum(values, 0)) <= share * max(values.sum(), 1e-300)
    kept = vectors[:, ~lost] * np.sqrt(np.maximum(values[~lost], 0))
    return kept - kept.mean(axis=0)
