from dataclasses import replace

import numpy as np
import pytest
import torch

from loader.batches import CameraBatch, FrameBatch
from tests.support.caches.array_store import ArrayStore
from tests.support.pages.html import ReadHtml, nearest_of


def shown(batch):
    text = batch._repr_html_()
    assert len(text) < 400_000
    read = ReadHtml(text)
    read.assert_safe()
    return read


def frames_of(number, *, shape=(16, 24), channels=3):
    """Frames of one colour each, all different: uint8 (number, H, W, channels)."""
    levels = np.arange(number, dtype=np.uint8) * (250 // max(1, number))
    return np.broadcast_to(levels[:, None, None, None], (number, *shape, channels)).copy()


def batch_of(number, num_times=None):
    """A batch of the first frames of a store, or of windows of them, which reach over its end."""
    ids = np.arange(number)
    cache_ids = ids if num_times is None else np.minimum(ids[:, None] + np.arange(num_times), number - 1)
    return FrameBatch.from_numpy(
        frames=frames_of(number)[cache_ids],
        frame_ids=ids,
        cache_ids=cache_ids,
        rows=ArrayStore([number]).index[cache_ids],
        frame_is_pad=None if num_times is None else ids[:, None] + np.arange(num_times) >= number,
    )


def test_a_batch_is_shown_as_a_grid_with_ids_and_places():
    batch = batch_of(12)
    found = shown(batch)
    assert nearest_of([figure.pictures[0] for figure in found.figures], frames_of(12)) == list(range(12))
    assert found.figures[2].lines == ["id 2", "video 0", "frame 2, 0.080 s"]
    assert found.figures[9].lines == ["id 9", "video 1", "frame 2"]  # without a time
    assert repr(batch) in found.text


def test_of_many_samples_the_first_sixteen_are_shown():
    found = shown(batch_of(40))
    assert len(found.figures) == 16 and "the first 16 of 40" in found.text


def test_a_window_is_a_strip():
    found = shown(batch_of(6, num_times=3))
    assert len(found.figures) == 5  # of three pictures each
    for anchor, figure in enumerate(found.figures):
        assert nearest_of(figure.pictures, frames_of(6)) == np.minimum(anchor + np.arange(3), 5).tolist()
    assert found.figures[4].lines == [
        "id 4",
        "video 0",
        "frames 4, 5, 5",
        "0.200 to 0.200 s",
        "1 frame padded",
    ]


def test_of_a_long_window_eight_frames_are_shown():
    found = shown(batch_of(40, num_times=30))
    assert [len(figure.pictures) for figure in found.figures] == [8, 8]
    assert "8 of 30 frames of each window" in found.text
    numbers = nearest_of(found.figures[0].pictures, frames_of(40))
    assert found.figures[0].lines[2] == f"frames {', '.join(str(number % 7) for number in numbers)}"
    assert (numbers[0], numbers[-1]) == (0, 29)


def test_cameras_stand_side_by_side_each_with_its_name():
    batch = batch_of(3)
    values = {name: value for name, value in vars(batch).items() if name != "frames"}
    depth = torch.arange(3 * 8 * 8, dtype=torch.int32).to(torch.uint16).reshape(3, 1, 8, 8)
    found = shown(CameraBatch(frames={"<b>front</b>": batch.frames, "depth": depth}, **values))
    assert [figure.lines[:2] for figure in found.figures] == [
        [name, f"id {anchor}"] for anchor in range(3) for name in ("<b>front</b>", "depth")
    ]
    assert "depth: scaled to be seen: 0 is black, 191 is white" in found.text
    assert [figure.pictures[0].shape for figure in found.figures] == [(16, 24, 3), (8, 8, 3)] * 3


def test_stacked_cameras_of_a_sample_are_a_strip():
    batch = batch_of(4)
    stacked = torch.stack([batch.frames, 255 - batch.frames], dim=1)
    found = shown(batch.with_frames(stacked))
    expected = np.concatenate([frames_of(4), 255 - frames_of(4)])
    assert [nearest_of(figure.pictures, expected) for figure in found.figures] == [
        [i, 4 + i] for i in range(4)
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_normalised_frames_are_scaled_and_this_is_said(dtype):
    batch = batch_of(5)
    normalised = ((batch.frames.float() / 255 - 0.5) * 4).to(dtype).contiguous().requires_grad_()
    found = shown(batch.with_frames(normalised))
    assert "scaled to be seen: -2 is black" in found.text
    expected = frames_of(5) * (255 / frames_of(5).max())
    assert nearest_of([figure.pictures[0] for figure in found.figures], expected) == list(range(5))


@pytest.mark.parametrize("shape", [(5,), (5, 64), (5, 16, 24), (5, 4, 16, 24), (5, 3, 0, 24), (5, 16, 24, 3)])
def test_a_tensor_that_is_no_picture_is_said_to_be_none(shape):
    found = shown(batch_of(5).with_frames(torch.zeros(shape)))
    assert not found.figures and f"float32 {shape} is no picture" in found.text


def test_an_empty_batch_and_one_without_memory_do_not_raise():
    assert "FrameBatch(0 frames" in shown(replace(batch_of(0))).text
    assert "Cannot be shown" in shown(batch_of(2).with_frames(torch.zeros((2, 3, 8, 8), device="meta"))).text
