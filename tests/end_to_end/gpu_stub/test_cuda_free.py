"""Nothing starts CUDA before a caller asks for a GPU, so a parent may fork. The stub driver counts every call."""

import importlib
import os
import pkgutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

from torch.utils.data import DataLoader

import cache_builder
import frame_store
import loader
from cache_builder import open_videos
from cache_builder.build.pipeline import run_build
from cache_builder.settings import BuildConfig, RunOptions
from frame_store import open_store
from frame_store.shared.cuda_guard import check_cuda_usable_here
from loader import FrameDataset, FrameLoader, frame_batch_collate


def num_calls_so_far():
    log = Path(os.environ["STUB_CUDA_LOG"])
    return len(log.read_text().splitlines()) if log.exists() else 0


def import_everything():
    for package in (frame_store, cache_builder, loader, importlib.import_module("frame_cache_tools")):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def load_from(store):
    """An epoch by our loader, and one by torch's with a forked worker; returns the frames delivered."""
    batches = [*FrameLoader(store, batch_size=16, remainder="uneven"), *torch_batches(store)]
    return sum(len(batch.frames) for batch in batches)


def torch_batches(store):
    return DataLoader(
        FrameDataset(store),
        batch_size=16,
        num_workers=1,
        multiprocessing_context="fork",
        collate_fn=frame_batch_collate,
    )


def use_the_cpu(folder, output):
    """Calls of the driver after each step, and frames delivered; then a positive control."""
    report = {}
    import_everything()
    report["import"] = num_calls_so_far()
    run_build(Path(folder), Path(output), BuildConfig(), RunOptions(workers=1))
    report["build"] = num_calls_so_far()
    store = open_store(output)
    report["open"] = num_calls_so_far()
    report["frames"] = [load_from(store)]
    store.close()
    report["load"] = num_calls_so_far()
    live = open_videos(folder)
    report["frames"].append(load_from(live))
    live.close()
    report["live"] = num_calls_so_far()
    check_cuda_usable_here()
    report["asked"] = num_calls_so_far()
    return report


def test_only_asking_for_the_gpu_calls_the_driver(stub_driver, simple_folder, tmp_path):
    run = stub_driver.call(use_the_cpu, simple_folder.path, tmp_path / "cache")
    report = run.value
    assert report.pop("frames") == [2 * simple_folder.num_frames] * 2
    assert report.pop("asked") > 0
    assert report == dict.fromkeys(("import", "build", "open", "load", "live"), 0)
    assert run.num_calls["cuInit"] == 1
