"""Cameras in memory whose pixels spell camera, video and frame, as a group; and what a batch of the group must show."""

import numpy as np
import torch

from frame_store.cameras import group_cameras
from frame_store.columns import Column, Columns
from tests.support.caches.array_store import ArrayStore

FRAMES_OF_VIDEO = 1000
SIZES = [5, 9, 1, 7]


class MomentStore(ArrayStore):
    """One camera. Ids lie in any `order`, and the pixels do not depend on it."""

    def __init__(
        self, camera, video_sizes, *, frame_shape=(4, 6, 3), order=None, shard_sizes=None, **options
    ):
        super().__init__(
            [sum(video_sizes)] if shard_sizes is None else shard_sizes,
            video_sizes=video_sizes,
            frame_shape=frame_shape,
            order=order,
            **options,
        )
        self.camera = camera

    def read_frames(self, frame_ids, out=None):
        frames = super().read_frames(frame_ids, out)
        rows = self._index[np.asarray(frame_ids, np.int64)]
        moments = rows["video_id"] * FRAMES_OF_VIDEO + rows["frame_in_video"]
        frames[:, 0, :4, 0] = moments.astype("<u4").view(np.uint8).reshape(-1, 4)
        frames[:, 1, 0, 0] = self.camera
        return frames


def make_group(*, orders=(None, None), shapes=((4, 6, 3), (8, 5, 3)), sizes=SIZES, names="ab", **options):
    """A group of cameras `names` with a column `count`, which is the moment."""
    cameras = {
        name: MomentStore(number, sizes, order=order, frame_shape=shape, **options)
        for number, (name, order, shape) in enumerate(zip(names, orders, shapes, strict=True))
    }
    moments = [video * FRAMES_OF_VIDEO + frame for video, size in enumerate(sizes) for frame in range(size)]
    group = group_cameras(cameras)
    columns = Columns(
        [Column.of("count", "frame", np.array(moments, np.int64))],
        num_rows=len(moments),
        num_videos=len(sizes),
        fingerprint=group.fingerprint,
    )
    return group_cameras(cameras, columns=columns, dataset={"kind": "made up"})


def spelt(frames):
    """(cameras, moments) in the pixels of uint8 (..., 3, H, W): arrays of the shape before them."""
    flat = frames.flatten(0, -4)
    corner = np.ascontiguousarray(flat[:, 0, 0, :4].cpu().numpy()).view("<u4").reshape(-1).astype(np.int64)
    shape = frames.shape[:-3]
    return flat[:, 0, 1, 0].cpu().numpy().reshape(shape), corner.reshape(shape)


def moments_of(batch, videos_of_view=None):
    """What the numbers of a batch say: (B,) or (B, T). `videos_of_view` are the rows of its videos in the group."""
    videos = (
        batch.video_ids
        if videos_of_view is None
        else torch.from_numpy(videos_of_view.copy())[batch.video_ids]
    )
    videos = videos if batch.cache_ids.dim() == 1 else videos[:, None]
    return (videos * FRAMES_OF_VIDEO + batch.frame_in_video).cpu().numpy()


def check_batch(batch, names="ab", numbers=None, videos_of_view=None):
    """Every camera shows the moments that the batch states, and its columns are of the anchors."""
    expected = moments_of(batch, videos_of_view)
    assert list(batch.frames) == list(names)
    for name in names:
        cameras, moments = spelt(batch.frames[name])
        assert (cameras == "ab".index(name) if numbers is None else cameras == numbers[name]).all()
        assert np.array_equal(moments, expected)
    anchors = expected[:, 0] if expected.ndim == 2 else expected
    if "count" in batch.columns:
        assert np.array_equal(batch.columns["count"].numpy().reshape(len(anchors), -1)[:, 0], anchors)


def same(one, other):
    """Whether two batches hold the same."""
    pairs = one.tensors(), other.tensors()
    assert pairs[0].keys() == pairs[1].keys()
    return all(
        torch.equal(tensor.nan_to_num(-1), pairs[1][name].nan_to_num(-1)) for name, tensor in pairs[0].items()
    )
