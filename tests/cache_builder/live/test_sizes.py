"""The sizes of frames of live stores."""

from pathlib import Path

import pytest
from frame_cache_tools.samples.numbered_videos import read_frame

import cache_builder
from cache_builder.errors import ConfigError
from tests.support.videos.tiny_videos import decode_upright, simple_specs, tiny_folder, tiny_video


def test_geometry_reaches_the_frames(tmp_path):
    tiny_folder(tmp_path, simple_specs(1, num_frames=3))
    store = cache_builder.open_videos(tmp_path, size=(48, 80), resize="stretch")
    assert store.read_frames([2]).shape == (1, 48, 80, 3)
    with pytest.raises(ValueError, match="height must be"):
        cache_builder.open_videos(tmp_path, size=7)


def test_the_native_size_is_that_of_the_videos(tmp_path):
    spec = tiny_video(tmp_path, num_frames=3, width=96, height=160, rotation_degrees=90)
    store = cache_builder.open_videos(tmp_path, size="native")
    assert store.frame_shape == (160, 96, 3)
    assert decode_upright(spec.path)[0].shape == store.frame_shape
    assert [read_frame(frame) for frame in store] == [(0, 0), (0, 1), (0, 2)]
    tiny_video(tmp_path, path=Path("wide.mp4"), num_frames=3, width=128, height=160)
    with pytest.raises(
        ConfigError, match=r"size='native': tiny\.mp4 has 160x96 pixels .*, wide\.mp4 has 160x128"
    ):
        cache_builder.open_videos(tmp_path, size="native")
