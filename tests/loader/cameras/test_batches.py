"""Batches of a group of cameras: every camera shows the moment that ids, rows and columns state."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, default_collate

from frame_store import select
from frame_store.cameras import group_cameras
from loader import (
    CameraBatch,
    FrameBatch,
    FrameBatchSampler,
    FrameDataset,
    FrameLoader,
    SamplingError,
    frame_batch_collate,
    make_dataloader,
)
from tests.loader.cameras.moments import SIZES, MomentStore, check_batch, make_group, moments_of, same, spelt

NUM_FRAMES = sum(SIZES)
OTHER_ORDER = np.random.default_rng(0).permutation(NUM_FRAMES)
WINDOWS = {"frame_offsets": (0, -2, 3), "column_offsets": {"count": (0, 1)}}
ORDERS = {"same order": (None, None), "other orders": (OTHER_ORDER[::-1], OTHER_ORDER)}


@pytest.fixture(params=ORDERS.values(), ids=ORDERS)
def group(request):
    return make_group(orders=request.param)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_every_camera_shows_the_stated_moments(data):
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    orders = [data.draw(st.one_of(st.none(), st.permutations(range(sum(sizes))))) for _ in "abc"]
    shapes = [(4, 6, 3), (5, 4, 3), (4, 6, 3)]
    names = data.draw(st.permutations("abc"))
    group = make_group(orders=orders, shapes=shapes, sizes=sizes, names=names)
    offsets = data.draw(st.one_of(st.none(), st.lists(st.integers(-3, 3), min_size=1, max_size=3)))
    # The first offset is the anchor, so that the columns can be compared with the windows.
    options = {} if offsets is None else {"frame_offsets": [0, *offsets]}
    chosen = data.draw(st.one_of(st.none(), st.lists(st.sampled_from(names), min_size=1, unique=True)))
    is_view = data.draw(st.booleans())
    store = select(group, ids=sorted({0, sum(sizes) - 1, sum(sizes) // 2})) if is_view else group
    loader = FrameLoader(
        store, cameras=chosen, batch_size=3, remainder="uneven", num_threads=2, seed=1, **options
    )
    shown = []
    numbers = {name: number for number, name in enumerate(names)}
    for batch in loader:
        assert isinstance(batch, CameraBatch)
        check_batch(batch, chosen or names, numbers, store.video_ids if is_view else None)
        shown.append(batch.frame_ids.numpy())
    assert sorted(np.concatenate(shown)) == list(range(len(store)))


@pytest.mark.parametrize("options", [{}, WINDOWS, {"sampling": "sequential"}, {"clip_frames": 2}], ids=str)
def test_a_batch_states_all_once(group, options):
    for batch in FrameLoader(group, batch_size=4, **options):
        check_batch(batch)
        shape = batch.cache_ids.shape
        assert batch.frames["a"].shape == (*shape, 3, 4, 6) and batch.frames["b"].shape == (*shape, 3, 8, 5)
        assert batch.frames["a"].dtype == torch.uint8


def test_one_camera_is_still_a_dict():
    group = group_cameras({"only": MomentStore(0, SIZES)})
    (batch, *_) = FrameLoader(group, batch_size=4)
    assert isinstance(batch, CameraBatch) and list(batch.frames) == ["only"]
    assert np.array_equal(spelt(batch.frames["only"])[1], moments_of(batch))


def test_what_a_batch_does(group):
    (batch, *_) = FrameLoader(group, batch_size=4, num_threads=1, **WINDOWS)
    assert len(batch) == 4
    assert list(batch.tensors())[:3] == ["frames['a']", "frames['b']", "frame_ids"]
    sample = batch[2]
    assert sample["frame"].keys() == {"a", "b"} and sample["frame"]["b"].shape == (3, 3, 8, 5)
    assert (
        torch.equal(sample["frame"]["a"], batch.frames["a"][2]) and sample["frame_id"] == batch.frame_ids[2]
    )
    assert torch.equal(default_collate([batch[0], batch[1]])["frame"]["b"], batch.frames["b"][:2])
    assert same(batch.to("cpu"), batch) and isinstance(batch.to("cpu"), CameraBatch)
    doubled = batch.changed(lambda tensor: tensor if tensor.dtype == torch.bool else tensor * 2)
    assert torch.equal(doubled.frames["b"], batch.frames["b"] * 2)
    assert torch.equal(doubled.columns["count"], batch.columns["count"] * 2)
    replaced = batch.with_frames({"x": torch.zeros(4, 2)})
    assert replaced.frames["x"].shape == (4, 2) and replaced.frame_ids is batch.frame_ids
    assert repr(batch) == (
        "CameraBatch(4 windows, a uint8 (4, 3, 3, 4, 6), b uint8 (4, 3, 3, 8, 5), count (4, 2), 2304 bytes on cpu)"
    )
    assert same(pickle.loads(pickle.dumps(batch)), batch)


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (torch.zeros(4, 3, 2, 2), TypeError, "frames must be a dict by camera, found Tensor"),
        ({}, ValueError, "frames must have a camera"),
        (
            {"a": torch.zeros(4), "b": torch.zeros(3)},
            ValueError,
            r"frames\['b'\] must have the first dimension 4",
        ),
        ({"a": np.zeros(4)}, TypeError, r"frames\['a'\] must be a torch.Tensor, found ndarray"),
    ],
    ids=["tensor", "none", "short", "array"],
)
def test_frames_that_do_not_fit_are_refused(group, frames, error, message):
    (batch, *_) = FrameLoader(group, batch_size=4)
    with pytest.raises(error, match=message):
        batch.with_frames(frames)


# Stacked ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, WINDOWS], ids=["frames", "windows"])
def test_stacked_cameras_are_one_tensor_without_a_copy(options):
    group = make_group(orders=(None, OTHER_ORDER), shapes=[(4, 6, 3)] * 2)
    apart = FrameLoader(group, batch_size=4, num_threads=1, **options)
    for batch, expected in zip(
        FrameLoader(group, batch_size=4, stack_cameras=True, **options), apart, strict=True
    ):
        assert isinstance(batch, FrameBatch)
        window = batch.cache_ids.shape[1:]
        assert batch.frames.shape == (4, *window, 2, 3, 4, 6)
        for number, name in enumerate("ab"):
            assert torch.equal(batch.frames.select(-4, number), expected.frames[name])
        pointers = {batch.frames.select(-4, number).untyped_storage().data_ptr() for number in (0, 1)}
        assert pointers == {batch.frames.untyped_storage().data_ptr()}


def test_cameras_that_differ_cannot_be_stacked():
    with pytest.raises(
        SamplingError,
        match=r"one shape and dtype: 'a' has torch.uint8 \(4, 6, 3\), 'b' has torch.uint8 \(8, 5, 3\)",
    ):
        FrameLoader(make_group(), stack_cameras=True)
    three = make_group(orders=[None] * 3, shapes=[(4, 6, 3), (8, 5, 3), (4, 6, 3)], names="abc")
    (batch, *_) = FrameLoader(three, stack_cameras=True, cameras=["c", "a"], batch_size=4)
    assert (spelt(batch.frames)[0] == [2, 0]).all()


# Options ---------------------------------------------------------------------------------------------------------


def test_options_of_cameras_need_cameras():
    store = MomentStore(0, SIZES)
    for options in (
        {"cameras": ["a"]},
        {"stack_cameras": True},
        {"shared_augment": True},
        {"augment": {"a": torch.nn.Identity()}},
    ):
        with pytest.raises(SamplingError, match="is for a group of cameras, found a MomentStore"):
            FrameLoader(store, **options)


@pytest.mark.parametrize("cameras", ["a", ["c"], [], ["a", "a"]])
def test_cameras_must_be_some_of_those_there_are(cameras):
    with pytest.raises(SamplingError, match=r"cameras must be (some of 'a', 'b'|a list of names)"):
        FrameLoader(make_group(), cameras=cameras)


def test_only_the_chosen_cameras_are_read():
    cameras = {name: MomentStore(number, SIZES) for number, name in enumerate("ab")}
    list(FrameLoader(group_cameras(cameras), cameras=["b"], batch_size=4))
    assert not cameras["a"].reads and cameras["b"].reads


# Every way to read -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, WINDOWS], ids=["frames", "windows"])
def test_a_device_gets_the_same_batches(streams, group, options):
    options = {"batch_size": 4, "seed": 2, **options}
    for _ in range(2):
        pairs = zip(FrameLoader(group, device="cuda", **options), FrameLoader(group, **options), strict=True)
        assert all(same(*pair) for pair in pairs)


@pytest.mark.parametrize("streams", [False], ids=["at once"], indirect=True)
def test_a_device_stacks(streams):
    group = make_group(orders=(None, OTHER_ORDER), shapes=[(4, 6, 3)] * 2)
    options = {"batch_size": 4, "stack_cameras": True, **WINDOWS}
    pairs = zip(FrameLoader(group, device="cuda", **options), FrameLoader(group, **options), strict=True)
    assert all(same(*pair) for pair in pairs)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_worker_processes_give_the_same_batches(group, num_workers):
    options = {"batch_size": 4, "seed": 5, **WINDOWS}
    expected = list(FrameLoader(group, **options))
    found = make_dataloader(group, num_workers=num_workers, **options)
    assert all(same(*pair) for pair in zip(found, expected, strict=True))
    sampler = FrameBatchSampler(group, **options)
    dataset = FrameDataset(group, **WINDOWS)
    batches = DataLoader(
        dataset, batch_sampler=sampler, collate_fn=frame_batch_collate, num_workers=num_workers
    )
    assert all(same(*pair) for pair in zip(batches, expected, strict=True))
    assert dataset[3]["frame"]["b"].shape == (3, 3, 8, 5)
    assert repr(dataset) == f"FrameDataset({NUM_FRAMES} frames of 4x6, 8x5 in CameraGroup)"


def test_a_run_resumes_with_other_ranks(group):
    options = {"batch_size": 2, "seed": 3, "remainder": "uneven"}
    loader = FrameLoader(group, **options)
    batches = iter(loader)
    seen = [next(batches).frame_ids for _ in range(3)]
    state = loader.state_dict()
    batches.close()
    for rank in range(2):
        resumed = FrameLoader(group, rank=rank, world_size=2, **options)
        resumed.load_state_dict(state)
        for batch in resumed:
            check_batch(batch)
            seen.append(batch.frame_ids)
    assert sorted(torch.cat(seen).tolist()) == list(range(NUM_FRAMES))
    with pytest.raises(SamplingError):
        FrameLoader(make_group(sizes=[*SIZES, 3], orders=(None, None)), **options).load_state_dict(state)


def test_weights_and_seconds_go_by_the_first_camera(group):
    offsets = {"frame_offsets_seconds": (0, 0.04), "weights": "video"}
    loader = FrameLoader(group, batch_size=4, sampling="iid", **offsets)
    expected = FrameLoader(group.leader, batch_size=4, sampling="iid", columns=(), **offsets)
    for batch, one in zip(loader, expected, strict=True):
        check_batch(batch)
        assert torch.equal(batch.frame_is_pad, one.frame_is_pad)
        assert torch.equal(batch.cache_ids, one.cache_ids)


# Look-ahead and prefetching --------------------------------------------------------------------------------------


class GroupedMoments(MomentStore):
    """Decodes groups of four."""

    def decode_groups(self, frame_ids):
        return np.asarray(frame_ids) - np.asarray(frame_ids) % 4

    def read_frames_into(self, frame_ids, outs):
        for frame, out in zip(self.read_frames(frame_ids), outs, strict=True):
            out[:] = frame


@pytest.mark.parametrize("stack_cameras", [False, True])
def test_lookahead_reads_each_camera(stack_cameras):
    shapes = [(4, 6, 3)] * 2
    group = group_cameras(
        {
            "a": GroupedMoments(0, SIZES, frame_shape=shapes[0]),
            "b": GroupedMoments(1, SIZES, frame_shape=shapes[1], order=OTHER_ORDER),
        }
    )
    options = {"batch_size": 3, "seed": 4, "stack_cameras": stack_cameras}
    for lookahead_bytes in (0, 72 * 2 * 5, 1 << 20):
        found = FrameLoader(group, lookahead=4, lookahead_bytes=lookahead_bytes, num_threads=3, **options)
        assert all(same(*pair) for pair in zip(found, FrameLoader(group, **options), strict=True))
        assert found._lookahead_frames == min(lookahead_bytes // 144, found._lookahead_frames)


def test_lookahead_names_the_camera_that_decodes_no_groups():
    group = group_cameras({"a": GroupedMoments(0, SIZES), "b": MomentStore(1, SIZES)})
    with pytest.raises(
        SamplingError, match="camera 'b': lookahead=2 is for videos decoded live; MomentStore"
    ):
        FrameLoader(group, lookahead=2)


class ColdStore(MomentStore):
    """Notes what it was asked to fetch."""

    def prefetch(self, frame_ids):
        rows = self._index[np.asarray(frame_ids)]
        self.fetched = getattr(self, "fetched", [])
        self.fetched += (rows["video_id"] * 1000 + rows["frame_in_video"]).tolist()
        return True


def test_each_camera_is_asked_for_its_frames_ahead():
    cameras = {"a": ColdStore(0, SIZES), "b": ColdStore(1, SIZES, order=OTHER_ORDER)}
    loader = FrameLoader(group_cameras(cameras), batch_size=4, next_epoch=False)
    moments = [m for batch in loader for m in moments_of(batch)]
    assert [cameras[name].fetched for name in "ab"] == [moments] * 2


class JpegStore(MomentStore):
    """Says that it holds JPEG."""

    encoding_name = "jpeg"

    def read_encoded(self, frame_ids):
        raise AssertionError


class GpuStore(MomentStore):
    """Says that it decodes on a GPU."""

    device = torch.device("cuda", 0)

    def read_frames_on_device(self, frame_ids, out=None):
        out[:] = torch.from_numpy(self.read_frames(frame_ids))
        return out


def test_jpeg_on_the_gpu_needs_jpeg_in_all_cameras(streams):
    group = group_cameras({"a": JpegStore(0, SIZES), "b": MomentStore(1, SIZES)})
    with pytest.raises(SamplingError, match="camera 'b': jpeg_decode='gpu' needs a cache of JPEG frames"):
        FrameLoader(group, device="cuda", jpeg_decode="gpu")


def test_a_camera_that_decodes_on_a_gpu_decides_the_device(streams):
    group = group_cameras({"a": MomentStore(0, SIZES), "b": GpuStore(1, SIZES)})
    options = {"batch_size": 4, "num_threads": 1}
    loader = FrameLoader(group, **options)
    pairs = zip(loader, FrameLoader(group, device="cpu", **options), strict=True)
    assert all(same(*pair) for pair in pairs)
    other = GpuStore(0, SIZES)
    other.device = torch.device("cuda", 1)
    with pytest.raises(
        SamplingError, match=r"cameras decode on different GPUs \('a' on cuda:1, 'b' on cuda:0\)"
    ):
        FrameLoader(group_cameras({"a": other, "b": GpuStore(1, SIZES)}))
