"""The jitter that numba compiles: taken where numba is installed, the same for every layout, and without a disk."""

import os
import subprocess
import sys

import numba
import numpy as np
import pytest
import torch

from loader import Augmentation, ColorJitter, RandomResizedCrop
from loader.augment import apply_compiled
from loader.augment.augmentation import compiled_augment
from loader.augment.compiled_jitter import compiled_and_kept
from tests.support.augmentation import hard_frames, random_parameters
from tests.support.faults.no_new_code import run_without_new_code

JITTER = ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2)

UNDER_A_LIMIT = """
import resource, sys
from pathlib import Path
import torch
from loader import Augmentation, ColorJitter

folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))  # as on a full disk: no file takes a byte
augmentation = Augmentation(jitter=ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2))
images = augmentation(torch.arange(2 * 3 * 6 * 7).reshape(2, 3, 6, 7).to(torch.uint8), frame_ids=[3, 4], epoch=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert not any(path.stat().st_size for path in folder.rglob("*.nbc"))
torch.save(images, folder / "images")
"""


@pytest.fixture
def calls(monkeypatch):
    """How many images each call of the compiled function had."""
    seen = []
    original = apply_compiled.jitter_images

    def counted(frames, *arguments):
        seen.append(len(frames))
        original(frames, *arguments)

    monkeypatch.setattr(apply_compiled, "jitter_images", counted)
    return seen


def test_a_batch_is_one_call(calls):
    Augmentation(jitter=JITTER)(hard_frames(8, height=9, width=12), frame_ids=range(8), epoch=0)
    assert calls == [8]


def test_images_that_are_cropped_or_cast_are_a_call_each(calls):
    frames = hard_frames(8, height=30, width=42)
    Augmentation(jitter=JITTER, crop=RandomResizedCrop(size=8))(frames, frame_ids=range(8), epoch=0)
    Augmentation(jitter=JITTER, dtype="float16")(frames, frame_ids=range(8), epoch=0)
    assert calls == [1] * 16


def test_without_a_jitter_torch_does_it(calls):
    frames = hard_frames(8, height=9, width=12)
    Augmentation(flip_probability=0.5)(frames, frame_ids=range(8), epoch=0)
    assert calls == []


def test_without_numba_torch_does_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    for name in ("apply_compiled", "compiled_jitter"):
        monkeypatch.delitem(sys.modules, f"loader.augment.{name}")
    assert compiled_augment.__wrapped__() is None


WITHOUT_NEW_CODE = """
import sys
import torch
from loader import Augmentation, ColorJitter
frames = torch.arange(2 * 3 * 6 * 7).reshape(2, 3, 6, 7).to(torch.uint8)
torch.save(Augmentation(jitter=ColorJitter(hue=0.1))(frames, frame_ids=[3, 4], epoch=0), sys.argv[1])
"""


def test_where_a_process_may_execute_no_new_code_torch_does_it(tmp_path):
    run_without_new_code(WITHOUT_NEW_CODE, tmp_path / "images")
    frames = torch.arange(2 * 3 * 6 * 7).reshape(2, 3, 6, 7).to(torch.uint8)
    expected = Augmentation(jitter=ColorJitter(hue=0.1))(frames, frame_ids=[3, 4], epoch=0)
    assert (torch.load(tmp_path / "images") - expected).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (16, 23)])
def test_every_layout_gives_the_same(size):
    frames = hard_frames(24, height=size[0], width=size[1])
    parameters = random_parameters(24, height=size[0], width=size[1])
    assert parameters.flips.any() and not parameters.flips.all()
    planar, last = frames.contiguous(), frames.contiguous(memory_format=torch.channels_last)
    padded = torch.zeros(24, 3, size[0] + 2, size[1] + 3, dtype=torch.uint8)
    padded[..., 1:-1, 2:-1] = frames
    expected = Augmentation().apply(planar, parameters)
    upright = planar.transpose(-1, -2).contiguous().transpose(-1, -2)
    for layout in (last, padded[..., 1:-1, 2:-1], upright):
        assert torch.equal(Augmentation().apply(layout, parameters), expected)


def test_the_mean_of_a_large_image_is_exact():
    """A sum of 10^6 levels in float32 would be off by more than a level."""
    frames = torch.full((1, 3, 1200, 900), 201, dtype=torch.uint8)
    parameters = random_parameters(1, height=1200, width=900)
    parameters.jitter_factors[:] = (1, 0, 1, 0)  # every pixel becomes the mean gray
    expected = np.float32(201 * (0.2989 + 0.587 + 0.114) / 255)
    assert np.abs(Augmentation().apply(frames, parameters).numpy() - expected).max() < 1e-6


@pytest.mark.timeout(300)
def test_a_full_disk_costs_the_time_to_compile_and_nothing_else(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", UNDER_A_LIMIT, tmp_path], env=environment, check=True)
    frames = torch.arange(2 * 3 * 6 * 7).reshape(2, 3, 6, 7).to(torch.uint8)
    expected = Augmentation(jitter=JITTER)(frames, frame_ids=[3, 4], epoch=0)
    assert torch.equal(torch.load(tmp_path / "images"), expected)


def test_where_no_folder_can_be_written_functions_are_compiled_for_this_process(monkeypatch):
    def njit(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return original(**options)

    original = numba.njit
    monkeypatch.setattr(numba, "njit", njit)
    assert compiled_and_kept(lambda number: number + 1)(2) == 3
