"""Gray videos of up to 16 bits: every level comes back, built and live, in both containers, through every tool."""

import io
import shutil
import tarfile
from pathlib import Path

import av
import numpy as np
import pytest

import frame_store
from cache_builder import build_cache, estimate_build, open_videos
from cache_builder.cli import cache_info
from cache_builder.errors import ConfigError, VideosNotWholeError
from cache_builder.settings import BuildSettings, resolve
from cache_builder.video.picture.convert import FrameConverter
from cache_builder.video.picture.geometry import FrameGeometry, Presentation
from frame_store.verify import verify_store
from tests.support.caches.tree import generation_folder, generation_of, videos_of
from tests.support.commands import run
from tests.support.depth.level_videos import WAYS, num_levels, ramps, write_levels, write_pngs_of_formats
from tests.support.videos.tiny_videos import tiny_video

CONTAINERS = {
    "wds raw shuffled": {},
    "wds raw video": {"layout": "video"},
    "zarr zstd": {"format": "zarr", "frames_per_shard": 2},
    "zarr raw": {"format": "zarr", "encoding": "raw"},
}
NATIVE = {"pixel": "gray16", "size": 256, "workers": 1}


@pytest.fixture(scope="module", params=WAYS)
def video(request, tmp_path_factory):
    """(folder with one video, its frames)."""
    name, codec, pixel_format, options = WAYS[request.param]
    folder = tmp_path_factory.mktemp("levels")
    frames = ramps(pixel_format)
    for levels in frames:
        assert len(np.unique(levels)) == num_levels(pixel_format)
    write_levels(folder / name, frames, codec=codec, pixel_format=pixel_format, options=options)
    return folder, frames


@pytest.fixture(scope="module")
def ramp_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ramp")
    write_levels(folder / "a.mkv", ramps())
    write_levels(folder / "b.mkv", ramps(num_frames=5)[::-1])
    return folder


def in_video_order(store, video_id=0):
    return store.read_frames(store.ids_of_video(video_id))


@pytest.mark.parametrize("settings", CONTAINERS.values(), ids=CONTAINERS)
def test_every_level_is_stored(video, tmp_path, settings):
    folder, frames = video
    report = build_cache(folder, tmp_path / "cache", **NATIVE, **settings)
    assert report.fidelity is None
    store = frame_store.open_store(tmp_path / "cache", verify_reads=True)
    assert (store.common.pixel, store.frame_shape, store.frame_dtype) == (
        "gray16",
        (256, 256, 1),
        np.uint16,
    )
    np.testing.assert_array_equal(in_video_order(store), frames, strict=True)
    assert verify_store(tmp_path / "cache").problems == []
    assert store.video_entries[0].verdict == "whole"
    assert not any("stored as 8" in note for note in store.video_entries[0].notes)


def test_every_level_is_read_live(video):
    folder, frames = video
    store = open_videos(folder, pixel="gray16", size=256, workers=1)
    assert (store.frame_shape, store.frame_dtype) == ((256, 256, 1), np.uint16)
    np.testing.assert_array_equal(store[:], frames, strict=True)
    out = np.zeros((2, 256, 256, 1), np.uint16)
    store.read_frames([2, 0], out)
    np.testing.assert_array_equal(out, frames[[2, 0]])
    with pytest.raises(ValueError, match="contiguous uint16 array"):
        store.read_frames([0], np.zeros((1, 256, 256, 1), np.uint8))
    colour = open_videos(folder, size=256, workers=1)
    assert colour.fingerprint != store.fingerprint


def test_other_libraries_read_the_levels(ramp_folder, tmp_path):
    import zarr

    build_cache(ramp_folder, tmp_path / "tar", **NATIVE, layout="video")
    expected = [*ramps(), *ramps(num_frames=5)[::-1]]
    with tarfile.open(generation_folder(tmp_path / "tar") / "shards/000000.tar") as tar:
        images = [member for member in tar if member.name.endswith(".npy")]
        for member, levels in zip(images, expected, strict=True):
            pixels = np.load(io.BytesIO(tar.extractfile(member).read()))
            np.testing.assert_array_equal(pixels, levels, strict=True)
    build_cache(ramp_folder, tmp_path / "zarr", **NATIVE, layout="video", format="zarr")
    frames = zarr.open_group(generation_folder(tmp_path / "zarr") / "frames.zarr", mode="r")["frames"]
    np.testing.assert_array_equal(frames[:], expected, strict=True)


@pytest.mark.parametrize("settings", CONTAINERS.values(), ids=CONTAINERS)
def test_cached_and_live_frames_are_equal_at_other_sizes(ramp_folder, tmp_path, settings):
    shown = {"pixel": "gray16", "size": (40, 64), "resize": "pad", "workers": 1}
    build_cache(ramp_folder, tmp_path / "cache", **shown, **settings)
    cache = frame_store.open_store(tmp_path / "cache")
    live = open_videos(ramp_folder, **shown)
    for video_id in range(2):
        np.testing.assert_array_equal(in_video_order(cache, video_id), in_video_order(live, video_id))
    kept = live[0][:, 12:52]
    assert not live[0][:, :12].any() and np.isin(kept, ramps()[0]).all() and len(np.unique(kept)) == 1600


def test_frames_that_differ_in_one_byte_are_no_copies(tmp_path):
    frames = np.repeat(ramps(num_frames=1), 4, axis=0)
    frames[1] ^= 1
    frames[2] ^= 1 << 15
    write_levels(tmp_path / "a.mkv", frames)
    build_cache(tmp_path, tmp_path / "cache", **NATIVE)
    assert videos_of(tmp_path / "cache")[0].findings.num_frames_duplicate == 0


@pytest.mark.parametrize("name", ["wds raw shuffled", "zarr zstd"])
def test_a_damaged_shard_is_made_again(ramp_folder, tmp_path, name):
    from tests.end_to_end.builds.repair.repairs import repaired

    cache = tmp_path / "cache"
    build_cache(ramp_folder, cache, **NATIVE, **CONTAINERS[name])
    shard = generation_folder(cache) / generation_of(cache).shards[0].name
    sound = shard.read_bytes()
    damaged = bytearray(sound)
    damaged[len(sound) // 2] ^= 1
    shard.write_bytes(damaged)
    assert verify_store(cache).problems
    result = repaired(cache, ramp_folder)
    assert result.exit_code == 0, result.stderr
    assert shard.read_bytes() == sound


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "encoding"),
        [({}, "raw"), ({"format": "zarr"}, "zstd"), ({"format": "zarr", "encoding": "raw"}, "raw")],
    )
    def test_who_names_no_encoding_gets_one_that_keeps_levels(self, settings, encoding):
        config, _ = resolve(BuildSettings(pixel="gray16", **settings))
        assert config.encoding.name == encoding
        assert (config.frame_shape, config.frame_dtype) == ((224, 224, 1), np.uint16)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (
                {"encoding": "jpeg"},
                "pixel='gray16' stores 16 bits, and encoding='jpeg' has 8: give encoding='raw'",
            ),
            ({"encoding": "zstd"}, "format='wds' takes jpeg and raw"),
            ({"quality": 90}, "belong to encoding='jpeg', not to raw"),
        ],
    )
    def test_what_cannot_keep_levels_is_refused(self, ramp_folder, tmp_path, settings, message):
        with pytest.raises(ConfigError, match=message):
            build_cache(ramp_folder, tmp_path / "cache", pixel="gray16", **settings)

    def test_an_unknown_pixel_is_refused(self, ramp_folder, tmp_path):
        with pytest.raises(ConfigError, match="pixel"):
            build_cache(ramp_folder, tmp_path / "cache", pixel="gray8")
        with pytest.raises(ValueError, match="pixel must be one of rgb8, gray16, found 'gray8'"):
            open_videos(ramp_folder, pixel="gray8")


class TestColour:
    @pytest.fixture
    def mixed_folder(self, tmp_path):
        folder = tmp_path / "videos"
        folder.mkdir()
        write_levels(folder / "a.mkv", ramps())
        tiny_video(folder, path=Path("b.mp4"), num_frames=3)
        return folder

    def test_videos_of_colours_are_refused_by_name(self, mixed_folder, tmp_path):
        expected = r"b\.mp4: its pixel format is yuv420p, .*pixel 'rgb8' stores colours"
        with pytest.raises(VideosNotWholeError, match=rf"1 of the videos(?s:.*){expected}"):
            build_cache(mixed_folder, tmp_path / "cache", **NATIVE)
        with pytest.raises(VideosNotWholeError, match=rf"opened with pixel='gray16'(?s:.*){expected}"):
            open_videos(mixed_folder, pixel="gray16")
        (problem,) = estimate_build(mixed_folder, tmp_path / "cache", **NATIVE).problems
        assert "b.mp4" in problem and "yuv420p" in problem

    def test_the_others_are_built_where_they_are_skipped(self, mixed_folder, tmp_path):
        build_cache(mixed_folder, tmp_path / "cache", **NATIVE, on_error="skip")
        store = frame_store.open_store(tmp_path / "cache")
        whole, colour = store.video_entries
        assert (whole.verdict, colour.verdict, colour.num_frames_stored) == ("whole", "unreadable", 0)
        assert "yuv420p" in colour.reason
        np.testing.assert_array_equal(in_video_order(store), ramps())

    def test_gray_videos_are_stored_as_colour_as_before(self, ramp_folder, tmp_path):
        build_cache(ramp_folder, tmp_path / "cache", size=256, encoding="raw", workers=1)
        found = in_video_order(frame_store.open_store(tmp_path / "cache"))
        converter = FrameConverter(FrameGeometry(height=256, width=256), Presentation())
        with av.open(str(ramp_folder / "a.mkv")) as container:
            expected = [converter.convert(frame) for frame in container.decode(video=0)]
        np.testing.assert_array_equal(found, expected, strict=True)
        assert any("16 bits a sample stored as 8" in note for note in videos_of(tmp_path / "cache")[0].notes)

    def test_a_video_that_turns_to_colour_is_refused_by_name(self, tmp_path):
        folder = tmp_path / "videos"
        folder.mkdir()
        levels = ramps()
        colour = np.zeros((256, 256, 3), np.uint8)
        write_pngs_of_formats(
            folder / "a.mov", [(levels[0], "gray16be"), (levels[1], "gray16be"), (colour, "rgb24")]
        )
        with pytest.raises(VideosNotWholeError, match=r"a\.mov: its pixel format is rgb24"):
            build_cache(folder, tmp_path / "cache", **NATIVE)
        store = open_videos(folder, pixel="gray16", size=256)
        np.testing.assert_array_equal(store[:2], levels[:2])
        with pytest.raises(frame_store.FrameCacheError, match=r"a\.mov: its pixel format is rgb24"):
            store[2]

    def test_a_change_to_fewer_bits_is_noted_and_its_levels_kept(self, tmp_path):
        folder = tmp_path / "videos"
        folder.mkdir()
        levels = ramps()
        few = ramps("gray")
        write_pngs_of_formats(folder / "a.mov", [(levels[0], "gray16be"), (few[1], "gray"), (few[2], "gray")])
        build_cache(folder, tmp_path / "cache", **NATIVE)
        found = in_video_order(frame_store.open_store(tmp_path / "cache"))
        np.testing.assert_array_equal(found, [levels[0], few[1], few[2]])
        (change,) = videos_of(tmp_path / "cache")[0].findings.format_changes
        assert (change.frame, change.after.pixel_format) == (1, "gray")


def test_the_commands_show_what_is_stored(ramp_folder, tmp_path):
    result = run(ramp_folder, "--out", tmp_path / "cache", "--pixel", "gray16", "--size", "64")
    assert result.exit_code == 0, result.stderr
    shown = run(tmp_path / "cache", command=cache_info)
    assert "8 frames of 64x64 16-bit gray (uint16 levels) from 2 videos" in shown.stdout
    assert "stored as  wds, raw" in shown.stdout
    assert '"pixel": "gray16"' in run(tmp_path / "cache", "--json", command=cache_info).stdout
    again = run(ramp_folder, "--out", tmp_path / "cache", "--size", "64")
    assert again.exit_code != 0 and "pixel" in again.stderr


def test_a_dry_run_counts_two_bytes_a_level(ramp_folder, tmp_path):
    said = estimate_build(ramp_folder, tmp_path / "cache", **NATIVE)
    build_cache(ramp_folder, tmp_path / "cache", **NATIVE)
    assert said.num_payload_bytes == 8 * 256 * 256 * 2
    size = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*") if path.is_file())
    assert abs(said.num_cache_bytes - size) < 0.02 * size


def test_a_full_disk_is_foreseen_by_two_bytes_a_level(ramp_folder, tmp_path, monkeypatch):
    needed = 2 * 8 * 256 * 256 * 2
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=needed * 3 // 4))
    with pytest.raises(frame_store.FrameCacheError, match=r"at least 2\.1 MB are needed"):
        build_cache(ramp_folder, tmp_path / "cache", **NATIVE)
