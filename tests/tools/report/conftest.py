"""Caches that the tests of the page read: one that was built from damaged videos, and one that was made up."""

from dataclasses import replace
from pathlib import Path

import pytest
from frame_cache_tools.report import report_of_cache

from cache_builder import build_cache
from tests.support.videos.tiny_videos import damage_packets, simple_specs, tiny_folder


@pytest.fixture(scope="session")
def damaged_build(tmp_path_factory):
    """The folder of a cache of three tiny videos, one of them damaged, and of a file that is no video."""
    folder = tmp_path_factory.mktemp("report")
    specs = simple_specs(3, num_frames=24)
    specs = (*specs[:2], replace(specs[2], path=Path("b & <b>.mkv")))
    tiny_folder(folder / "dir", specs)
    damage_packets(folder / "dir" / "b & <b>.mkv", [12])
    (folder / "dir" / "none.mp4").write_bytes(b"\0" * 1000)
    build_cache(folder / "dir", folder / "dir.cache", size=64, on_error="skip", workers=2)
    return folder


@pytest.fixture(scope="session")
def damaged_report(damaged_build):
    return report_of_cache(damaged_build / "dir.cache")
