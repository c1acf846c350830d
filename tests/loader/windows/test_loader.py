"""Windows out of the real loaders: shapes, masks, views, workers, samples, augmentation; and wrong arguments."""

import pickle
from itertools import count

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from frame_store import FrameIdError
from frame_store.views import select
from loader import (
    Augmentation,
    FrameBatchSampler,
    FrameDataset,
    FrameLoader,
    SamplingError,
    frame_batch_collate,
    join_columns,
    make_dataloader,
)
from loader.windows import Windows, window_spec
from tests.loader.windows.decoded_store import DecodedStore, expected_window
from tests.support.caches.array_store import ArrayStore, spelt_frame_ids

PTS = [[frame / 10 for frame in range(9)], [0.0, 0.1, 0.2, 0.5, 0.6], [0.0]]
STORED = [[0, 2, 4, 6, 8], [0, 1, 2, 4], [0]]
ORDER = [3, 9, 0, 5, 1, 8, 2, 4, 7, 6]


def make_store():
    return DecodedStore(PTS, STORED, order=ORDER, shard_sizes=[4, 6])


SAMPLINGS = [
    {"sampling": "permutation"},
    {"sampling": "stratified"},
    {"sampling": "iid"},
    {"sampling": "sequential"},
    {"sampling": "shards", "frames_per_visit": 2},
    {"sampling": "block", "shards_per_block": 1},
]


def assert_is_as_expected(batch, store, view_ids=None, **offsets):
    """Every window of the batch is that of the loop, and its pixels are those of its ids."""
    spec = window_spec(**offsets)
    for number, frame_id in enumerate(batch.frame_ids.tolist()):
        anchor = frame_id if view_ids is None else view_ids[frame_id]
        (ids, pads), _ = expected_window(store, anchor, spec)
        assert batch.cache_ids[number].tolist() == ids
        assert batch.frame_is_pad[number].tolist() == pads
        rows = store.rows_of(ids)
        assert batch.frame_in_video[number].tolist() == rows["frame_in_video"].tolist()
        assert np.array_equal(batch.pts_seconds[number].numpy(), rows["pts_seconds"], equal_nan=True)
    assert spelt_frame_ids(batch.frames.flatten(0, 1)).tolist() == batch.cache_ids.flatten().tolist()


@pytest.mark.filterwarnings("ignore:1 shard has fewer frames to draw")
@pytest.mark.parametrize("options", SAMPLINGS, ids=lambda options: options["sampling"])
@pytest.mark.parametrize(
    "offsets",
    [
        {"frame_offsets": (-1, 0)},
        {"frame_offsets": (-2, 1), "edges": "whole"},
        {"frame_offsets_seconds": (-0.2, 0, 0.1)},
        {"clip_frames": 2},
    ],
    ids=str,
)
def test_every_sampling_shows_the_windows_of_its_anchors(options, offsets):
    store = make_store()
    loader = FrameLoader(store, batch_size=4, remainder="uneven", seed=3, **options, **offsets)
    num_slots = loader._epochs.windows.spec.frames_per_anchor
    batches = [
        batch for _ in range(8) for batch in loader
    ]  # draws of `iid` and `shards` show every anchor by then
    for batch in batches:
        assert batch.frames.shape == (len(batch), num_slots, 3, 4, 6)
        assert batch.frames.is_contiguous(memory_format=torch.preserve_format) or batch.frames.stride(-3) == 1
        assert batch.frame_ids.shape == batch.video_ids.shape == (len(batch),)
        assert_is_as_expected(batch, store, **offsets)
        assert batch.video_ids.tolist() == store.rows_of(batch.frame_ids.numpy())["video_id"].tolist()
    anchors = {frame_id for batch in batches for frame_id in batch.frame_ids.tolist()}
    fitting = {
        frame_id
        for frame_id in range(len(store))
        if loader._epochs.windows.spec.edges == "pad"
        or not any(expected_window(store, frame_id, window_spec(**offsets))[0][1])
    }
    assert anchors == fitting


def test_a_view_restricts_the_anchors_and_not_what_their_windows_show():
    store = make_store()
    chosen = [1, 4, 6, 9]
    view = select(store, ids=chosen)
    offsets = {"frame_offsets": (-3, 0, 1)}
    batches = list(FrameLoader(view, batch_size=3, remainder="uneven", **offsets))
    shown = {frame_id for batch in batches for frame_id in batch.cache_ids.flatten().tolist()}
    assert shown - set(chosen)
    for batch in batches:
        assert_is_as_expected(batch, store, view_ids=chosen, **offsets)
        own = [store.rows_of([chosen[frame_id]])["video_id"][0] for frame_id in batch.frame_ids.tolist()]
        assert [view.video_ids[row] for row in batch.video_ids.tolist()] == own
    whole = FrameLoader(view, batch_size=8, remainder="uneven", frame_offsets=(-1, 0), edges="whole")
    found = sorted(frame_id for batch in whole for frame_id in batch.frame_ids.tolist())
    spec = window_spec(frame_offsets=(-1, 0))
    assert found == [
        number for number, anchor in enumerate(chosen) if not any(expected_window(store, anchor, spec)[0][1])
    ]


def test_workers_and_torchs_own_loader_show_the_same_windows():
    store = make_store()
    offsets = {"frame_offsets": (-2, 0, 1), "edges": "whole"}
    options = {"batch_size": 3, "seed": 4, "remainder": "uneven", **offsets}
    expected = [batch.tensors() for batch in FrameLoader(store, **options)]
    workers = make_dataloader(store, num_workers=1, multiprocessing_context="fork", **options)
    plain = DataLoader(
        pickle.loads(pickle.dumps(FrameDataset(store, **offsets))),
        batch_sampler=FrameBatchSampler(store, **options),
        collate_fn=frame_batch_collate,
    )
    for batches in (workers, plain):
        for batch, want in zip(batches, expected, strict=True):
            found = batch.tensors()
            assert found.keys() == want.keys() and "frame_is_pad" in want
            assert all(torch.equal(found[name].nan_to_num(-1), want[name].nan_to_num(-1)) for name in want)


def test_a_sampler_draws_the_anchors_whose_rows_of_columns_are_whole():
    """Four decoded frames after the anchor: of nine, the stored ones 0, 2 and 4; of five, 0."""
    store = make_store()
    offsets = {"column_offsets": {"action": range(5)}, "edges": "whole"}
    sampler = FrameBatchSampler(store, batch_size=4, remainder="uneven", **offsets)
    rows = store.rows_of([frame_id for ids in sampler for frame_id in ids])
    drawn = sorted(zip(rows["video_id"].tolist(), rows["frame_in_video"].tolist(), strict=True))
    assert drawn == [(0, 0), (0, 2), (0, 4), (1, 0)]
    table = {"video": ["000.mp4"] * 9 + ["001.mp4"] * 5 + ["002.mp4"], "frame": [*range(9), *range(5), 0]}
    columns = join_columns(store, {**table, "action": np.arange(15.0)})
    dataset = FrameDataset(store, columns=columns, **offsets)
    batches = DataLoader(dataset, batch_sampler=sampler, collate_fn=frame_batch_collate)
    for batch in batches:
        first = batch.columns["action"][:, :1]
        assert torch.equal(batch.columns["action"], first + torch.arange(5.0))
        assert not batch.column_is_pad["action"].any() and batch.frames.dim() == 4


def test_a_dataset_gives_windows_as_samples_and_no_window_that_is_not_whole():
    store = make_store()
    padded = FrameDataset(store, frame_offsets=(-1, 0))
    sample = padded[2]
    assert sample["frame"].shape == (2, 3, 4, 6) and sample["frame_is_pad"].shape == (2,)
    assert sample["cache_id"].shape == (2,) and sample["frame_id"].shape == ()
    collated = next(iter(DataLoader(padded, batch_size=4)))
    assert collated["frame_is_pad"].shape == collated["frame_in_video"].shape == (4, 2)
    whole = FrameDataset(store, frame_offsets=(-1, 0), edges="whole")
    fits = [
        frame_id
        for frame_id in range(len(store))
        if not any(expected_window(store, frame_id, window_spec(frame_offsets=(-1, 0)))[0][1])
    ]
    for frame_id in range(len(store)):
        if frame_id in fits:
            assert not whole[frame_id]["frame_is_pad"].any()
        else:
            with pytest.raises(FrameIdError, match=f"frame {frame_id} has no whole window of frame_offsets"):
                whole[frame_id]


def test_a_window_is_augmented_by_its_anchor_also_in_a_view():
    store = make_store()
    augment = Augmentation(flip_probability=0.5, seed=2)
    options = {"frame_offsets": (-1, 0, 2), "sampling": "sequential", "remainder": "uneven"}
    (whole,) = FrameLoader(store, batch_size=16, augment=augment, **options)
    view = select(store, ids=[2, 5, 7, 8])
    (part,) = FrameLoader(view, batch_size=16, augment=augment, **options)
    assert torch.equal(part.frames, whole.frames[[2, 5, 7, 8]])
    parameters = augment.parameters(np.arange(10), epoch=0, frame_size=(4, 6))
    plain = store.read_frames(whole.cache_ids.numpy().ravel()).reshape(10, 3, 4, 6, 3)
    for number, is_flipped in enumerate(parameters.flips):
        pixels = torch.from_numpy(plain[number]).movedim(-1, 1) / 255
        assert torch.allclose(whole.frames[number], pixels.flip(-1) if is_flipped else pixels)
    assert 0 < parameters.flips.sum() < 10


def test_without_windows_a_batch_is_as_it_was():
    store = make_store()
    (batch,) = FrameLoader(store, batch_size=10)
    assert batch.cache_ids.tolist() == batch.frame_ids.tolist()
    assert batch.frame_is_pad is None and batch.columns == batch.column_is_pad == batch.columns_valid == {}
    assert batch.frames.dim() == 4
    (one,) = FrameLoader(store, batch_size=10, frame_offsets=[0])
    assert one.frames.shape == (10, 1, 3, 4, 6) and not one.frame_is_pad.any()


def test_a_loader_says_what_it_shows_and_names_the_videos_that_are_too_short():
    store = make_store()
    loader = FrameLoader(store, batch_size=2, frame_offsets=range(4), edges="whole", remainder="uneven")
    assert repr(loader) == (
        "FrameLoader(frame_offsets=(0, 1, 2, 3) edges=whole; sampling=permutation seed=0; an epoch is 3 windows; "
        "2 batches of up to 2 windows; 1 of 10 frames are in 1 video without a whole window: 002.mp4; "
        "next is epoch 0)"
    )
    many = FrameLoader(store, batch_size=2, frame_offsets=range(-9, 1), remainder="uneven")
    assert repr(many).startswith("FrameLoader(frame_offsets=(-9, -8, ..., 0) edges=pad; sampling=permutation")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_offsets": []}, r"frame_offsets is empty; give one offset or more"),
        ({"frame_offsets": (-0.5, 0)}, r"frame_offsets\[0\] must be a whole number, found -0.5"),
        ({"frame_offsets": (0, True)}, r"frame_offsets\[1\] must be a whole number, found True"),
        ({"frame_offsets": 3}, r"frame_offsets must be a list of offsets such as \(-1, 0\), found 3"),
        ({"frame_offsets": "01"}, r"frame_offsets must be a list of offsets"),
        (
            {"frame_offsets": (0, 2**63 - 1)},
            r"frame_offsets\[1\] must lie between -4,294,967,296 and 4,294,967,296, found 9223372036854775807",
        ),
        ({"column_offsets": {"action": (-(2**70),)}}, r"column_offsets\['action'\]\[0\] must lie between"),
        ({"frame_offsets": count()}, "frame_offsets has at most 65,536 offsets, and there are more"),
        (
            {"clip_frames": 2**40},
            "a clip has at most 65,536 frames over .* found clip_frames=1099511627776 and",
        ),
        (
            {"clip_frames": 2, "clip_stride": 2**63},
            "a clip has at most .* and clip_stride=9223372036854775808",
        ),
        ({"frame_offsets_seconds": (0, float("nan"))}, r"frame_offsets_seconds\[1\] must be a finite number"),
        ({"frame_offsets_seconds": ("x",)}, r"frame_offsets_seconds\[0\] must be a finite number of seconds"),
        (
            {"frame_offsets": [0], "frame_offsets_seconds": [0.0]},
            "give frame_offsets or frame_offsets_seconds",
        ),
        (
            {"frame_offsets": [0], "clip_frames": 2},
            r"give clip_frames or frame_offsets, not both: clip_frames=2",
        ),
        ({"frame_offsets_seconds": [0], "clip_frames": 2}, "give clip_frames or frame_offsets_seconds"),
        ({"clip_stride": 2}, "clip_stride needs clip_frames"),
        ({"clip_frames": 0}, "clip_frames must be 1 or more, found 0"),
        ({"clip_frames": 2, "clip_stride": 0}, "clip_stride must be 1 or more, found 0"),
        (
            {"frame_offsets": [0], "edges": "pads"},
            "edges must be one of pad, whole; found 'pads'; did you mean 'pad'",
        ),
        ({"edges": "whole"}, "edges='whole' is for windows: give frame_offsets or column_offsets"),
        (
            {"frame_offsets_seconds": [0], "tolerance_seconds": -1},
            "tolerance_seconds must be a number of seconds, 0 or more, found -1",
        ),
        ({"column_offsets": [0, 1]}, r"column_offsets must give the offsets of each column, such as"),
        ({"column_offsets": {"action": []}}, r"column_offsets\['action'\] is empty"),
        (
            {"column_offsets": {"action": [0]}},
            "column_offsets: the store has no column 'action', it has no columns",
        ),
        (
            {"frame_offsets": (0, 5), "edges": "whole"},
            "windows longer than every video: .* fits into none of 3 videos, the longest of which has 5 stored",
        ),
        (
            {"frame_offsets_seconds": (0, 7.0), "edges": "whole"},
            "edges='whole': no frame of .* has a whole window",
        ),
    ],
)
def test_offsets_that_make_no_windows_are_refused(options, message):
    with pytest.raises(SamplingError, match=message):
        FrameLoader(make_store(), batch_size=2, **options)


def test_a_column_that_is_not_there_is_answered_with_the_nearest():
    store = make_store()
    names = ["action", "observation.state", "action_mask"]
    spec = window_spec(column_offsets={"actoin": range(4)})
    with pytest.raises(SamplingError, match=r"no column 'actoin', it has action, .*did you mean 'action'"):
        Windows(store, spec, columns=names)
    both = {"column_offsets": {"action": [0]}, "column_offsets_seconds": {"action": [0.1]}}
    with pytest.raises(
        SamplingError, match="column 'action' is in column_offsets and in column_offsets_seconds"
    ):
        window_spec(**both)


def test_seconds_without_pts_are_refused():
    nothing = DecodedStore([[np.nan] * 4], [[0, 1, 3]])
    with pytest.raises(
        SamplingError, match="offsets in seconds need the times of frames, and none of 1 video has"
    ):
        FrameLoader(nothing, batch_size=2, frame_offsets_seconds=(-0.1, 0))
    assert len(FrameLoader(nothing, batch_size=2, frame_offsets=(-1, 0)))


def test_views_whose_anchors_have_no_whole_window_are_refused():
    store = make_store()
    view = select(store, videos=["002.mp4"])
    with pytest.raises(
        SamplingError, match=r"edges='whole': no frame of View.* has a whole window of frame_offsets"
    ):
        FrameLoader(view, batch_size=1, frame_offsets=(0, 1), edges="whole")


def test_an_array_store_of_many_batches_is_read_at_once():
    """The threads read the frames of a batch in one call, anchors and all."""
    store = ArrayStore([50])
    list(FrameLoader(store, batch_size=10, frame_offsets=(-1, 0, 1), num_threads=1, next_epoch=False))
    assert store.reads == [30] * 5
