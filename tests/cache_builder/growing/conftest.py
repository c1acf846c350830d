"""Six small videos, and a cache of three of them to append to."""

import shutil
from pathlib import Path

import pytest

from cache_builder import build_cache
from tests.support.grown.appended import SETTINGS, put
from tests.support.videos.tiny_videos import tiny_video


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
    """Six videos of 6 to 11 frames."""
    folder = tmp_path_factory.mktemp("pieces")
    for number in range(6):
        tiny_video(folder, path=Path(f"v{number}.mp4"), video_number=number, num_frames=6 + number)
    return folder


@pytest.fixture(scope="module")
def built(pieces, tmp_path_factory):
    """A cache of v0, v2 and v4, with its scans and its report beside it."""
    folder = tmp_path_factory.mktemp("built")
    put(pieces, folder / "videos", 0, 2, 4)
    build_cache(folder / "videos", folder / "c", **SETTINGS)
    return folder


@pytest.fixture
def here(built, tmp_path):
    """A copy of it."""
    shutil.copytree(built, tmp_path, dirs_exist_ok=True)
    return tmp_path
