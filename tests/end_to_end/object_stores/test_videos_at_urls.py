"""Builds from videos in a bucket: the bytes of a local build, in a bounded folder; changed and missing objects."""

import tempfile
import threading
import time
from pathlib import Path
from unittest import mock

import pytest

from cache_builder import build_cache, estimate_build
from cache_builder.cli import cache_build, cache_verify
from cache_builder.errors import VideosNotWholeError
from cache_builder.inputs import preparation
from frame_store.remote import ObjectClient, RemoteUrl
from tests.support.commands import SMALL, run
from tests.support.object_stores import ACCESS_KEY, SECRET_KEY
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

SETTINGS = {"size": 64, "workers": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five plain videos and what is no video, on this machine."""
    path = tmp_path_factory.mktemp("videos")
    tiny_folder(path / "day 1", simple_specs(3))
    tiny_folder(path / "é", simple_specs(2, suffix=".mkv"))
    (path / ".hidden.mp4").write_bytes(b"x")
    (path / "notes.txt").write_text("x")
    return path


@pytest.fixture
def url(folder, bucket_folder, tmp_path, monkeypatch):
    """The same folder in a bucket. Temporary folders of the test are its own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    client = ObjectClient(RemoteUrl.of(bucket_folder))
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            client.put_file(path.relative_to(folder).as_posix(), path)
    return bucket_folder


def test_a_build_from_a_bucket_has_the_bytes_of_a_local_one(folder, url, tmp_path):
    local = build_cache(folder, tmp_path / "local", **SETTINGS)
    sizes = sorted(path.stat().st_size for path in folder.rglob("*.m*") if path.name[0] != ".")
    most = sum(sizes[-2:])  # two at once, of five
    largest = 0
    ended = threading.Event()

    def sample():
        nonlocal largest
        while not ended.is_set():
            files = [
                path for path in (tmp_path / "stage").rglob("*") if path.suffix in {".mp4", ".mkv", ".part"}
            ]
            largest = max(largest, _bytes_of(files))
            time.sleep(0.002)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        remote = build_cache(url, tmp_path / "remote", stage=tmp_path / "stage", stage_bytes=most, **SETTINGS)
    finally:
        ended.set()
        thread.join()
    assert _contents(tmp_path / "remote") == _contents(tmp_path / "local")
    assert remote.passed_over == local.passed_over
    assert sizes[0] <= largest <= most
    _assert_tells_no_secret(tmp_path, output="")
    assert build_cache(url, tmp_path / "remote", **SETTINGS).status == "already complete"


def test_some_videos_of_a_bucket_and_a_local_folder_together(folder, url, tmp_path):
    (tmp_path / "other").symlink_to(folder / "é")
    names = ("--include", "**/*.mkv", "--exclude", "**/00.mkv")
    result = run(url, tmp_path / "other", "--out", tmp_path / "c", *names, "--stage-bytes", "1MB", *SMALL)
    assert result.exit_code == 0, result.stderr
    base = url.rpartition("/")[2]
    report = (tmp_path / "c.report.json").read_text()
    assert f"{base}/é/01.mkv" in report and "other/01.mkv" in report and "00.mkv" not in report


def test_an_object_replaced_between_scan_and_decode(folder, url, tmp_path):
    client, decided = ObjectClient(RemoteUrl.of(url)), preparation.choose_decoders

    def replace_one(*arguments, **keywords):
        client.put_file("day 1/00.mp4", folder / "day 1/01.mp4")
        return decided(*arguments, **keywords)

    with mock.patch.object(preparation, "choose_decoders", replace_one):
        stage = {"stage": tmp_path / "stage", "stage_bytes": _size(folder / "day 1/02.mp4")}
        with pytest.raises(VideosNotWholeError, match=r"day 1/00\.mp4: s3://.*day 1/00\.mp4.*\(412\)"):
            build_cache(url, tmp_path / "c", workers=1, size=64, **stage)
    build_cache(url, tmp_path / "c", overwrite=True, **SETTINGS)  # the video as it is now
    client.put_file("day 1/00.mp4", folder / "day 1/00.mp4")
    result = run(url, "--append", "--out", tmp_path / "c", *SMALL)
    assert result.exit_code == 2 and "00.mp4: " in result.stderr and "recorded" in result.stderr


def test_an_object_that_goes_away_and_one_larger_than_the_folder(folder, url, tmp_path):
    client, scan = ObjectClient(RemoteUrl.of(url)), preparation.read_inputs

    def remove_one(*arguments, **keywords):
        client.delete(["day 1/01.mp4"])
        return scan(*arguments, **keywords)

    with mock.patch.object(preparation, "read_inputs", remove_one):
        flags = ("--stage-bytes", _size(folder / "day 1/02.mp4") - 1, "--on-error", "skip")
        result = run(url, "--out", tmp_path / "c", *map(str, flags), *SMALL)
    assert result.exit_code == 1
    report = (tmp_path / "c.report.json").read_text()
    assert "(404)" in report and "allow more stage bytes" in report
    assert report.count('"unreadable"') == 2
    _assert_tells_no_secret(tmp_path, output=result.stdout + result.stderr)


def test_an_estimate_an_append_and_a_repair(folder, url, tmp_path):
    estimate = estimate_build(url, tmp_path / "c", include="day 1/*", **SETTINGS)
    assert estimate.num_videos == 3 and not estimate.problems and not (tmp_path / "c").exists()
    build_cache(url, tmp_path / "c", include="day 1/*", **SETTINGS)
    report = build_cache(url, tmp_path / "c", append=True, rehash=True, **SETTINGS)
    assert report.append.num_videos_there == 3 and report.append.num_videos_added == 2
    before = _contents(tmp_path / "c")
    shard = next((tmp_path / "c").rglob("*.tar"))
    shard.write_bytes(b"")
    assert run(tmp_path / "c", "--repair", "--videos", url, command=cache_verify).exit_code == 0
    assert _contents(tmp_path / "c") == before
    assert list(tmp_path.glob("frame-cache-stage*")) == []  # each that ended well removed its own


def test_a_wrong_secret_is_one_line(url, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"wrong-{SECRET_KEY}")
    result = run(url, "--out", tmp_path / "c", *SMALL, command=cache_build)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1 and "403" in result.stderr
    _assert_tells_no_secret(tmp_path, output=result.stderr)


def _contents(cache):
    return {path.relative_to(cache): path.read_bytes() for path in cache.rglob("*") if path.is_file()}


def _size(path: Path) -> int:
    return path.stat().st_size


def _bytes_of(paths):
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue
    return total


def _assert_tells_no_secret(folder, *, output):
    texts = [output.encode(), *(path.read_bytes() for path in folder.rglob("*") if path.is_file())]
    for word in (ACCESS_KEY, SECRET_KEY, "PLANTED", "127.0.0.1", "Signature="):
        assert not any(word.encode() in text for text in texts), word
