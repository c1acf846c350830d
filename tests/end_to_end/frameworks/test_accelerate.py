"""accelerate with two processes on the CPU: every frame once over both, and a warning where they do not share."""

import json
import os
import socket
import subprocess
import sys

import pytest

pytest.importorskip("accelerate")


NUM_FRAMES, BATCH_SIZE, SEED = 44, 5, 3
NUM_PROCESSES = 2

TRAINING_SCRIPT = '''
"""Trains with each way to feed accelerate; prints what this rank was shown."""

import json
import sys
import warnings

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader

from loader import FrameBatchSampler, FrameDataset, FrameLoader, frame_batch_collate, rank_and_world_size
from tests.support.caches.array_store import ArrayStore

NUM_FRAMES, BATCH_SIZE, SEED = 44, 5, 3
early_ranks = rank_and_world_size()  # of the environment: torch.distributed is not set up yet


def frame_loader(store):
    rank, world_size = rank_and_world_size()
    return FrameLoader(
        store, batch_size=BATCH_SIZE, seed=SEED, remainder="pad", rank=rank, world_size=world_size
    )


def torchs_loader(store, *, remainder="uneven"):
    sampler = FrameBatchSampler(
        store, batch_size=BATCH_SIZE, seed=SEED, remainder=remainder, rank=0, world_size=1
    )
    return DataLoader(FrameDataset(store), batch_sampler=sampler, collate_fn=frame_batch_collate)


def torchs_loader_of_whole_batches(store):
    return torchs_loader(store, remainder="drop")


def unsharded(store):
    return FrameLoader(store, batch_size=BATCH_SIZE, seed=SEED, remainder="uneven")


def train(accelerator, batches):
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    model, optimizer, batches = accelerator.prepare(model, optimizer, batches)
    epochs = []
    for _ in range(2):
        shown = []
        for batch in batches:
            loss = model(batch.frames.float().mean((2, 3))).square().mean()
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            shown.append(batch.frame_ids.tolist())
        epochs.append(shown)
    return epochs


def main(folder):
    accelerator = Accelerator(cpu=True)
    set_seed(0)
    found = {"early_ranks": early_ranks, "warnings": {}}
    for make in (frame_loader, torchs_loader, torchs_loader_of_whole_batches, unsharded):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            found[make.__name__] = train(accelerator, make(ArrayStore([NUM_FRAMES])))
        found["warnings"][make.__name__] = [
            warning.category.__name__ for warning in warned if "no rank" in str(warning.message)
        ]
    with open(f"{folder}/{accelerator.process_index}.json", "w") as file:
        json.dump(found, file)


main(sys.argv[1])
'''


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each rank of the training script was shown, by how its loader was made: per epoch, per batch, frame ids."""
    folder = tmp_path_factory.mktemp("accelerate")
    script = folder / "train.py"
    script.write_text(TRAINING_SCRIPT)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    common = {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), "ACCELERATE_USE_CPU": "true"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(NUM_PROCESSES)}
    processes = [
        subprocess.Popen(  # as `accelerate launch` and torchrun start them
            [sys.executable, script, folder],
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(NUM_PROCESSES)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(NUM_PROCESSES)]


def test_the_environment_tells_the_ranks_before_anything_is_set_up(found):
    assert [rank["early_ranks"] for rank in found] == [[0, 2], [1, 2]]


def shown(found, name, epoch):
    """Frame ids of each rank, in the order of its batches."""
    return [[frame_id for batch in rank[name][epoch] for frame_id in batch] for rank in found]


@pytest.mark.parametrize("epoch", range(2))
def test_a_frame_loader_with_ranks_shares_every_frame(found, epoch):
    """`pad` fills 44 frames up to 5 steps of two batches of 5 with the first 6."""
    one, other = shown(found, "frame_loader", epoch)
    assert len(one) == len(other) == 25
    assert sorted(set(one + other)) == list(range(NUM_FRAMES))


@pytest.mark.parametrize("epoch", range(2))
def test_accelerate_shards_torchs_loader_over_our_sampler(found, epoch):
    """Every frame; accelerate fills the ranks' last batches up from the start of the epoch."""
    one, other = shown(found, "torchs_loader", epoch)
    assert len(one) == len(other) == 25
    assert sorted(set(one + other)) == list(range(NUM_FRAMES))
    one, other = shown(found, "torchs_loader_of_whole_batches", epoch)
    assert len(one) == len(other) == 20
    assert len(set(one + other)) == 40


def test_each_epoch_is_another_order(found):
    for name in ("frame_loader", "torchs_loader", "torchs_loader_of_whole_batches"):
        assert shown(found, name, 0) != shown(found, name, 1), name


def test_processes_that_do_not_share_are_warned(found):
    for rank in found:
        warned = {"frame_loader": [], "torchs_loader": [], "torchs_loader_of_whole_batches": []}
        assert rank["warnings"] == warned | {"unsharded": ["UnshardedWarning"]}
    one, other = shown(found, "unsharded", 0)
    assert one == other and sorted(one) == list(range(NUM_FRAMES))
