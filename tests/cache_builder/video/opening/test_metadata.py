"""A video with tags that are not UTF-8 is read. PyAV 18 raises a UnicodeDecodeError without an option."""

from contextlib import closing

import av
import msgspec
import numpy as np
import pytest

import frame_store
from cache_builder import open_videos
from cache_builder.video.opening.open_video import open_container
from cache_builder.video.scan.video_scan import scan_video
from tests.support.commands import SMALL, run
from tests.support.videos.tiny_videos import tiny_video

UTF8 = b"a title of 20 bytes."
CP1251 = "в кодировке Windows.".encode("cp1251")
NAMES = ("v.mp4", "v.mov", "v.mkv", "v.avi", "v.flv")
NUM_FRAMES = 6


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same videos twice: with their titles in UTF-8, and in another encoding of the same length."""
    sound, spoilt = tmp_path_factory.mktemp("sound"), tmp_path_factory.mktemp("spoilt")
    for name in NAMES:
        codec = "mpeg4" if name.endswith(".avi") else "h264"
        source = tiny_video(tmp_path_factory.mktemp("source"), codec=codec, num_frames=NUM_FRAMES).path
        write_tagged(sound / name, source)
        content = (sound / name).read_bytes()
        assert UTF8 in content and len(UTF8) == len(CP1251)
        (spoilt / name).write_bytes(content.replace(UTF8, CP1251))
    return sound, spoilt


def write_tagged(path, source):
    """A copy of `source` with a title of the file and, where the container has one, a title of the stream."""
    with av.open(str(source)) as container, av.open(str(path), "w") as target:
        target.metadata["title"] = UTF8.decode()
        stream = target.add_stream_from_template(container.streams.video[0])
        stream.metadata.update({"title": UTF8.decode(), "handler_name": UTF8.decode()})
        for packet in container.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)


@pytest.mark.parametrize("name", NAMES)
def test_the_scan_is_that_of_the_file_with_utf8_tags(folders, name):
    sound, spoilt = (folder / name for folder in folders)
    with closing(open_container(spoilt, name)) as opened:
        tags = opened.container.metadata | opened.container.streams.video[0].metadata
    assert CP1251 in {value.encode("utf-8", "surrogateescape") for value in tags.values()}
    facts, wanted = (
        msgspec.structs.replace(scan_video(path, name).facts, sha256="") for path in (spoilt, sound)
    )
    assert facts == wanted


def test_live_frames_and_a_build_too(folders, tmp_path):
    sound, spoilt = (open_videos(folder, size=32) for folder in folders)
    every = range(len(NAMES) * NUM_FRAMES)
    np.testing.assert_array_equal(spoilt.read_frames(every), sound.read_frames(every))
    result = run("--videos", folders[1], "--out", tmp_path / "cache", *SMALL)
    assert result.exit_code == 0, result.stderr
    assert len(frame_store.open_store(tmp_path / "cache")) == len(every)
