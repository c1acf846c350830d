"""Each script of examples/ runs on tiny videos, and does what its first lines promise."""

import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from tests.support.commands import run
from tests.support.documents import ROOT
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

EXAMPLES = ROOT / "examples"
TESTED = {"inspect_folder", "train_clips", "train_ddp", "train_images", "train_lightning"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two folders of two videos in `videos/`, 86 frames; a shuffled cache of them, and one for clips."""
    path = tmp_path_factory.mktemp("examples")
    specs = simple_specs(4, num_frames=17)
    named = [
        replace(spec, path=Path("videos") / kind / spec.path)
        for spec, kind in zip(specs, ["pick", "pick", "place", "place"], strict=True)
    ]
    tiny_folder(path, tuple(named))
    for name, layout in (("videos.cache", "shuffled"), ("clips.cache", "video")):
        built = run(
            path / "videos", "--out", path / name, "--size", "64", "--layout", layout, "--workers", "1"
        )
        assert built.exit_code == 0, built.output
    return path


@pytest.fixture
def run_example(folder, tmp_path, monkeypatch, capsys):
    """Runs a script in this process, in an empty folder, and gives what it printed."""

    def run_it(name, *arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run_it


def test_every_example_is_run_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == TESTED


@pytest.mark.parametrize("name", sorted(TESTED))
def test_an_example_says_what_it_shows_and_how_to_run_it(name):
    source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    introduction = source.split('"""')[1]
    assert f"examples/{name}.py" in introduction
    assert len(introduction.splitlines()[0]) > 20


def test_images(folder, run_example):
    pytest.importorskip("torchvision")
    arguments = ["--epochs", "2", "--size", "32", "--batch-size", "16", "--device", "cpu"]
    printed = run_example("train_images", folder / "videos.cache", *arguments).splitlines()
    assert [line.partition(":")[0] for line in printed] == ["epoch 0", "epoch 1"]
    assert all(line.endswith("over 5 batches") for line in printed)  # 86 frames in whole batches of 16


def test_clips(folder, run_example):
    arguments = ["--epochs", "1", "--batch-size", "8", "--clip-frames", "4", "--device", "cpu"]
    printed = run_example("train_clips", folder / "clips.cache", *arguments)
    # 17 + 20 + 23 + 26 frames, and a window spans 7
    assert "an epoch is 62 windows" in printed and "over 7 batches" in printed


def steps_of_ddp(folder, checkpoint, num_processes, *arguments):
    launch = (
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        num_processes,
    )
    command = [
        *launch,
        *(EXAMPLES / "train_ddp.py", folder / "videos.cache", "--checkpoint", checkpoint),
        *("--epochs", "2", "--size", "32", "--batch-size", "8", "--save-every", "1", *arguments),
    ]
    env = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    launched = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    if "ddress already in use" in launched.stderr:  # torchrun's choice of a free port is not atomic
        launched = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert launched.returncode == 0, launched.stderr
    return [line.partition(":")[0] for line in launched.stdout.splitlines()]


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no torch.distributed")
def test_ddp_goes_on_where_it_stopped_and_with_other_processes(folder, tmp_path):
    checkpoint = tmp_path / "run.pt"
    assert steps_of_ddp(folder, checkpoint, "2", "--max-steps", "3") == [
        "epoch 0, step 1",
        "epoch 0, step 2",
        "epoch 0, step 3",
    ]
    # 48 of 86 frames were shown: in one process, 4 whole batches of 8 are left, and the next epoch has 10.
    assert torch.load(checkpoint)["batches"]["position"] == 48
    resumed = steps_of_ddp(folder, checkpoint, "1")
    assert resumed == [
        *(f"epoch 0, step {step}" for step in range(4, 8)),
        *(f"epoch 1, step {step}" for step in range(8, 18)),
    ]


@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* is not empty:UserWarning")
@pytest.mark.filterwarnings("ignore:.*exists and is not empty:UserWarning")
def test_lightning_resumes_inside_an_epoch(folder, run_example, tmp_path):
    pytest.importorskip("lightning")
    caches = [folder / "videos.cache", folder / "clips.cache"]
    arguments = ["--size", "32", "--batch-size", "16", "--save-every", "3"]
    first = run_example("train_lightning", *caches, "--epochs", "1", *arguments)
    assert "5 steps, epoch 1, validation loss" in first
    checkpoint = torch.load(tmp_path / "runs/last.ckpt", weights_only=False, map_location="cpu")
    assert checkpoint["global_step"] == 3
    resumed = run_example(
        "train_lightning", *caches, "--epochs", "2", *arguments, "--resume", "runs/last.ckpt"
    )
    assert "10 steps, epoch 2, validation loss" in resumed  # 3 and the other 2 of their epoch, then 5


def test_a_folder_is_looked_into(folder, run_example, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib").use("Agg")
    monkeypatch.setenv("VIDEOS", str(folder / "videos"))
    printed = run_example("inspect_folder")
    assert (tmp_path / "frames.png").stat().st_size > 10_000
    assert printed.count(" frames  160x96 h264 25.00 fps  ") == 4
    assert "LiveStore(86 frames" in printed and "for 86 frames" in printed
