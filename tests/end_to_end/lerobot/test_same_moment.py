"""Cameras never come apart: any id is one episode and one moment in all of them, in caches and batches."""

import numpy as np
import pytest

from cache_builder import build_cache
from frame_store import open_store
from loader import FrameLoader
from tests.support.lerobot import CameraSpec, LeRobotSpec, edit_data, read_picture, write_lerobot

NUM_DRAWS = 10_000
LENGTHS = (9, 14, 5, 11, 17)
KEYS = tuple(f"observation.images.{name}" for name in ("front", "wrist", "top"))
CAMERAS = (
    CameraSpec(key=KEYS[0], gop_size=5, num_b_frames=2, episodes_per_file=(3, 1)),
    CameraSpec(key=KEYS[1], gop_size=2, width=128, height=96, episodes_per_file=(2, 1)),
    CameraSpec(key=KEYS[2], gop_size=250),
)
BROKEN = 1


@pytest.fixture(scope="module", params=[2, 3], ids=["two cameras", "three cameras"])
def root(request, tmp_path_factory):
    spec = LeRobotSpec(cameras=CAMERAS[: request.param], lengths=LENGTHS)
    written = write_lerobot(tmp_path_factory.mktemp("set"), spec)
    edit_data(written.root, BROKEN, 3, {"timestamp": lambda seconds: seconds + 0.03})
    return written.root


@pytest.mark.parametrize("layout", ["shuffled", "video"])
@pytest.mark.parametrize("container", ["wds", "zarr"])
def test_10_000_random_ids_show_one_moment_in_all_cameras(root, tmp_path, container, layout):
    """Also after an episode was left out."""
    build_cache(
        root,
        tmp_path / "cache",
        format=container,
        layout=layout,
        size="native",
        encoding="raw",
        frames_per_shard=8,
        workers=1,
        on_error="skip",
    )
    group = open_store(tmp_path / "cache")
    rows = group.rows_of(range(len(group)))
    episodes = [int(path.removeprefix("episode_")) for path in group.videos.column("path")]
    moments = [(episodes[row["video_id"]], int(row["frame_in_video"])) for row in rows]
    assert sorted(moments) == [(e, f) for e, n in enumerate(LENGTHS) if e != BROKEN for f in range(n)]
    # Each picture is read once by what it shows; then every draw must give these very pixels.
    shown = {name: camera.read_frames(range(len(group))) for name, camera in group.cameras.items()}
    for number, frames in enumerate(shown.values()):
        assert [read_picture(frame) for frame in frames] == [(number, *moment) for moment in moments]
    buffers = {name: np.empty_like(frames, shape=(250, *frames.shape[1:])) for name, frames in shown.items()}
    for ids in np.random.default_rng(0).integers(0, len(group), (NUM_DRAWS // 250, 250)):
        for name, camera in group.cameras.items():
            assert np.array_equal(camera.read_frames(ids, buffers[name]), shown[name][ids])
    loader = FrameLoader(group, batch_size=8, sampling="iid", seed=1, num_threads=2)
    for _ in range(3):
        for batch in loader:
            anchors = [moments[number] for number in batch.frame_ids.tolist()]
            state = zip(
                batch.columns["episode_index"].tolist(), batch.columns["frame_index"].tolist(), strict=True
            )
            assert [*state] == anchors
            for name, frames in batch.frames.items():
                assert np.array_equal(
                    frames.permute(0, 2, 3, 1).numpy(), shown[name][batch.frame_ids.numpy()]
                )
