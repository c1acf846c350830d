"""A cache of cameras in a bucket, from its build to training. No command says or writes a secret or an address."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import frame_store
from cache_builder.cli import cache_fetch, cache_info, cache_verify
from loader import FrameLoader
from tests.support.commands import SMALL, run
from tests.support.object_stores import ACCESS_KEY, SECRET_KEY, upload
from tests.support.object_stores.listing import files_at, objects_at
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

PATTERN = ("--camera-pattern", "{episode}/{camera}.mp4")


@pytest.fixture
def videos(tmp_path):
    """Two episodes of two cameras."""
    specs = simple_specs(4, num_frames=12)
    paths = [f"e{episode}/{camera}.mp4" for episode in (1, 2) for camera in ("left", "right")]
    lengths = (12, 12, 15, 15)
    tiny_folder(
        tmp_path / "videos",
        tuple(
            replace(spec, path=Path(path), num_frames=length)
            for spec, path, length in zip(specs, paths, lengths, strict=True)
        ),
    )
    return tmp_path / "videos"


def test_cameras_in_a_bucket_are_those_of_a_local_cache_and_nothing_tells_a_secret(
    videos, tmp_path, bucket_folder, seaweed, monkeypatch
):
    written = tmp_path / "written"
    for name in ("tmp", "home", "stage"):
        (written / name).mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(written / "tmp"))
    monkeypatch.setenv("TMPDIR", str(written / "tmp"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(written / "home"))
    upload(videos, f"{bucket_folder}/videos")
    said = []

    def must(*arguments, **options):
        result = run(*arguments, **options)
        assert result.exit_code == 0, result.stderr
        said.append(result.output + result.stderr)

    first = ("--include", "e1", *PATTERN, *SMALL)
    more = ("--append", *PATTERN)
    url, sources = f"{bucket_folder}/cache", f"{bucket_folder}/videos"
    must(videos, "--out", tmp_path / "local", *first)
    must(videos, "--out", tmp_path / "local", *more)
    must(sources, "--out", url, *first, "--stage", written / "stage")
    must(sources, "--out", url, *more)
    assert objects_at(url) == files_at(tmp_path / "local")

    must(url, command=cache_verify)
    must(url, "--videos", command=cache_info)
    must(url, written / "copy", command=cache_fetch)
    assert files_at(written / "copy") == files_at(tmp_path / "local")
    with frame_store.open_store(url) as there, frame_store.open_store(tmp_path / "local") as here:
        said.append(repr(there))
        num_frames = 0
        for one, other in zip(FrameLoader(there, batch_size=9), FrameLoader(here, batch_size=9), strict=True):
            assert torch.equal(one.frame_ids, other.frame_ids) and [*one.frames] == ["left", "right"]
            assert all(torch.equal(one.frames[camera], other.frames[camera]) for camera in one.frames)
            num_frames += len(one)
        assert num_frames == len(here) == 12 + 15

    contents = [*objects_at(bucket_folder).values(), *files_at(written).values(), *map(str.encode, said)]
    assert len(contents) > 30
    for word in (ACCESS_KEY, SECRET_KEY, "PLANTED", "127.0.0.1", f":{seaweed.port}", "Signature="):
        assert not any(word.encode() in content for content in contents), word
    assert not [*(written / "tmp").rglob("*.*")] and not [*(written / "tmp").rglob("*lock")]
