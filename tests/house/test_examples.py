"""Each script of examples/ runs on tiny videos, and does what its first lines promise."""

import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from tests.support.commands import run
from tests.support.documents import ROOT
from tests.support.lerobot import CameraSpec, FeatureSpec, LeRobotSpec, write_lerobot
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

EXAMPLES = ROOT / "examples"
TESTED = {
    "inspect_folder",
    "sampling_study",  # run by test_sampling_study.py
    "train_clips",
    "train_ddp",
    "train_images",
    "train_lightning",
    "train_policy",
    "train_world_model",
}


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


@pytest.fixture
def one_thread():
    """Small networks train fastest so, and the same everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def last_loss(printed):
    return float(printed.splitlines()[-1].partition("loss ")[2].split()[0])


CHUNK = 4


class Waypoints:
    """Episodes whose right answer is known: each camera shows the next `CHUNK` waypoints of one joint as gray bars.

    The action is the waypoint of each joint plus the state, which is constant within an episode. So the whole chunk can
    be read from the pictures and the state of its anchor. Of actions that were recorded `shift` frames late, the last
    ones of a chunk cannot.
    """

    def __init__(self, *, shift, lengths=(40,) * 12):
        self.shift, self.lengths = shift, lengths
        words = np.random.default_rng(0)
        self.waypoints = [words.uniform(0, 1, (length + CHUNK, 2)) for length in lengths]
        self.states = words.uniform(-0.5, 0.5, (len(lengths), 2))

    def draw(self, joint):
        def bars(episode, frame):
            shown = self.waypoints[episode][frame : frame + CHUNK, joint]
            row = np.repeat(np.rint(shown * 255).astype(np.uint8), 32 // CHUNK)
            return np.broadcast_to(row[None, :, None], (32, 32, 3)).copy()

        return bars

    def action(self, episode, frame):
        late = (frame + self.shift) % self.lengths[episode]
        return self.waypoints[episode][late] - 0.5 + self.states[episode]

    def write(self, root):
        cameras = ("observation.images.front", "observation.images.wrist")
        write_lerobot(
            root,
            LeRobotSpec(
                cameras=tuple(
                    CameraSpec(key=key, width=32, height=32, draw=self.draw(joint))
                    for joint, key in enumerate(cameras)
                ),
                lengths=self.lengths,
                features={
                    "observation.state": FeatureSpec(
                        shape=(2,), values=lambda episode, frame: self.states[episode]
                    ),
                    "action": FeatureSpec(shape=(2,), values=self.action),
                },
            ),
        )


def loss_of_policy(folder, run_example, *, shift):
    pytest.importorskip("pyarrow")
    Waypoints(shift=shift).write(folder / "robot")
    arguments = ["--size", "32", "--workers", "1", "--quality", "100"]
    built = run(folder / "robot", "--out", folder / "robot.cache", *arguments)
    assert built.exit_code == 0, built.output
    torch.manual_seed(0)
    arguments = ["--epochs", "12", "--batch-size", "16", "--chunk", CHUNK, "--device", "cpu"]
    return last_loss(run_example("train_policy", folder / "robot.cache", *arguments))


def test_a_policy_learns_actions_that_belong_to_the_pictures(tmp_path, run_example, one_thread):
    assert loss_of_policy(tmp_path, run_example, shift=0) < 0.002


def test_a_policy_does_not_learn_actions_that_are_one_step_late(tmp_path, run_example, one_thread):
    assert loss_of_policy(tmp_path, run_example, shift=1) > 0.01


def write_lossless(path, pictures):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = pictures.shape[1:3]
        stream.pix_fmt = "bgr0"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def loss_of_world_model(folder, run_example, *, shift):
    """A bar steps left, right or not at all, as the action says; actions are recorded `shift` frames late."""
    steps = np.random.default_rng(0)
    videos, rows = {}, []
    for number in range(6):
        place, places, actions = 3, [], []
        for _ in range(50):
            step = int(steps.integers(-1, 2))
            step = step if 0 <= place + step < 8 else -step
            places.append(place)
            actions.append(step)
            place += step
        pictures = np.zeros((50, 32, 32, 3), np.uint8)
        for picture, bar in zip(pictures, places, strict=True):
            picture[:, bar * 4 : bar * 4 + 4] = 255
        videos[f"{number}.mkv"] = pictures
        rows += [(f"{number}.mkv", frame, actions[(frame + shift) % 50]) for frame in range(50)]
    (folder / "videos").mkdir()
    for name, pictures in videos.items():
        write_lossless(folder / "videos" / name, pictures)
    table = "\n".join(["video,frame,action", *(f"{name},{frame},{action}" for name, frame, action in rows)])
    (folder / "actions.csv").write_text(table)
    built = run(
        folder / "videos",
        *("--out", folder / "steps.cache", "--columns", folder / "actions.csv"),
        *("--size", "32", "--workers", "1"),
    )
    assert built.exit_code == 0, built.output
    torch.manual_seed(0)
    arguments = ["--epochs", "5", "--batch-size", "16", "--device", "cpu"]
    return last_loss(run_example("train_world_model", folder / "steps.cache", *arguments))


def test_a_world_model_learns_what_actions_do(tmp_path, run_example, one_thread):
    assert loss_of_world_model(tmp_path, run_example, shift=0) < 0.1


def test_a_world_model_does_not_learn_from_actions_that_are_one_step_late(tmp_path, run_example, one_thread):
    assert loss_of_world_model(tmp_path, run_example, shift=1) > 0.3
