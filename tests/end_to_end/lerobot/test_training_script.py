"""LeRobot's own training script, run from a cache by the two lines of the guide.

It runs in the Python that LEROBOT_PYTHON names, or in this one, and is skipped where that one has no lerobot. That
Python also needs msgspec, crc32c and torch.
"""

import os
import subprocess
import sys

import pytest

from cache_builder import build_cache
from tests.support.documents import ROOT
from tests.support.lerobot import CameraSpec, FeatureSpec, LeRobotSpec, write_lerobot

PYTHON = os.environ.get("LEROBOT_PYTHON", sys.executable)
SCRIPT = """
import sys
from lerobot.datasets import lerobot_dataset
from lerobot.scripts import lerobot_train
from loader.lerobot import dataset_maker

def refused(*arguments, **options):
    raise AssertionError("the data set itself was opened")

lerobot_dataset.LeRobotDataset.__init__ = refused
lerobot_train.make_dataset = dataset_maker(sys.argv.pop(1))
lerobot_train.main()
"""
SMALL_ACT = {
    "type": "act",
    "pretrained_backbone_weights": "null",
    "device": "cpu",
    "push_to_hub": "false",
    "dim_model": 32,
    "n_heads": 2,
    "dim_feedforward": 32,
    "n_encoder_layers": 1,
    "n_vae_encoder_layers": 1,
    "chunk_size": 6,
    "n_action_steps": 6,
}


@pytest.fixture(scope="module")
def environment():
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"}
    needed = "import lerobot.scripts.lerobot_train, frame_store, loader.lerobot"
    found = subprocess.run([PYTHON, "-c", needed], env=environment, capture_output=True, text=True)
    if found.returncode:
        pytest.skip(f"{PYTHON} lacks lerobot: {found.stderr.strip().splitlines()[-1]}")
    return environment


@pytest.mark.parametrize("transforms", ["true", "false"])
def test_lerobots_script_trains_from_a_cache(environment, tmp_path, transforms):
    key = "observation.images.front"
    spec = LeRobotSpec(
        cameras=(CameraSpec(key=key),),
        features={"observation.state": FeatureSpec(shape=(6,)), "action": FeatureSpec(shape=(4,))},
    )
    root = write_lerobot(tmp_path / "set", spec).root
    build_cache(root, tmp_path / "cache", size=64, encoding="raw", workers=1)
    (tmp_path / "train.py").write_text(SCRIPT)
    done = subprocess.run(
        [
            *(PYTHON, "train.py", "cache", "--dataset.repo_id=made/up"),
            *("--steps=2", "--batch_size=4", "--num_workers=2"),
            *(f"--policy.{name}={value}" for name, value in SMALL_ACT.items()),
            *("--output_dir=out", "--save_checkpoint=false", "--wandb.enable=false", "--log_freq=1"),
            f"--dataset.image_transforms.enable={transforms}",
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "dataset.num_frames=28" in done.stderr and "End of training" in done.stderr
