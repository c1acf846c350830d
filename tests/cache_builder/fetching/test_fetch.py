"""`cache-fetch`: a cache copied from a real object store on loopback."""

import fcntl
import shutil
from collections import Counter

import pytest

from cache_builder.cli import cache_fetch
from cache_builder.fetching import fetch, fetch_cache
from cache_builder.progress import NoProgress
from frame_store.names import manifest_name
from frame_store.remote import ObjectClient, download
from frame_store.verify import verify_store
from tests.support.caches.camera_cache import write_camera_cache
from tests.support.caches.made_generations import append_variant, write_grown
from tests.support.commands import digests, run
from tests.support.object_stores import ACCESS_KEY, SECRET_KEY, flip_a_bit, upload


@pytest.fixture
def cache(tmp_path):
    """Two generations with several shards each."""
    return write_grown(tmp_path / "cache")


@pytest.fixture
def asked(monkeypatch):
    """The bytes of ranges that are asked for, by key; small parts."""
    monkeypatch.setattr(download, "PART_BYTES", 1000)
    monkeypatch.setattr(download.download_objects, "__kwdefaults__", _with_small_parts())
    return _Asked(monkeypatch)


def _with_small_parts():
    return {**download.download_objects.__kwdefaults__, "part_bytes": 1000}


class _Asked:
    def __init__(self, monkeypatch):
        self.bytes_of = Counter()
        self.stops_after = None
        real = ObjectClient.get_range

        def get_range(client, key, start, num_bytes, **options):
            if self.stops_after is not None and sum(self.bytes_of.values()) >= self.stops_after:
                raise KeyboardInterrupt
            self.bytes_of[key] += num_bytes
            return real(client, key, start, num_bytes, **options)

        monkeypatch.setattr(ObjectClient, "get_range", get_range)


def relative(cache):
    return {path.relative_to(cache): raw for path, raw in digests(cache).items()}


@pytest.mark.parametrize("write", [write_grown, write_camera_cache])
def test_the_copy_has_the_same_bytes_and_a_second_fetch_has_nothing_to_do(
    tmp_path, bucket_folder, asked, write
):
    cache = tmp_path / "cache"
    write(cache)
    upload(cache, bucket_folder)
    copy = tmp_path / "deep" / "copy"
    done = run(bucket_folder, copy, "--jobs", "3", command=cache_fetch)
    assert done.exit_code == 0, done.stderr
    assert relative(copy) == relative(cache)
    assert sorted(path.name for path in copy.parent.iterdir()) == ["copy", "copy.lock"]
    assert f"{copy}: complete: version" in done.stdout
    assert "fetch: " in done.stderr and " bytes" in done.stderr
    asked.bytes_of.clear()
    again = run(bucket_folder, copy, command=cache_fetch)
    assert (again.exit_code, asked.bytes_of) == (0, {})
    assert "already complete" in again.stdout
    assert ACCESS_KEY not in str(done) + str(again) and "127.0.0.1" not in done.output + again.output


def test_a_killed_fetch_leaves_no_cache_and_goes_on_without_downloading_a_byte_twice(
    tmp_path, bucket_folder, cache, asked
):
    upload(cache, bucket_folder)
    copy = tmp_path / "copy"
    asked.stops_after = 9500
    stopped = run(bucket_folder, copy, "--jobs", "1", command=cache_fetch)
    assert stopped.exit_code == 130 and "the same command resumes" in stopped.stderr
    assert not copy.exists()
    assert "its cache-fetch is not finished" in str(verify_error(copy))
    written = sum(path.stat().st_size for path in staged_files(copy))
    assert written > 4000
    assert any(path.name.endswith(".part") for path in staged_files(copy))
    asked.stops_after = None
    asked.bytes_of.clear()
    report = fetch_cache(bucket_folder, copy)
    assert relative(copy) == relative(cache)
    wanted = sum(len(raw) for path, raw in relative(cache).items() if path.suffix != ".json")
    assert sum(asked.bytes_of.values()) == report.num_bytes_fetched == wanted - written
    assert report.num_bytes_taken_over == written


def verify_error(path):
    with pytest.raises(Exception, match="no cache") as error:
        verify_store(path)
    return error.value


def staged_files(copy):
    return [
        path
        for path in copy.with_name(f"{copy.name}.fetching").joinpath("cache").rglob("*")
        if path.is_file() and path.suffix != ".json"
    ]


def test_bytes_of_an_interrupted_fetch_that_have_rotted_are_downloaded_again(
    tmp_path, bucket_folder, cache, asked
):
    upload(cache, bucket_folder)
    copy = tmp_path / "copy"
    asked.stops_after = 9500
    assert run(bucket_folder, copy, "--jobs", "1", command=cache_fetch).exit_code == 130
    asked.stops_after = None
    part = next(path for path in staged_files(copy) if path.name.endswith(".part"))
    part.write_bytes(bytes(part.stat().st_size))
    fetch_cache(bucket_folder, copy)
    assert relative(copy) == relative(cache)


def test_a_newer_version_is_added_and_nothing_that_is_there_is_downloaded_or_removed(
    tmp_path, bucket_folder, cache, asked
):
    upload(cache, bucket_folder)
    copy = tmp_path / "copy"
    fetch_cache(bucket_folder, copy)
    (copy / "notes.txt").write_text("mine")
    first = set(relative(cache))
    append_variant(cache, "wds-raw", (3, 2), number=9)
    upload(cache, bucket_folder)
    asked.bytes_of.clear()
    fetch_cache(bucket_folder, copy)
    assert {key for key in asked.bytes_of if not key.endswith(".json")} == {
        path.as_posix() for path in set(relative(cache)) - first if path.suffix != ".json"
    }
    assert (copy / "notes.txt").read_text() == "mine"
    (copy / "notes.txt").unlink()
    assert relative(copy) == relative(cache)
    shard = next(copy.rglob("*.tar"))
    shard.unlink()
    fetch_cache(bucket_folder, copy)
    assert relative(copy) == relative(cache)


def test_every_damaged_or_missing_object_is_named_and_the_others_are_kept(
    tmp_path, bucket_folder, cache, asked
):
    client = upload(cache, bucket_folder)
    damaged, missing, short = [path.as_posix() for path in sorted(relative(cache)) if path.suffix == ".tar"][
        :3
    ]
    flip_a_bit(client, damaged)
    client.delete([missing])
    client.put(short, b"short")
    copy = tmp_path / "copy"
    failed = run(bucket_folder, copy, command=cache_fetch)
    assert failed.exit_code == 1 and not copy.exists()
    for key, what in ((damaged, "sha256"), (missing, "404"), (short, "bytes, found 5")):
        line = next(line for line in failed.stderr.splitlines() if f"{bucket_folder}/{key}: " in line)
        assert what in line
    assert not any(secret in failed.output for secret in (ACCESS_KEY, SECRET_KEY, "127.0.0.1"))
    for key in (damaged, missing, short):
        client.put_file(key, cache / key)
    asked.bytes_of.clear()
    fetch_cache(bucket_folder, copy)
    assert {key for key in asked.bytes_of if key.endswith(".tar")} == {damaged, missing, short}
    assert relative(copy) == relative(cache)


def test_what_is_in_the_way_is_refused(tmp_path, bucket_folder, cache, monkeypatch):
    upload(cache, bucket_folder)
    other = write_grown(tmp_path / "other", sizes_of_generations=[(1, 2)])
    before = relative(other)

    def refused(directory):
        result = run(bucket_folder, directory, command=cache_fetch)
        assert result.exit_code == 2, result.output
        return result.stderr

    assert f"{other}: is another cache than {bucket_folder}: manifest-0000.json differs" in refused(other)
    assert relative(other) == before
    newer = tmp_path / "newer"
    shutil.copytree(cache, newer)
    append_variant(newer, "wds-raw", (3,), number=9)
    assert f"is newer than {bucket_folder}" in refused(newer)
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "a.mp4").touch()
    assert "is no cache" in refused(folder)
    copy = tmp_path / "copy"
    with copy.with_name("copy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process is writing it" in refused(copy)
    copy.with_name("copy.fetching").mkdir()
    copy.with_name("copy.fetching").joinpath("source").write_text("another")
    assert "holds parts of another cache" in refused(copy)
    assert (
        "s3://bkt/nothing: no cache: nothing is there"
        in run("s3://bkt/nothing", copy, command=cache_fetch).stderr
    )


def test_a_disk_without_room_is_told_before_anything_is_downloaded(
    tmp_path, bucket_folder, cache, monkeypatch, asked
):
    upload(cache, bucket_folder)
    usage = type("Usage", (), {"free": 1234})
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: usage)
    result = run(bucket_folder, tmp_path / "copy", command=cache_fetch)
    wanted = sum(len(raw) for path, raw in relative(cache).items() if path.suffix != ".json")
    assert result.exit_code == 3 and not asked.bytes_of
    assert f"{wanted:,} bytes are still to be downloaded, and its disk has 1,234 bytes free" in result.stderr


def test_the_last_to_appear_in_a_growing_copy_is_the_manifest(tmp_path, bucket_folder, cache, monkeypatch):
    upload(cache, bucket_folder)
    copy = tmp_path / "copy"
    fetch_cache(bucket_folder, copy)
    append_variant(cache, "wds-raw", (3, 2), number=9)
    upload(cache, bucket_folder)
    version = len(list(cache.glob("manifest-*.json"))) - 1

    def stop(*_, **__):
        raise KeyboardInterrupt

    from cache_builder.fetching import staging

    with monkeypatch.context() as patched:
        patched.setattr(staging, "create_file", stop)
        with pytest.raises(KeyboardInterrupt):
            fetch_cache(bucket_folder, copy, progress=NoProgress())
    assert not (copy / manifest_name(version)).exists()
    assert verify_store(copy).problems == []
    report = fetch_cache(bucket_folder, copy)
    assert report.num_bytes_fetched == 0
    assert relative(copy) == relative(cache)
