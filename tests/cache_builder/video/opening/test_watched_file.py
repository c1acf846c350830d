"""The file that FFmpeg reads: its content, and that no error of a read is lost."""

import _thread
import errno
import gc
import os
import signal
from collections import deque
from itertools import islice
from pathlib import Path

import pytest

from cache_builder.errors import VideoError
from cache_builder.video.opening.open_video import choose_video_stream, open_container, read_packets
from cache_builder.video.opening.watched_file import MAX_BYTES_PER_READ, WatchedFile
from tests.support.videos.tiny_videos import tiny_video, write_text


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "v.bin"
    path.write_bytes(bytes(range(256)) * 2000)
    return path


@pytest.fixture
def file(path):
    file = WatchedFile(path)
    yield file
    file.close()


def failing_read(monkeypatch, number, error):
    """Read number `number`, from 0, raises."""
    read, num_calls = os.read, 0

    def fail(descriptor, num_bytes):
        nonlocal num_calls
        num_calls += 1
        if num_calls == number + 1:
            raise error
        return read(descriptor, num_bytes)

    monkeypatch.setattr(os, "read", fail)


def test_reads_and_seeks_as_a_file_does(file, path):
    content = path.read_bytes()
    assert file.read(10) == content[:10]
    assert file.seek(-20, os.SEEK_END) == len(content) - 20
    assert file.read(100) == content[-20:]
    assert file.read(100) == b""
    assert file.seek(300, os.SEEK_SET) == 300
    assert file.read(1 << 30) == content[300 : 300 + MAX_BYTES_PER_READ]
    assert file.seek(-1, os.SEEK_SET) == -1
    assert file.tell() == 300 + MAX_BYTES_PER_READ
    file.check()


def test_the_first_failure_is_kept_and_nothing_is_read_after_it(file, path, monkeypatch):
    failing_read(monkeypatch, 1, OSError(errno.EIO, "Input/output error"))
    assert [len(file.read(10)) for _ in range(4)] == [10, 0, 0, 0]
    for _ in range(2):
        with pytest.raises(OSError, match="Input/output error") as caught:
            file.check()
        assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))


def test_memory_that_is_not_there_is_said(file, monkeypatch):
    failing_read(monkeypatch, 0, MemoryError())
    assert file.read(10) == b""
    with pytest.raises(MemoryError):
        file.check()


def test_an_interrupt_on_the_way_in_is_not_lost(file):
    """The signal comes while FFmpeg works. The next Python code to run is the file's."""
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # background jobs of a shell ignore SIGINT
    try:
        found = deque(islice(map(file.read, iter(_thread.interrupt_main, 1)), 1))
    finally:
        signal.signal(signal.SIGINT, before)
    assert found == deque([b""])
    with pytest.raises(KeyboardInterrupt):
        file.check()


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts", ".mpg", ".flv", ".h264"])
def test_an_interrupt_while_ffmpeg_reads_ends_it(tmp_path, suffix, monkeypatch):
    """Wherever the signal comes, packets end with KeyboardInterrupt, and not as at the end of the video."""
    path = tiny_video(tmp_path, path=Path(f"v{suffix}"), num_frames=60, width=256, height=256).path
    number = 0
    while True:
        with monkeypatch.context() as patch:
            failing_read(patch, number, KeyboardInterrupt())
            try:
                opened = open_container(path, path.name)
            except KeyboardInterrupt:
                number += 1
                continue
            try:
                list(read_packets(opened, choose_video_stream(opened.container, path.name)))
            except KeyboardInterrupt:
                number += 1
                continue
            finally:
                opened.close()
        break
    assert number > 2  # one for each read


def test_no_descriptor_and_no_file_is_left(tmp_path):
    """Without the garbage collector, too."""
    good = tiny_video(tmp_path, path=Path("good.mkv"), num_frames=3).path
    bad = tmp_path / "bad.mp4"
    write_text(bad)

    def open_both():
        opened = open_container(good, good.name)
        next(read_packets(opened, choose_video_stream(opened.container, good.name)))
        opened.close()
        with pytest.raises(VideoError, match="not a video"):
            open_container(bad, bad.name)

    def counts():
        files = [thing for thing in gc.get_objects() if type(thing) is WatchedFile]
        return len(list(Path(f"/proc/{os.getpid()}/fd").iterdir())), len(files)

    open_both()
    gc.collect()
    gc.disable()
    try:
        before = counts()
        for _ in range(10):
            open_both()
        assert counts() == before
    finally:
        gc.enable()


class TestLongestUnread:
    """The file has 512,000 bytes, so a part has 500."""

    def test_of_a_file_read_to_its_end_nothing(self, file):
        while file.read(10_000):
            pass
        assert file.longest_unread() == (0, 0)

    def test_of_a_file_never_read_all(self, file):
        assert file.longest_unread() == (0, 512_000)

    def test_is_what_lies_between_what_was_read(self, file):
        file.read(20_000)
        file.seek(-4, os.SEEK_END)
        file.read(4)
        file.seek(300_000, os.SEEK_SET)
        file.read(1)
        assert file.longest_unread() == (20_000, 300_000)


def test_an_empty_file_has_nothing_unread(tmp_path):
    (tmp_path / "empty").touch()
    file = WatchedFile(tmp_path / "empty")
    assert file.read(10) == b""
    assert file.longest_unread() == (0, 0)
    file.close()
