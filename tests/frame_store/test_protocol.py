"""What counts as a frame store."""

import pytest

from frame_store.protocol import (
    DecodesInGroups,
    DecodesOnDevice,
    FrameStore,
    HoldsEncodedFrames,
    PrefetchingStore,
)
from tests.support.caches.array_store import ArrayStore

PROTOCOLS = (FrameStore, PrefetchingStore, DecodesInGroups, HoldsEncodedFrames, DecodesOnDevice)


class LazyStore(ArrayStore):
    """Nothing of it may be computed by a question for its kind."""

    @property
    def source_order(self):
        raise AssertionError("read without need")

    videos = fingerprint = shard_sizes = encoding_name = source_order

    def read_encoded(self, frame_ids):
        raise AssertionError("read without need")


def test_asking_for_the_kind_of_a_store_computes_nothing():
    assert [isinstance(LazyStore([3]), protocol) for protocol in PROTOCOLS] == [
        True,
        False,
        False,
        True,
        False,
    ]


@pytest.mark.parametrize("name", ["read_frames", "videos", "source_order", "ids_of_video", "close"])
def test_a_store_needs_every_member(name):
    class Lacks(ArrayStore):
        pass

    setattr(Lacks, name, None)
    assert not isinstance(Lacks([3]), FrameStore)
    assert isinstance(ArrayStore([3]), FrameStore)
    assert not isinstance("a path", FrameStore)
