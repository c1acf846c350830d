"""A cache that is built into an object store has the bytes of one that is built on disk."""

import tempfile

import pytest

from frame_store.remote import ObjectClient, RemoteUrl
from tests.support.commands import SMALL, names_beside, run
from tests.support.object_stores.listing import files_at, keys_at, objects_at

FORMATS = {
    "jpeg": ["--frames-per-shard", "20"],
    "zarr": ["--format", "zarr", "--encoding", "raw", "--frames-per-shard", "25"],
}


@pytest.fixture
def build(simple_folder):
    """`cache-build` of three small videos with further flags; it must succeed."""

    def run_build(*flags):
        result = run("--videos", simple_folder.path, *SMALL, *flags)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    return run_build


@pytest.mark.parametrize("name", FORMATS)
def test_objects_are_the_files_of_a_local_build(name, build, tmp_path, bucket_folder):
    build(*FORMATS[name], "--out", tmp_path / "local")
    build(*FORMATS[name], "--out", f"{bucket_folder}/c")
    assert objects_at(f"{bucket_folder}/c") == files_at(tmp_path / "local")
    assert keys_at(bucket_folder) == sorted(
        [f"c/{key}" for key in files_at(tmp_path / "local")] + ["c.report.json", "c.scan"]
    )
    assert "already complete" in build(*FORMATS[name], "--out", f"{bucket_folder}/c")


def test_spill_in_a_store_or_in_another_folder_gives_the_same_cache(build, tmp_path, bucket_folder):
    build(*FORMATS["jpeg"], "--out", tmp_path / "local")
    build(*FORMATS["jpeg"], "--out", tmp_path / "spilled", "--scratch", f"{bucket_folder}/scratch")
    build(*FORMATS["jpeg"], "--out", tmp_path / "aside", "--scratch", tmp_path / "scratch")
    build(*FORMATS["jpeg"], "--out", f"{bucket_folder}/c", "--scratch", tmp_path / "scratch")
    expected = files_at(tmp_path / "local")
    assert files_at(tmp_path / "spilled") == files_at(tmp_path / "aside") == expected
    assert objects_at(f"{bucket_folder}/c") == expected
    assert not keys_at(f"{bucket_folder}/scratch")
    assert not any(name.endswith(".building") for name in names_beside(tmp_path / "local"))


def test_appended_videos_become_a_generation_of_the_remote_cache(simple_folder, tmp_path, bucket_folder):
    for out in (tmp_path / "local", f"{bucket_folder}/c"):
        first = run("--videos", simple_folder.path, *SMALL, "--limit", "2", "--out", out)
        assert first.exit_code == 0, first.stderr
        second = run("--append", "--videos", simple_folder.path, "--out", out)
        assert second.exit_code == 0, second.stderr
        third = run(
            "--append",
            "--videos",
            simple_folder.path,
            "--out",
            out,
            "--exclude",
            "*01*",
            "--forget",
            "01.mp4",
        )
        assert third.exit_code == 0, third.stderr
    assert objects_at(f"{bucket_folder}/c") == files_at(tmp_path / "local")


def test_a_dry_run_writes_nothing_there(simple_folder, bucket_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    flags = ("--videos", simple_folder.path, *SMALL, "--dry-run", "--out")
    for is_there in (False, True):
        found = run(*flags, f"{bucket_folder}/c")
        assert found.exit_code == 0, found.stderr
        assert (
            f"{simple_folder.num_frames} to store" in found.stdout and "in the object store" in found.stdout
        )
        assert found.stdout.endswith(
            f"{bucket_folder}/c: nothing was written{'; something is there already' * is_there}\n"
        )
        ObjectClient(RemoteUrl.of(bucket_folder)).put("c/x", b"")
    assert keys_at(bucket_folder) == ["c/x"] and not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_another_cache_at_the_url_stays(build, simple_folder, bucket_folder):
    build("--out", f"{bucket_folder}/c")
    before = objects_at(f"{bucket_folder}/c")
    for flags in ([], ["--overwrite"]):
        refused = run(
            "--videos", simple_folder.path, *SMALL, "--seed", "1", "--out", f"{bucket_folder}/c", *flags
        )
        assert refused.exit_code == 2
        assert "seed" in refused.stderr and "another --out" in refused.stderr
        assert "--overwrite" not in refused.stderr
    assert objects_at(f"{bucket_folder}/c") == before


def test_objects_of_somebody_else_are_refused(simple_folder, bucket_folder):
    ObjectClient(RemoteUrl.of(bucket_folder)).put("c/notes.txt", b"mine")
    refused = run("--videos", simple_folder.path, *SMALL, "--out", f"{bucket_folder}/c")
    assert refused.exit_code == 2 and "holds 'notes.txt'" in refused.stderr


def test_wrong_secret_is_one_line_before_any_work(simple_folder, bucket_folder, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-PLANTED")
    refused = run("--videos", simple_folder.path, *SMALL, "--out", f"{bucket_folder}/c")
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1 and "the secret key does not" in refused.stderr
    assert "PLANTED" not in refused.stderr + refused.stdout and "127.0.0.1" not in refused.stderr


@pytest.mark.parametrize("flags", [["--columns", "t.csv"], ["--content-order"], ["--dry-run", "--append"]])
def test_what_a_url_does_not_take_is_refused(flags, simple_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("video,x\n0.mp4,1\n")
    refused = run("--videos", simple_folder.path, "--out", "s3://bkt/c", *flags)
    assert refused.exit_code == 2 and "does not take a URL" in refused.stderr
