"""How a node differs from the machine that builds."""

import msgspec
import pytest

from cache_builder.stages.node_check import make_node_check
from cache_builder.stages.node_places import NodeTokens
from cache_builder.stages.workspace import Workspace
from tests.support.videos.tiny_videos import tiny_video


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    tiny_video(folder, num_frames=2)

    class Video:
        path = folder / "tiny.mp4"
        staged = None

    return [Video]


@pytest.fixture
def check(tmp_path, videos):
    return make_node_check(
        tokens=NodeTokens(files=Workspace(tmp_path / "cache").node_tokens, stores=[]), videos=videos
    )


def test_the_machine_that_builds_does_not_differ(check, tmp_path, videos):
    assert check.run() == []
    assert [file.path for file in check.files] == [tmp_path / "cache.nodes", videos[0].path]


def test_each_difference_is_named(check, tmp_path, videos):
    for change, said in [
        ({"versions": check.versions | {"av": "1.0"}}, f"has av {check.versions['av']}, this machine 1.0"),
        ({"stored_sha256": "0" * 64}, "stores other bytes of the same video than this machine"),
        ({"folders": [tmp_path / "absent"]}, f"cannot write into {tmp_path / 'absent'}"),
    ]:
        assert msgspec.structs.replace(check, **change).run() == [said]


def test_a_folder_that_is_not_shared_is_named(check, tmp_path):
    token = tmp_path / "cache.nodes"
    token.write_bytes(b"of another machine")
    assert check.run() == [f"has another file at {token} than this machine"]
    token.unlink()
    assert check.run() == [f"cannot read {token} (No such file or directory), which this machine can"]
