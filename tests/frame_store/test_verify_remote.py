"""`cache-verify URL`: what it finds in an object store is what it finds in a folder."""

import shutil
from pathlib import Path

import pytest

from cache_builder.cli import cache_verify
from frame_store.verify import frames, remote, verify_store
from tests.support.caches.camera_cache import write_camera_cache
from tests.support.caches.made_generations import write_grown
from tests.support.commands import run
from tests.support.object_stores import ACCESS_KEY, SECRET_KEY, flip_a_bit, upload


@pytest.mark.parametrize(
    "write",
    [write_grown, write_camera_cache, lambda path: write_grown(path, "zarr-zstd")],
    ids=["tar", "cameras", "zarr"],
)
def test_a_sound_cache_is_sound_there_too(tmp_path, bucket_folder, write):
    cache = tmp_path / "cache"
    write(cache)
    upload(cache, bucket_folder)
    total, num_frames = [], []
    found = verify_store(bucket_folder, progress=num_frames.append, begin=total.append)
    here = verify_store(cache)
    assert (found.problems, found.notes) == ([], [])
    assert (found.num_frames_checked, found.num_files_checked) == (
        here.num_frames_checked,
        here.num_files_checked,
    )
    assert total == [sum(num_frames)] == [here.num_frames_checked]
    assert found.num_bytes_read == sum(path.stat().st_size for path in cache.rglob("*") if path.is_file())
    assert found.path == bucket_folder


def spoil(cache):
    """A shard, an index and a record that are wrong, a shard that is missing, one that is short, and what is extra."""
    shards = sorted(cache.rglob("*.tar"))
    flipped = bytearray(shards[0].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    shards[0].write_bytes(flipped)
    shards[1].unlink()
    shards[2].write_bytes(shards[2].read_bytes()[:-512])
    index = sorted(cache.rglob("index.npy"))[-1]
    index.write_bytes(index.read_bytes() + b"x")
    (cache / "notes.txt").write_text("mine")
    (cache / "strange").mkdir()
    (cache / "strange" / "a").touch()
    (cache / "more.tar").touch()


def test_what_is_wrong_is_said_in_the_words_for_a_folder(tmp_path, bucket_folder):
    cache = write_grown(tmp_path / "cache")
    spoil(cache)
    here = run(cache, command=cache_verify)
    upload(cache, bucket_folder)
    there = run(bucket_folder, command=cache_verify)
    assert (here.exit_code, there.exit_code) == (1, 1)

    def lines(result, place):
        *found, summary = result.stdout.replace(str(place), "PLACE").splitlines()
        return found, summary.partition(" checked")[0]

    expected, summary = lines(here, cache)
    expected = [line.replace("No such file or directory", "is not there (404)") for line in expected]
    assert len(expected) >= 6
    assert lines(there, bucket_folder) == (expected, summary)
    assert not any(secret in there.output for secret in (ACCESS_KEY, SECRET_KEY, "127.0.0.1", "/tmp"))


def test_there_is_one_shard_on_the_disk_at_a_time(tmp_path, bucket_folder, monkeypatch):
    upload(write_grown(tmp_path / "cache"), bucket_folder)
    seen, real = [], remote._Copy._count

    def count(copy, num_bytes):
        real(copy, num_bytes)
        seen.append(len([*copy._folder.rglob("*.tar*")]))
        links = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        assert not [link for link in links if "cache-verify-" in str(link) and "(deleted)" in str(link)]

    monkeypatch.setattr(remote._Copy, "_count", count)
    assert verify_store(bucket_folder).problems == []
    assert max(seen) == 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 77}))
    full = run(bucket_folder, command=cache_verify)
    assert full.exit_code == 3 and "77 bytes are free; TMPDIR" in full.stderr


def test_a_record_that_is_wrong_is_named(tmp_path, bucket_folder):
    client = upload(write_grown(tmp_path / "cache"), bucket_folder)
    record = next(each.key for each in client.objects() if each.key.endswith("generation.json"))
    flip_a_bit(client, record, at=100)
    found = verify_store(bucket_folder)
    assert len(found.problems) == 1
    assert found.problems[0].startswith(f"{bucket_folder}/{record}: sha256 differs from the manifest's")


def test_a_url_is_not_repaired_and_a_place_without_a_cache_is_said(bucket_folder):
    refused = run(bucket_folder, "--repair", command=cache_verify)
    assert refused.exit_code == 2 and "cache-fetch it to a DIR" in refused.stderr
    nothing = run(bucket_folder, command=cache_verify)
    assert nothing.exit_code == 2
    assert f"{bucket_folder}: no cache: nothing is there" in nothing.stderr
    secret = run("s3://user:hidden@bkt/x", command=cache_verify)
    assert secret.exit_code == 2 and "hidden" not in secret.output


def test_other_libraries_look_at_each_shard_that_is_right(tmp_path, bucket_folder, monkeypatch):
    cache = write_grown(tmp_path / "cache")
    upload(cache, bucket_folder)
    monkeypatch.setattr(frames.Sample, "_in_tar", lambda sample, shard_id: [(f"shard {shard_id}", False)])
    expected = len([*cache.rglob("*.tar")])
    for place in (cache, bucket_folder):
        problems = verify_store(place).problems
        assert len(problems) == expected
        assert all(line.endswith(": another reader reads other pixels") for line in problems)
