"""Loaders over views and concatenations: the pixels are those of the base, videos and ids are the view's."""

import warnings

import numpy as np
import pytest

from frame_store import concat, select, split
from loader import FrameDataset, FrameLoader, SamplingError, make_dataloader
from tests.support.caches.array_store import ArrayStore, spelt_frame_ids

SHARDS = [9, 12, 7, 7]


class GroupedStore(ArrayStore):
    """A store that decodes groups of five frames, and remembers the groups that it decoded."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.decoded = []

    def decode_groups(self, frame_ids):
        return np.asarray(frame_ids) // 5 * 5

    def read_frames_into(self, frame_ids, outs):
        self.decoded.append(sorted({int(group) for group in self.decode_groups(frame_ids)}))
        for out, frame in zip(outs, self.read_frames(frame_ids), strict=True):
            out[:] = frame


def shuffled():
    return ArrayStore(SHARDS, order=np.random.default_rng(4).permutation(sum(SHARDS)))


VIEWS = {
    "videos": lambda: select(shuffled(), videos=[0, 2, 4]),
    "frames": lambda: select(ArrayStore(SHARDS), ids=range(1, 35, 3)),
    "a part of a part": lambda: select(split(shuffled(), {"a": 0.7, "b": 0.3}, seed=0)["a"], ids=range(9)),
}


def assert_batches_are_of(view, batches):
    """Pixels spell the base's ids."""
    seen = []
    for batch in batches:
        ids = batch.frame_ids.numpy()
        cache_ids = view.cache_ids(ids)
        assert batch.cache_ids.tolist() == cache_ids.tolist()
        assert spelt_frame_ids(batch.frames).tolist() == cache_ids.tolist()
        rows = view.rows_of(ids)
        assert batch.video_ids.tolist() == rows["video_id"].tolist()
        assert batch.frame_in_video.tolist() == rows["frame_in_video"].tolist()
        seen += ids.tolist()
    return seen


@pytest.mark.parametrize("make", VIEWS.values(), ids=VIEWS)
def test_every_loader_reads_a_view(make):
    view = make()
    options = {"batch_size": 4, "remainder": "uneven", "seed": 3}
    seen = assert_batches_are_of(view, FrameLoader(view, **options))
    assert sorted(seen) == list(range(len(view)))
    workers = make_dataloader(view, num_workers=1, multiprocessing_context="fork", **options)
    assert assert_batches_are_of(view, workers) == seen
    assert_batches_are_of(view, [FrameDataset(view).__getitems__([0, 2, 1])])


def test_a_loader_looks_ahead_in_the_base_of_a_view_and_of_several():
    """Each group of pictures is decoded once for all batches that are known."""
    bases = [GroupedStore([20, 15]), GroupedStore([10])]
    view = concat([select(bases[0], ids=range(0, 30, 2)), bases[1]])
    loader = FrameLoader(view, batch_size=5, lookahead=20, num_threads=1, remainder="uneven")
    seen = []
    for batch in loader:
        seen += batch.frame_ids.tolist()
        ids = view.cache_ids(batch.frame_ids.numpy())
        own = np.where(ids < 35, ids, ids - 35)
        assert spelt_frame_ids(batch.frames).tolist() == own.tolist()
    assert sorted(seen) == list(range(25))
    groups = [group for decoded in bases[0].decoded for group in decoded]
    assert sorted(groups) == [0, 5, 10, 15, 20, 25]
    assert sorted(group for decoded in bases[1].decoded for group in decoded) == [0, 5]


def test_lookahead_needs_all_parts_to_decode_in_groups():
    mixed = concat([GroupedStore([10]), ArrayStore([10])])
    with pytest.raises(SamplingError, match="lookahead=2 is for videos decoded live"):
        FrameLoader(select(mixed, ids=range(5)), batch_size=2, lookahead=2)


def test_weights_and_views_go_through_every_loader_alike():
    view = VIEWS["videos"]()
    options = {"batch_size": 4, "sampling": "shards", "frames_per_visit": 4, "weights": "video", "seed": 9}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = assert_batches_are_of(view, FrameLoader(view, **options))
        workers = make_dataloader(view, num_workers=1, multiprocessing_context="fork", **options)
    assert assert_batches_are_of(view, workers) == expected
