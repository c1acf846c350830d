"""Appends and forgotten videos of plain folders, compared with builds of the same videos alone."""

import os
import shutil

import msgspec
import numpy as np
import pytest

from cache_builder import build_cache, estimate_build, forget_videos
from cache_builder.errors import ConfigError, OutputError, VideosNotWholeError
from cache_builder.growing import publishing
from frame_store import open_store
from frame_store.manifest import read_manifest, read_tree
from frame_store.names import manifest_name
from tests.support.commands import digests, names_beside, run
from tests.support.grown.appended import FLAGS, SETTINGS, append, frames_of, of_generation, put
from tests.support.videos.tiny_videos import truncate_file


def test_an_append_is_the_generation_that_a_build_of_its_videos_makes_and_touches_nothing_else(
    here, pieces, tmp_path
):
    before, frames = digests(here / "c"), frames_of(here / "c")
    put(pieces, here / "videos", 1, 3)
    report = append(here)
    assert (report.status, report.append.num_videos_added, report.append.num_videos_there) == (
        "appended",
        2,
        3,
    )
    assert (report.num_frames, report.append.num_frames) == (7 + 9, 24 + 16)
    build_cache(put(pieces, tmp_path / "alone", 1, 3), tmp_path / "d", **SETTINGS)
    assert of_generation(here / "c", 1) == of_generation(tmp_path / "d", 0)
    after = digests(here / "c")
    assert before.items() <= after.items()
    np.testing.assert_array_equal(frames_of(here / "c"), np.concatenate([frames, frames_of(tmp_path / "d")]))
    assert [row.path for row in open_store(here / "c").videos] == [f"v{n}.mp4" for n in (0, 2, 4, 1, 3)]
    assert not [name for name in names_beside(here / "c") if "building" in name]
    again = append(here, size=16, seed=5)
    assert (again.status, again.append.num_videos) == ("already complete", 5)
    assert digests(here / "c") == after
    build_cache(here / "videos", here / "c", **SETTINGS)  # without append: the same videos and settings
    assert digests(here / "c") == after


def test_existing_videos_are_not_read_unless_their_time_differs_or_all_are_to_be(here, pieces, monkeypatch):
    put(pieces, here / "videos", 1)
    (here / "videos" / "v0.mp4").write_bytes(bytes((here / "videos" / "v0.mp4").stat().st_size))
    os.utime(here / "videos" / "v0.mp4", ns=(0, (pieces / "v0.mp4").stat().st_mtime_ns))
    append(here)  # of the same size and time
    os.utime(here / "videos" / "v2.mp4")
    append(here)  # another time, and the same bytes
    os.utime(here / "videos" / "v0.mp4")
    with pytest.raises(OutputError, match=r"1 video changed since the cache has it: v0.mp4: sha256 \w{16}"):
        append(here)
    shutil.copy2(pieces / "v0.mp4", here / "videos")
    truncate_file(here / "videos" / "v2.mp4", 0.5)
    (here / "c.scan").unlink()
    with pytest.raises(
        OutputError,
        match=r"v2.mp4: \d+ bytes recorded, \d+ found; put the old .*; forget with 'v2.mp4' takes",
    ):
        append(here)
    before = digests(here / "c")
    shutil.copy2(pieces / "v2.mp4", here / "videos")
    (here / "videos" / "v4.mp4").write_bytes(bytes((pieces / "v4.mp4").stat().st_size))
    append(here)
    with pytest.raises(OutputError, match=r"v4.mp4: sha256"):
        append(here, rehash=True)
    assert digests(here / "c") == before


def test_settings_are_those_of_the_cache_and_each_other_one_is_named(here, pieces, tmp_path):
    put(pieces, here / "videos", 1)
    config = tmp_path / "my.toml"
    config.write_text("quality = 60\nseed = 5\n")
    found = run(
        here / "videos",
        "--out",
        here / "c",
        "--append",
        "--config",
        config,
        "--size",
        "8x16",
        "--stride",
        "2",
    )
    assert found.exit_code == 2
    for text in (
        "quality in my.toml: 95 there, 60",
        "--size: 16 there, 8x16",
        "--stride: 1 there, 2 asked for",
    ):
        assert text.replace("my.toml", str(config)) in found.stderr
    assert "seed" not in found.stderr
    with pytest.raises(OutputError, match="format: wds there, zarr asked for"):
        append(here, format="zarr", encoding="zstd")
    with pytest.raises(OutputError, match=r"size='native'.*the cache has 16x16, the new videos have 96x160"):
        append(here, size="native")
    with pytest.raises(ConfigError, match="give one of them"):
        append(here, overwrite=True)
    tree = read_tree(here / "c")
    other = msgspec.structs.replace(tree.common, library_versions=tree.common.library_versions | {"av": "1"})
    before = digests(here / "c")
    from tests.support.caches.tree import write_tree

    write_tree(here / "c", other)
    with pytest.raises(OutputError, match=r"(?s)other versions of libraries.*av: 1 there, "):
        append(here)
    for path, content in before.items():
        path.write_bytes(content)
    assert append(here, size="16", quality=95, format="wds").status == "appended"


def test_an_append_where_no_cache_is_builds_one_and_a_dry_run_tells_of_the_new_videos_alone(pieces, tmp_path):
    put(pieces, tmp_path / "videos", 0)
    report = build_cache(tmp_path / "videos", tmp_path / "c", append=True, **SETTINGS)
    assert (report.status, report.append) == ("built", None)
    put(pieces, tmp_path / "videos", 5)
    estimate = estimate_build(tmp_path / "videos", tmp_path / "c", append=True, workers=1)
    assert (estimate.num_videos, estimate.num_frames_stored) == (1, 11)
    assert append(tmp_path).num_frames == 11
    assert estimate_build(tmp_path / "videos", tmp_path / "c", append=True).num_videos == 0
    told = run(tmp_path / "videos", "--out", tmp_path / "c", "--append", "--dry-run").stdout
    assert told == f"{tmp_path / 'c'}: an append would add no video; nothing was written\n"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(OutputError, match="other"):
        build_cache(tmp_path / "videos", tmp_path / "other", append=True)
    folder = read_tree(tmp_path / "c").generations[0].path
    with pytest.raises(OutputError, match="a part of one; give the whole"):
        build_cache(tmp_path / "videos", folder, append=True)


def test_nothing_is_forgotten_where_no_cache_is(pieces, tmp_path):
    put(pieces, tmp_path / "videos", 0)
    with pytest.raises(OutputError, match=r"no cache is there, so that .* has nothing to forget"):
        build_cache(tmp_path / "videos", tmp_path / "c", append=True, forget=["v0.mp4"], **SETTINGS)
    assert not (tmp_path / "c").exists()


def test_filters_choose_among_new_videos_and_absent_ones_are_named_and_stay(here, pieces):
    put(pieces, here / "videos", 1, 3, 5)
    (here / "videos" / "v4.mp4").unlink()
    report = append(here, exclude="v[05]*", limit=3)
    assert [video.path for video in report.videos] == ["v1.mp4", "v3.mp4"]
    assert report.append.absent == ["v0.mp4", "v4.mp4"]
    assert report.append.num_videos == 5
    refused = run(here / "videos", "--out", here / "c", *FLAGS)
    assert refused.exit_code == 2
    assert "v4.mp4: in the cache, but not among the videos given" in refused.stderr
    assert "--append" not in refused.stderr  # it would not help


def test_forgotten_videos_are_replaced_in_one_version_and_taken_back_without_decoding(here, pieces):
    before = digests(here / "c")
    report = forget_videos(here / "c", ["v2.mp4", "v2.mp4"])
    assert (report.forgotten, report.num_videos, report.num_frames) == (["v2.mp4"], 2, 16)
    assert read_manifest(here / "c").forgotten_videos == [1]
    assert forget_videos(here / "c", "v2.mp4").were_forgotten == ["v2.mp4"]
    assert read_manifest(here / "c").version == 1
    with pytest.raises(ConfigError, match=r"has no video 'v9.mp4'; its 2 videos are like 'v4.mp4', 'v0.mp4'"):
        forget_videos(here / "c", "v9.mp4")
    with pytest.raises(ConfigError, match="would have no frame left"):
        forget_videos(here / "c", ["v0.mp4", "v4.mp4"])
    back = append(here)
    assert (back.append.taken_back, back.append.num_videos_added) == (["v2.mp4"], 0)
    assert read_manifest(here / "c").forgotten_videos == []
    shutil.copy2(pieces / "v5.mp4", here / "videos" / "v2.mp4")
    put(pieces, here / "videos", 1)
    with pytest.raises(OutputError, match=r"v2.mp4"):
        append(here)
    replaced = append(here, forget="v2.mp4")
    manifest = read_manifest(here / "c")
    assert (manifest.version, manifest.forgotten_videos, len(manifest.generations)) == (3, [1], 2)
    assert (replaced.append.forgotten, replaced.append.num_videos) == (["v2.mp4"], 4)
    assert before.items() <= digests(here / "c").items()
    again = append(here, forget="v2.mp4")  # the same command, once more
    assert (again.status, read_manifest(here / "c").version) == ("already complete", 3)
    assert sorted(row.path for row in open_store(here / "c").videos) == [f"v{n}.mp4" for n in (0, 1, 2, 4)]
    build_cache(here / "videos", here / "c", **SETTINGS)
    compared = run(here / "c", "--against", here / "videos", command=info())
    assert "its 4 videos, unchanged" in compared.stdout
    (here / "videos" / "v0.mp4").rename(here / "videos" / "renamed.mp4")
    assert "v0.mp4: in the cache" in run(here / "c", "--against", here / "videos", command=info()).stdout
    assert append(here).append.copies == [["renamed.mp4", "v0.mp4"]]


def info():
    from cache_builder.cli import cache_info

    return cache_info


def test_forgetting_by_the_command_needs_no_source(here):
    done = run("--forget", "v2.mp4", "--out", here / "c")
    assert (done.exit_code, "forgot 1 video ('v2.mp4'); 2 videos with 16 frames left" in done.stdout) == (
        0,
        True,
    )
    for flags, said in (
        (("--forget", "v0.mp4"), "--out"),
        (("--forget", "v0.mp4", "--out", here / "c", "--size", "8"), "--size is for a build"),
        (("--forget", "v0.mp4", "--out", here / "c", here / "videos"), "--append"),
        (("--append", "--out", here / "c"), "give SOURCE"),
        (("--rehash", "--out", here / "c", here / "videos"), "--append"),
    ):
        refused = run(*flags)
        assert (refused.exit_code, said in refused.stderr) == (2, True), refused.stderr


def test_videos_that_are_not_whole_stop_an_append_or_are_skipped(here, pieces):
    put(pieces, here / "videos", 1)
    (here / "videos" / "x.mp4").write_bytes(b"no video")
    with pytest.raises(VideosNotWholeError, match=r"x.mp4"):
        append(here)
    assert read_manifest(here / "c").version == 0
    done = run(here / "videos", "--out", here / "c", "--append", "--on-error", "skip", "--workers", "1")
    assert done.exit_code == 1
    assert read_manifest(here / "c").num_videos == 5
    done = run(here / "videos", "--out", here / "c", "--append", "--workers", "1")
    assert (done.exit_code, "already complete, 5 videos" in done.stdout) == (
        0,
        True,
    )  # unreadable then and now


def test_a_generation_that_no_manifest_names_yet_is_adopted_without_decoding(here, pieces, monkeypatch):
    put(pieces, here / "videos", 1)

    def killed(*arguments, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(publishing, "commit_next", killed)
        with pytest.raises(KeyboardInterrupt):
            append(here)
    (made,) = {path.name for path in (here / "c").iterdir()} - {
        read_manifest(here / "c").generations[0].folder, manifest_name(0)
    }  # fmt: skip
    shutil.rmtree(here / "c.building")
    before = digests(here / "c")
    with monkeypatch.context() as patched:
        patched.setattr("cache_builder.build.making.DecodeStage", killed)
        report = append(here)
    assert (report.status, report.is_resumed, read_manifest(here / "c").generations[1].folder) == (
        "appended", True, made
    )  # fmt: skip
    assert before.items() <= digests(here / "c").items()


def test_a_damaged_generation_that_no_manifest_names_is_made_again(here, pieces, monkeypatch):
    put(pieces, here / "videos", 1)
    expected = shutil.copytree(here, here / "copy")
    append(expected)
    folder = read_manifest(expected / "c").generations[1].folder
    shutil.copytree(expected / "c" / folder, here / "c" / folder)
    shard = next((here / "c" / folder).rglob("*.tar"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    append(here)
    assert of_generation(here / "c", 1) == of_generation(expected / "c", 1)


def test_an_unfinished_append_of_other_videos_gives_way_and_an_unfinished_build_does_not(
    here, pieces, monkeypatch
):
    put(pieces, here / "videos", 1)

    def killed(*arguments, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("cache_builder.build.making.gather", killed)
        with pytest.raises(KeyboardInterrupt):
            append(here)
        put(pieces, here / "videos", 3)
    assert append(here).append.num_videos_added == 2
    put(pieces, here / "videos", 5)
    with monkeypatch.context() as patched:
        patched.setattr("cache_builder.build.making.gather", killed)
        with pytest.raises(KeyboardInterrupt):
            build_cache(here / "videos", here / "c", overwrite=True, size=8, workers=1)
    with pytest.raises(OutputError, match=r"(?s)unfinished build of something else.*or remove .*c.building"):
        append(here)
