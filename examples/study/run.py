"""The whole study: features and gradients, samplers, training. The results are plain values, for JSON."""

import sys
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from loader import FrameLoader
from loader.bias import thumbnails
from study.clips import Clips, Parts, clips_of, parts_of
from study.curves import PARTS, first_weights, train_curves, trained_weights
from study.mean_picture import long_run_noise
from study.networks import gradients, reduced, tasks_of, train
from study.noise import Reals, measured_noise
from study.predictions import predicted_long_run, predicted_noise
from study.samplers import StudySampler, epochs_of, samplers_for
from study.short_videos import noise_of_pieces

STEP_SIZES = [0.01, 0.03, 0.1]
"""Of the autoencoder. At 0.3 most samplers diverge."""
LONG_STEP_SIZES = [0.3, 0.1, 0.03, 0.01]
"""Of the mean picture."""
LAST_CHECKS = 3
"""The last loss is the mean over this many checks, so that it does not depend on where an epoch ends."""


def run_study(videos: Path | None, out: Path, *, num_seeds: int, quick: bool) -> dict[str, Any]:
    """Everything that `study_text` prints and `draw_figures` draws."""
    clips = clips_of(videos, out, quick=quick)
    parts = parts_of(clips)
    samplers = samplers_for(clips.store)
    batch_size, long_batch, train_batch = (16, 8, 8) if quick else (128, 64, 16)
    num_epochs = 4 if quick else 200
    features, tasks = _features(clips, stages=(0, 5) if quick else (0, 100, 1000))
    small = features["thumbnails"]
    results: dict[str, Any] = {
        "clips": {"name": clips.name, "num_frames": len(clips.store), "num_videos": clips.num_videos},
        "batch_size": batch_size,
        "samplers": [sampler.name for sampler in samplers],
        "tasks": tasks,
        "shown": _shown(clips, samplers, batch_size=32),
        "identity": {"batches": sum(_compared(clips, sampler, batch_size) for sampler in samplers)},
        "noise": {name: {} for name in features},
        "short_videos": noise_of_pieces(
            clips.store, small, batch_sizes=[8, 16] if quick else [32, 128], num_epochs=num_epochs
        ),
        "mean_picture": {"batch_size": long_batch, "step_sizes": LONG_STEP_SIZES, "samplers": {}},
    }
    for sampler in samplers:
        _progress(f"noise of {sampler.name}")
        measured = measured_noise(
            sampler, clips.store, features, batch_size=batch_size, num_epochs=num_epochs
        )
        for name, values in features.items():
            predicted = predicted_noise(sampler, clips.store, values, batch_size=batch_size)
            results["noise"][name][sampler.name] = {
                **asdict(measured[name]),
                "predicted": None if predicted is None else predicted.design_effect,
                "predicted_bias": None if predicted is None else predicted.bias,
            }
        results["mean_picture"]["samplers"][sampler.name] = _long_run(
            clips, sampler, small, long_batch, num_epochs
        )
    results["training"] = _training(
        clips, parts, samplers, batch_size=train_batch, num_seeds=num_seeds, quick=quick
    )
    return results


def _progress(text: str) -> None:
    print(f"{time.process_time():6.0f} s of CPU time: {text}", file=sys.stderr, flush=True)


def _features(clips: Clips, *, stages: tuple[int, ...]) -> tuple[dict[str, Reals], dict[str, list[str]]]:
    """Features of all frames, and the names of each task's stages."""
    pixels = thumbnails(clips.store)(np.arange(len(clips.store)))
    features = {"thumbnails": reduced(pixels.astype(np.float32))}
    names: dict[str, list[str]] = {}
    for task in tasks_of(clips):
        _progress(f"gradients of the task: {task.name}")
        names[task.name] = []
        done = 0
        for stage in stages:
            train(task, clips, num_steps=stage - done, batch_size=64, seed=stage)
            done = stage
            name = f"{task.name}, step {stage}"
            names[task.name].append(name)
            features[name] = reduced(gradients(task, clips))
    return features, names


def _shown(clips: Clips, samplers: list[StudySampler], *, batch_size: int) -> dict[str, Any]:
    """The first batch of each sampler, as places in the clips laid end to end."""
    place = np.empty(len(clips.store), np.int64)
    ids = np.concatenate([np.asarray(clips.store.ids_of_video(int(v))) for v in np.unique(clips.video_ids)])
    place[ids] = np.arange(len(ids))
    ends = np.cumsum([np.sum(clips.video_ids == video) for video in np.unique(clips.video_ids)])
    first = {}
    for sampler in samplers:
        epoch = next(epochs_of(sampler, clips.store, batch_size=min(batch_size, len(place)), seed=0))
        first[sampler.name] = sorted(place[epoch[0]].tolist())
    return {"batches": first, "ends": ends.tolist()}


def _compared(clips: Clips, sampler: StudySampler, batch_size: int, *, num_batches: int = 20) -> int:
    """The number of batches that `FrameLoader` reads with the ids that the study computes with."""
    if sampler.by_video:
        return 0  # this order is no option of the loader, but `epoch_order` over videos
    expected = epochs_of(sampler, clips.store, batch_size=batch_size, seed=0)
    loader = FrameLoader(clips.store, batch_size=batch_size, seed=0, rank=0, world_size=1, **sampler.options)
    found = 0
    for batch, ids in islice(zip(loader, next(expected), strict=True), num_batches):
        found += 1
        if batch.frame_ids.tolist() != ids.tolist():
            raise AssertionError(f"{sampler.name}: FrameLoader read other frames than its orders say")
    return found


def _long_run(
    clips: Clips, sampler: StudySampler, features: Reals, batch_size: int, num_epochs: int
) -> list[dict[str, float | None]]:
    measured = long_run_noise(
        sampler,
        clips.store,
        features,
        batch_size=batch_size,
        step_sizes=LONG_STEP_SIZES,
        num_epochs=num_epochs,
    )
    predicted = predicted_long_run(
        sampler, clips.store, features, batch_size=batch_size, horizons=[1 / size for size in LONG_STEP_SIZES]
    )
    return [{**asdict(one), "predicted": other} for one, other in zip(measured, predicted, strict=True)]


def _training(
    clips: Clips, parts: Parts, samplers: list[StudySampler], *, batch_size: int, num_seeds: int, quick: bool
) -> dict[str, Any]:
    starts = [first_weights(seed, clips.pictures.shape[1]) for seed in range(num_seeds)]
    trained = trained_weights(clips, parts, starts[0], step_size=0.1, num_steps=20 if quick else 3000)
    runs = {
        "from random weights": (
            starts,
            10 if quick else 400,
            "first weights and orders differ between seeds; loss",
        ),
        "from trained weights": (
            [trained],
            10 if quick else 300,
            "orders differ between seeds; loss above that of steps without noise",
        ),
    }
    found = {}
    for name, (first, num_steps, text) in runs.items():
        _progress(f"training {name}")
        curves = train_curves(
            clips,
            parts,
            samplers,
            starts=first,
            step_sizes=STEP_SIZES,
            num_seeds=num_seeds,
            num_steps=num_steps,
            batch_size=batch_size,
        )
        last = curves.losses[:, -LAST_CHECKS:].mean(axis=1)
        whole = None if curves.whole is None else curves.whole[:, -LAST_CHECKS:].mean(axis=1)
        found[name] = {
            "text": f"{num_steps} steps of SGD, batches of {batch_size}, {num_seeds} seeds; {text}",
            "step_sizes": STEP_SIZES,
            "steps": curves.steps,
            "curves": {
                sampler.name: curves.losses[0, :, number].tolist() for number, sampler in enumerate(samplers)
            },
            "whole_curve": None if curves.whole is None else curves.whole[0].tolist(),
            "last": {
                part: {sampler.name: last[row, number].tolist() for number, sampler in enumerate(samplers)}
                for row, part in enumerate(PARTS)
            },
            "whole": None if whole is None else {part: whole[row].tolist() for row, part in enumerate(PARTS)},
        }
    return found
