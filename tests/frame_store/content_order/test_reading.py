import numpy as np
import pytest

from frame_store.content_order import frames_to_read, read_coordinates, reading
from tests.support.caches.array_store import ArrayStore
from tests.support.content_orders.by_content import order_by_content


class Pictures(ArrayStore):
    """Frames of random pixels, by video and frame: the same in every order of ids."""

    def read_frames(self, frame_ids, out=None):
        self.reads.append(len(frame_ids))
        rows = self.rows_of(frame_ids)
        keys = zip(rows["video_id"].tolist(), rows["frame_in_video"].tolist(), strict=True)
        return np.array(
            [np.random.default_rng(key).integers(0, 256, self.frame_shape, np.uint8) for key in keys],
            np.uint8,
        ).reshape(len(frame_ids), *self.frame_shape)


def pictures(*, order=None):
    return Pictures([30, 50, 21], frame_shape=(9, 11, 3), video_sizes=[40, 1, 60], order=order)


def places_of(store):
    return np.argsort(store.source_order.ids_at(np.arange(len(store))))


@pytest.mark.parametrize("max_sample", [7, 1 << 14])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_layout_and_threads_do_not_show(max_sample, num_threads, monkeypatch):
    """The same pictures in the same source order give the same order of the pictures."""
    monkeypatch.setattr(reading, "MAX_SAMPLE", max_sample)
    straight, shuffled = pictures(), pictures(order=np.random.default_rng(3).permutation(101))
    expected = order_by_content(straight)
    assert sorted(expected.tolist()) == list(range(101))
    monkeypatch.setattr(reading, "_MAX_FRAMES_AT_ONCE", 8)
    monkeypatch.setattr(reading, "_PLACES_AT_ONCE", 10)
    found = order_by_content(shuffled, num_threads=num_threads)
    assert places_of(shuffled)[found].tolist() == expected.tolist()
    assert max(shuffled.reads) <= 8


@pytest.mark.parametrize(("max_sample", "num_reads"), [(7, 108), (101, 101), (1 << 14, 101)])
def test_each_frame_is_read_once_and_the_sample_of_a_large_store_before(max_sample, num_reads, monkeypatch):
    monkeypatch.setattr(reading, "MAX_SAMPLE", max_sample)
    store, steps = pictures(), []
    coordinates = read_coordinates(store, progress=steps.append)
    assert coordinates.shape == (101, 12)
    assert sum(steps) == sum(store.reads) == frames_to_read(101) == num_reads


def test_frames_of_one_pixel_are_ordered():
    store = ArrayStore([5], frame_shape=(1, 1, 1), frame_dtype=np.uint16)
    store.read_frames = lambda ids: np.array([40, 7, 7, 90, 1], np.uint16)[ids].reshape(-1, 1, 1, 1)
    assert order_by_content(store).tolist() in ([1, 2, 4, 0, 3], [4, 1, 2, 0, 3], [1, 4, 2, 0, 3])
