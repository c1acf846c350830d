"""Augmentation of cameras: each draws by its name and the anchor's cache id, or all share one draw."""

import numpy as np
import pytest
import torch

from frame_store import select
from loader import (
    Augmentation,
    AugmentationError,
    CameraBatch,
    ColorJitter,
    FrameLoader,
    RandomResizedCrop,
    SamplingError,
    make_dataloader,
)
from loader.batches import frame_sources
from loader.torch_loader.worker_loader import uploaded
from tests.loader.cameras.moments import make_group, same, spelt

AUGMENT = Augmentation(
    crop=RandomResizedCrop(size=3, scale=(0.2, 1)), flip_probability=0.5, jitter=ColorJitter(hue=0.2), seed=3
)
OPTIONS = {"batch_size": 4, "sampling": "sequential", "remainder": "uneven"}
ALIKE = {"shapes": [(8, 9, 3)] * 2}


def drawn(ids, camera, frame_size=(8, 9), epoch=0):
    return AUGMENT.parameters(ids, epoch=epoch, frame_size=frame_size, camera=camera)


def equal(one, other):
    return (
        np.array_equal(one.flips, other.flips)
        and np.array_equal(one.jitter_factors, other.jitter_factors)
        and np.array_equal(one.crop_boxes, other.crop_boxes)
    )


def test_each_camera_draws_by_its_name():
    ids = np.arange(200)
    draws = {name: drawn(ids, name) for name in [None, "a", "b", "ä"]}
    for name, draw in draws.items():
        assert equal(draw, drawn(ids, name))
        assert not any(equal(draw, other) for key, other in draws.items() if key != name)
    flips = np.array([draw.flips for draw in draws.values()])
    assert (np.abs(np.corrcoef(flips)[~np.eye(4, dtype=bool)]) < 0.3).all()


@pytest.mark.parametrize("frame_offsets", [None, (-1, 0)], ids=["frames", "windows"])
@pytest.mark.parametrize("shared_augment", [False, True])
def test_batches_have_the_draws_of_their_anchors(frame_offsets, shared_augment):
    group = make_group(shapes=[(8, 9, 3), (6, 12, 3)])
    options = {**OPTIONS, "frame_offsets": frame_offsets}
    view = select(group, ids=range(3, 17))
    loader = FrameLoader(view, augment=AUGMENT, shared_augment=shared_augment, **options)
    for batch, raw in zip(loader, FrameLoader(view, **options), strict=True):
        anchors = raw.frame_ids + 3  # of the cache
        for name, frames in batch.frames.items():
            camera = None if shared_augment else name
            expected = AUGMENT(raw.frames[name], frame_ids=anchors, epoch=0, camera=camera)
            assert torch.equal(frames, expected) and frames.shape[-3:] == (3, 3, 3)


def test_the_place_of_a_camera_does_not_change_its_draw():
    draws = []
    for names in ("ab", "ba"):
        # Camera number 0 is the first, so the same store has another name in each group.
        group = make_group(names=names, **ALIKE)
        (batch, *_) = FrameLoader(group, augment=lambda frames: frames, **OPTIONS)
        ids = batch.frame_ids
        draws.append(
            {
                name: AUGMENT(
                    torch.full((4, 3, 8, 9), 7, dtype=torch.uint8), frame_ids=ids, epoch=0, camera=name
                )
                for name in names
            }
        )
    assert all(torch.equal(draws[0][name], draws[1][name]) for name in "ab")
    chosen = FrameLoader(make_group(**ALIKE), cameras=["b"], augment=AUGMENT, **OPTIONS)
    for batch, both in zip(chosen, FrameLoader(make_group(**ALIKE), augment=AUGMENT, **OPTIONS), strict=True):
        assert torch.equal(batch.frames["b"], both.frames["b"])


@pytest.mark.parametrize("frame_offsets", [None, (-1, 0)], ids=["frames", "windows"])
def test_stacked_images_are_those_of_each_camera(frame_offsets):
    options = {**OPTIONS, "augment": AUGMENT, "frame_offsets": frame_offsets}
    group = make_group(**ALIKE)
    for batch, apart in zip(
        FrameLoader(group, stack_cameras=True, **options), FrameLoader(group, **options), strict=True
    ):
        expected = torch.stack(list(apart.frames.values()), dim=-4)
        assert torch.equal(batch.frames, expected)


def test_a_callable_gets_the_tensor_of_each_camera():
    seen = []

    def note(frames):
        seen.append((spelt(frames)[0][0], tuple(frames.shape)))
        return frames.float().mean((-2, -1))

    (batch,) = FrameLoader(make_group(), augment=note, num_threads=1, batch_size=22, next_epoch=False)
    assert seen == [(0, (22, 3, 4, 6)), (1, (22, 3, 8, 5))]
    assert batch.frames["b"].shape == (22, 3)
    (stacked,) = FrameLoader(make_group(**ALIKE), augment=note, stack_cameras=True, batch_size=22)
    assert stacked.frames.shape == (22, 2, 3)


def test_a_camera_can_have_an_augmentation_of_its_own():
    raw = list(FrameLoader(make_group(), **OPTIONS))
    for batch, plain in zip(FrameLoader(make_group(), augment={"b": AUGMENT}, **OPTIONS), raw, strict=True):
        assert torch.equal(batch.frames["a"], plain.frames["a"])
        expected = AUGMENT(plain.frames["b"], frame_ids=plain.frame_ids, epoch=0, camera="b")
        assert torch.equal(batch.frames["b"], expected)


def test_augmentations_that_do_not_fit_are_refused():
    group = make_group()
    for options, message in [
        ({"augment": {"c": AUGMENT}}, "augment has a camera 'c', and the batch has 'a', 'b'"),
        (
            {"shared_augment": True},
            r"shared_augment=True shares what a loader.Augmentation draws, found augment=None",
        ),
        ({"shared_augment": True, "augment": torch.nn.Identity()}, "found augment=Identity"),
        ({"augment": {"a": 3}}, "augment must be a loader.Augmentation"),
    ]:
        with pytest.raises(SamplingError, match=message):
            FrameLoader(group, **options)
    with pytest.raises(AugmentationError, match=r"augment=broken must return .* of camera 'b', found"):
        list(FrameLoader(group, augment={"b": broken}, batch_size=4))
    with pytest.raises(
        SamplingError, match=r"needs augmented frames of one shape and dtype, found 'a' torch.uint8"
    ):
        list(FrameLoader(make_group(**ALIKE), augment={"b": AUGMENT}, stack_cameras=True, batch_size=4))


def broken(frames):
    return frames[:1]


@pytest.mark.parametrize("streams", [False], ids=["at once"], indirect=True)
@pytest.mark.parametrize("stack_cameras", [False, True])
def test_devices_and_workers_draw_the_same(streams, monkeypatch, stack_cameras):
    options = {**OPTIONS, "augment": AUGMENT, "stack_cameras": stack_cameras}
    group = make_group(**ALIKE)
    expected = list(FrameLoader(group, **options))
    for how in ({"device": "cuda"}, {"num_workers": 2}):
        found = list(make_dataloader(group, **how, **options))
        assert all(isinstance(batch, CameraBatch) != stack_cameras for batch in found)
        assert all(same(*pair) for pair in zip(found, expected, strict=True))
    # With workers, the process that iterates uploads and augments.
    monkeypatch.setattr(streams, "upload", lambda host: host.clone())  # the memory is not of `host_memory`
    sources = frame_sources(group, augment=AUGMENT, stack_cameras=stack_cameras)
    plain = FrameLoader(group, **{**options, "augment": None})
    for batch, augmented in zip(plain, expected, strict=True):
        assert same(uploaded(batch, streams, store=group, sources=sources), augmented)
