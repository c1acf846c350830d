"""`examples/sampling_study.py` runs, and says what its figures say: also where a sampler gains nothing."""

import importlib
import json
import runpy
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib").use("Agg")

import torch

from tests.support.documents import ROOT

EXAMPLES = ROOT / "examples"
BIGGEST_PICTURE = 60_000


@pytest.fixture(scope="module")
def part():
    """Gives a module of the study by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield lambda name: importlib.import_module(f"study.{name}")


@pytest.fixture(scope="module")
def study(part, tmp_path_factory):
    """What a quick run on sample videos printed, found, and drew."""
    out = tmp_path_factory.mktemp("study")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        patch.setattr("builtins.print", lambda *words, **_more: printed.append(" ".join(map(str, words))))
        patch.setattr(
            sys, "argv", ["sampling_study", "--quick", "--seeds", "3", "--out", "out", "--figures", "figures"]
        )
        runpy.run_path(str(EXAMPLES / "sampling_study.py"), run_name="__main__")
    torch.set_num_threads(before)
    return "\n".join(printed), json.loads((out / "out/study.json").read_text()), out / "figures"


def test_a_quick_run_has_every_sampler_everywhere(study):
    printed, results, _ = study
    names = {
        "i.i.d.",
        "permutation",
        "stratified, time",
        "stratified, content",
        "shards, 8 a visit",
        "block of 4 shards",
        "naive, by video",
        "sequential",
    }
    assert set(results["samplers"]) == names
    assert all(set(rows) == names for rows in results["noise"].values())
    assert set(results["mean_picture"]["samplers"]) == names
    for run in results["training"].values():
        assert set(run["last"]) == {"train", "other times", "other videos"}
        assert all(set(rows) == names for rows in run["last"].values())
    assert all(printed.count(name) >= 10 for name in names)


def test_a_quick_run_measures_about_what_it_predicts(study):
    _, results, _ = study
    for rows in results["noise"].values():
        for name, row in rows.items():
            assert row["predicted"] is not None
            # Four epochs are few: a coarse comparison, which a formula for another sampler would fail.
            assert 0.5 < row["design_effect"] / row["predicted"] < 2, name
        assert rows["stratified, time"]["predicted"] < 0.8 < rows["permutation"]["predicted"]
        assert abs(rows["naive, by video"]["bias"] - rows["naive, by video"]["predicted_bias"]) < 0.2
    rows = results["mean_picture"]["samplers"]
    assert rows["sequential"][-1]["predicted"] == pytest.approx(rows["sequential"][-1]["effect"], rel=0.05)


def test_the_pictures_are_small(study):
    pictures = sorted(study[2].glob("*.png"))
    assert [path.stem for path in pictures] == [
        "batches",
        "gradients",
        "long_run",
        "short_videos",
        "training",
        "worth",
    ]
    assert all(2_000 < path.stat().st_size < BIGGEST_PICTURE for path in pictures)


def test_committed_pictures_are_those_that_the_guide_shows(part):
    pictures = {path.stem: path.stat().st_size for path in (ROOT / "docs/sampling").glob("*.png")}
    assert set(pictures) == set(part("figures").FIGURES)
    assert max(pictures.values()) < BIGGEST_PICTURE
    guide = (ROOT / "docs/SAMPLING_GUIDE.md").read_text(encoding="utf-8")
    assert all(f"(sampling/{name}.png)" in guide for name in pictures)


def noise_row(effect, *, predicted=None, bias=0.0):
    return {
        "design_effect": effect,
        "predicted": effect if predicted is None else predicted,
        "standard_error": 0.001,
        "bias": bias,
        "bias_error": 0.01,
    }


def test_a_sampler_that_gains_nothing_is_told(part):
    noise = {"pictures": {"i.i.d.": noise_row(1.0), "stratified, time": noise_row(1.25)}}
    told = "\n".join(part("claims").noise_claims(noise, batch_size=100))
    assert "stratified, time gains nothing: the variance is 1.25 times" in told
    assert "worth 80 independent frames" in told and "measured for: no sampler" in told
    noise["pictures"]["stratified, time"] = noise_row(0.05)
    noise["pictures"]["naive, by video"] = noise_row(1.0, bias=0.3)
    told = "\n".join(part("claims").noise_claims(noise, batch_size=100))
    assert "stratified, time leaves 0.050 of the variance" in told and "worth 2,000" in told
    assert "measured for: naive, by video" in told


def test_a_prediction_that_fails_is_told(part):
    noise = {"pictures": {"i.i.d.": noise_row(1.0), "permutation": noise_row(0.9, predicted=0.5)}}
    (told, *_) = part("claims").noise_claims(noise, batch_size=100)
    assert "in 1 of 2 cases" in told and "80.0% (permutation, pictures)" in told


@pytest.mark.parametrize(("last", "word"), [(0.6, "shrinks"), (0.05, "stays"), (0.01, "grows")])
def test_what_becomes_of_the_gain_is_told(part, last, word):
    noise = {
        "net, step 0": {"stratified, time": noise_row(0.05)},
        "net, step 9": {"stratified, time": noise_row(last)},
    }
    (told,) = part("claims").shrinking_claims(noise, {"net": ["net, step 0", "net, step 9"]})
    assert f"the gain {word} in training" in told


REFERENCE = [5.0, 5.2, 4.9, 5.1, 5.0]


@pytest.mark.parametrize(
    ("first", "second", "claim"),
    [
        (-1.0, -1.0, "gains at every step size."),
        (-1.0, 0.0, "gains at 1 of 2 step sizes."),
        (-1.0, 1.0, "gains at 1 of 2 step sizes, and loses at 1."),
        (0.0, 0.0, "does not gain."),
        (1.0, 0.0, "does not gain, and loses at 1."),
    ],
)
def test_a_training_that_gains_nothing_is_told(part, first, second, claim):
    jitter = [0.1, -0.1, 0.05, -0.05, 0.0]
    rows = {
        "i.i.d.": [REFERENCE, REFERENCE],
        "stratified, time": [
            [loss + gain + more for loss, more in zip(REFERENCE, jitter, strict=True)]
            for gain in (first, second)
        ],
    }
    run = {"last": {"train": rows, "other times": rows, "other videos": rows}}
    told = part("claims").training_claims({"from the start": run})
    assert told == [
        f"from the start, {where}: stratified, time {claim}"
        for where in ("the frames that it learns from", "later frames of the same videos", "other videos")
    ]


def test_intervals_are_students(part):
    # Quantiles from a printed table of Student's distribution, 97.5%.
    for freedom, quantile in ((4, 2.776), (5, 2.571), (7, 2.365), (9, 2.262), (30, 2.042)):
        values = np.arange(freedom + 1)
        error = np.std(values, ddof=1) / len(values) ** 0.5
        assert part("claims").half_interval(values) / error == pytest.approx(quantile, rel=0.01)


def test_noise_is_measured_around_the_mean_of_all_batches(part):
    features = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    counts = part("noise").count_batches(
        [[np.array([0, 1]), np.array([2, 3])], [np.array([0, 2]), np.array([1, 3])]],
        num_frames=4,
        batch_size=2,
    )
    found = part("noise")._noise(features, counts, counts.sum(axis=1), 2)
    # Means -1, 1 and 0, 0: variances 1 and 0, where independent frames have 1 / 2.
    assert found.design_effect == pytest.approx(1.0) and found.bias == 0
    assert found.standard_error == pytest.approx(1.0)


def test_fewer_numbers_keep_the_distances(part):
    features = np.random.default_rng(0).standard_normal((40, 300)) @ np.diag(np.linspace(3, 0.1, 300))
    small = part("networks").reduced(features)
    products = (features - features.mean(axis=0)) @ (features - features.mean(axis=0)).T
    assert small.shape[1] < 40 and np.allclose(small @ small.T, products, atol=1e-3 * products.max())


def test_the_short_way_to_all_losses_is_the_loss(part):
    curves = part("curves")
    runs = curves.Runs([curves.first_weights(seed, 12) for seed in range(3)])
    pictures = torch.randn(7, 12, generator=torch.Generator().manual_seed(0))
    shares = torch.full((1, 7), 1 / 7)
    expected = runs.losses(pictures.expand(3, -1, -1), shares).detach().numpy()
    assert runs.losses_of_all(pictures) == pytest.approx(expected, rel=1e-5)


def test_many_runs_at_once_are_each_a_run_of_sgd(part):
    curves = part("curves")
    starts = [curves.first_weights(seed, 12) for seed in range(2)]
    runs = curves.Runs(starts)
    pictures = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(1))
    runs.step(pictures, torch.full((1, 5), 1 / 5), torch.tensor([0.1, 0.5]))
    for number, step_size in enumerate((0.1, 0.5)):
        weights = [weight.clone().requires_grad_() for weight in starts[number]]
        hidden = torch.tanh(pictures[number] @ weights[0] + weights[1])
        loss = 0.5 * (hidden @ weights[2] + weights[3] - pictures[number]).square().sum(-1).mean()
        loss.backward()
        for weight, moved in zip(weights, runs.weights, strict=True):
            assert torch.allclose(
                weight.detach() - step_size * weight.grad, moved[number].detach(), atol=1e-6
            )


def test_the_gradient_of_a_frame_is_that_of_a_batch_of_it(part, study):
    clips = part("clips").clips_of(study[2].parent / "out/study.cache", study[2].parent)
    for task in part("networks").tasks_of(clips):
        each = part("networks").gradients(task, clips)
        pictures = part("networks").centred(clips.pictures)[3:4]
        loss = task.loss(task.network(pictures), pictures, torch.from_numpy(clips.video_ids)[3:4])
        loss.backward()
        expected = torch.cat([weight.grad.flatten() for weight in task.network.parameters()]).numpy()
        assert np.allclose(each[3], expected, atol=1e-5)


def test_held_out_frames_are_not_learned_from(part, study):
    clips = part("clips").clips_of(study[2].parent / "out/study.cache", study[2].parent)
    parts = part("clips").parts_of(clips)
    every = np.concatenate([parts.train_ids, parts.other_times, parts.other_videos])
    assert sorted(every.tolist()) == list(range(len(clips.store)))
    assert not set(clips.video_ids[parts.other_videos]) & set(clips.video_ids[parts.train_ids])
    for video in set(clips.video_ids[parts.other_times]):
        of_video = clips.store.ids_of_video(int(video)).tolist()
        learned = [of_video.index(i) for i in parts.train_ids if i in of_video]
        later = [of_video.index(i) for i in parts.other_times if i in of_video]
        assert max(learned) < min(later)
