"""What `sampling="stratified"` must show: frames in time order from the rows alone, and the nested order over them."""

from contextlib import contextmanager

import numpy as np
import pytest

from loader.sampling.orders import NestedOrder, epoch_keys

CONTENT_DIGEST = "0123456789abcdef"


def ids_by_time(store):
    """Frame ids video by video in time order, from the rows alone: int64 (N,)."""
    rows = store.rows_of(np.arange(len(store)))
    return np.lexsort((rows["frame_in_video"], rows["video_id"]))


def epoch_over(ids, *, seed=0, epoch=0):
    """The ids by position of an epoch whose strata are cut from `ids`."""
    keys = epoch_keys(seed=seed, epoch=epoch, num_keys=2)
    return NestedOrder(len(ids), keys, lambda places: ids[places]).ids(0, len(ids))


def check_videos_are_spread(ids, videos_of_frames, num_frames):
    """A batch of 2^k has each video as often as its share says: a stretch more or less at each of its ends."""
    batch_size = len(ids)
    assert batch_size & (batch_size - 1) == 0
    sizes = np.bincount(videos_of_frames)
    counts = np.bincount(videos_of_frames[ids], minlength=len(sizes))
    least, most = num_frames // batch_size, -(-num_frames // batch_size)
    assert (counts <= -(-sizes // least) + 1).all()
    assert (counts >= sizes // most - 1).all()


@contextmanager
def made_up_content(ids_of, digest=CONTENT_DIGEST):
    """Every store has the content order `ids_of(store)`."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("weighted", "strata"):
            patch.setattr(
                f"loader.sampling.orders.{module}.content_ids_at",
                lambda store, places: ids_of(store)[places].astype(np.int64),
            )
        patch.setattr("loader.sampling.orders.strata.content_label", lambda _store: digest)
        yield


def some_order(store):
    """A content order for tests: the frames of a store shuffled, the same each time."""
    return np.random.default_rng(len(store)).permutation(len(store)).astype(np.uint32)
