"""From a folder of videos to a cache and back: who every frame is, and that its pixels are the decoder's."""

import io
import json
import math
import tarfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from frame_cache_tools.samples.numbered_videos import read_frame

import frame_store
from cache_builder import open_videos
from cache_builder.build.pipeline import run_build
from cache_builder.jobs.unit_job import mean_squared_error
from cache_builder.settings import BuildConfig, BuildSettings, RunOptions, read_settings, resolve
from cache_builder.video.picture.convert import FrameConverter
from cache_builder.video.picture.geometry import FrameGeometry
from frame_store.verify import verify_store
from tests.support.caches.tree import generation_folder
from tests.support.videos.plain_decode import in_rising_order
from tests.support.videos.presentations import presentation
from tests.support.videos.tiny_videos import tiny_video

CONFIGS = Path(__file__).parents[3] / "configs"
VARIANTS = {
    "wds-jpeg-shuffled": {},
    "wds-raw-video": {"encoding": "raw", "layout": "video", "frames_per_shard": 100},
    "wds-raw-one-shard-a-video": {"encoding": "raw", "layout": "video", "frames_per_shard": "video"},
    "zarr-zstd-shuffled": {"format": "zarr", "frames_per_shard": 100},
    "zarr-raw-video": {"format": "zarr", "encoding": "raw", "layout": "video"},
}
LOSSLESS = [name for name in VARIANTS if "jpeg" not in name]


def build(folder, output, *, on_error="fail", workers=2, **settings):
    config, _ = resolve(BuildSettings(**settings))
    return run_build(folder, output, config, RunOptions(workers=workers, on_error=on_error))


@pytest.fixture(scope="module")
def built(request, sample_folder, tmp_path_factory):
    """A cache of the 16 tiny videos, one per variant and test module."""
    output = tmp_path_factory.mktemp("built") / request.param
    report = build(sample_folder.path, output, **VARIANTS[request.param])
    assert report.status == "built"
    return output


every_variant = pytest.mark.parametrize("built", list(VARIANTS), indirect=True, scope="module")
lossless_variants = pytest.mark.parametrize("built", LOSSLESS, indirect=True, scope="module")


def decode_plainly(path, geometry):
    """(pts seconds, pixels) of every frame, by PyAV from the first packet to the last."""
    frames, ticks = [], []
    container = av.open(str(path))
    stream = container.streams.best("video")
    converter = None
    for frame in container.decode(stream):
        if converter is None:
            sar = stream.sample_aspect_ratio
            converter = FrameConverter(geometry, presentation(frame.rotation, sar and Fraction(sar)))
        ticks.append(frame.pts)
        frames.append(converter.convert(frame))
    time_base = stream.time_base
    container.close()
    pts_seconds = [
        math.nan if pts is None else float(pts * time_base) for pts in in_rising_order(path, ticks)
    ]
    return list(zip(pts_seconds, frames, strict=True))


def ids_by_video(store):
    """Frame ids of each video, in output order."""
    index = store.index
    order = np.lexsort((index["frame_in_video"], index["video_id"]))
    return [order[index["video_id"][order] == video_id] for video_id in range(len(store.video_entries))]


@every_variant
def test_the_cache_is_sound_and_holds_every_frame_that_decodes(built, sample_folder):
    store = frame_store.open_store(built)
    assert verify_store(built).problems == []
    assert len(store) == sample_folder.num_frames
    for spec, video, frame_ids in zip(
        sample_folder.specs, store.video_entries, ids_by_video(store), strict=True
    ):
        assert video.path == spec.path.relative_to(sample_folder.path).as_posix()
        assert video.verdict == "whole"
        assert video.num_frames_stored == video.num_frames_decoded == spec.num_frames == len(frame_ids)
        assert store.index["frame_in_video"][frame_ids].tolist() == list(range(spec.num_frames))


@lossless_variants
def test_every_frame_is_plain_pyavs_frame(built, sample_folder):
    store = frame_store.open_store(built)
    for spec, frame_ids in zip(sample_folder.specs, ids_by_video(store), strict=True):
        expected = decode_plainly(spec.path, FrameGeometry())
        np.testing.assert_array_equal(store.read_frames(frame_ids), [pixels for _, pixels in expected])
        np.testing.assert_allclose(
            store.index["pts_seconds"][frame_ids], [pts for pts, _ in expected], rtol=0, atol=1e-9
        )


@lossless_variants
def test_every_frame_is_the_live_stores_frame(built, sample_folder):
    store, live = frame_store.open_store(built), open_videos(sample_folder.path)
    cached_ids = np.concatenate(ids_by_video(store))
    for name in ("video_id", "frame_in_video", "pts_seconds"):
        np.testing.assert_array_equal(store.index[name][cached_ids], live.index[name])
    live_ids = np.random.default_rng(0).permutation(len(live))
    for some in np.array_split(live_ids, 12):
        np.testing.assert_array_equal(live.read_frames(some), store.read_frames(cached_ids[some]))
    live.close()


@every_variant
def test_every_frame_spells_who_the_index_says_it_is(built, sample_folder):
    store = frame_store.open_store(built)
    frames = store.read_frames(np.arange(len(store)))
    for frame, row in zip(frames, store.index, strict=True):
        source_size = sample_folder.specs[row["video_id"]].display_size
        numbers = read_frame(frame, source_size=source_size, resize="crop")
        assert numbers == (row["video_id"], row["frame_in_video"])


@pytest.mark.parametrize("built", ["wds-jpeg-shuffled"], indirect=True, scope="module")
def test_psnr_of_jpeg_frames_is_what_the_manifest_says(built, sample_folder):
    store = frame_store.open_store(built)
    for spec, video, frame_ids in zip(
        sample_folder.specs, store.video_entries, ids_by_video(store), strict=True
    ):
        unencoded = [pixels for _, pixels in decode_plainly(spec.path, FrameGeometry())]
        errors = [
            mean_squared_error(*pair) for pair in zip(unencoded, store.read_frames(frame_ids), strict=True)
        ]
        sampled = errors[::16]  # a video this short is one unit, and a unit samples every 16th frame
        assert video.fidelity.num_frames_sampled == len(sampled)
        assert video.fidelity.psnr_db_of_mean_error == pytest.approx(
            10 * math.log10(255**2 / np.mean(sampled)), abs=0.001
        )
        assert video.fidelity.psnr_db_worst_frame == pytest.approx(
            10 * math.log10(255**2 / max(sampled)), abs=0.001
        )
        assert video.fidelity.psnr_db_of_mean_error == pytest.approx(
            10 * math.log10(255**2 / np.mean(errors)), abs=0.5
        )
    assert store.common.fidelity.num_frames_sampled == sum(
        video.fidelity.num_frames_sampled for video in store.video_entries
    )


@pytest.mark.parametrize("built", ["zarr-zstd-shuffled", "zarr-raw-video"], indirect=True, scope="module")
def test_plain_zarr_reads_it(built):
    import zarr

    store = frame_store.open_store(built)
    group = zarr.open_group(generation_folder(built) / "frames.zarr", mode="r")
    np.testing.assert_array_equal(group["frames"][:], store.read_frames(np.arange(len(store))))
    for name in ("video_id", "frame_in_video", "pts_seconds"):
        np.testing.assert_array_equal(group[name][:], store.index[name])


@pytest.mark.parametrize("built", ["wds-raw-video", "wds-jpeg-shuffled"], indirect=True, scope="module")
def test_plain_tarfile_reads_it(built):
    store = frame_store.open_store(built)
    frame_id = 0
    for shard in store.common.shards:
        with tarfile.open(store.generations[0].path / shard.name) as tar:
            members = tar.getmembers()
            for image, metadata in zip(members[::2], members[1::2], strict=True):
                content = tar.extractfile(image).read()
                if image.name.endswith(".npy"):
                    np.testing.assert_array_equal(
                        np.load(io.BytesIO(content)), store.read_frames([frame_id])[0]
                    )
                else:
                    assert content == store.read_payload(frame_id)
                said, row = json.loads(tar.extractfile(metadata).read()), store.index[frame_id]
                assert (said["video_id"], said["frame_in_video"]) == (row["video_id"], row["frame_in_video"])
                assert said["video"] == store.video_entries[row["video_id"]].path
                frame_id += 1
    assert frame_id == len(store)


def test_layouts_are_what_they_say(sample_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("layouts")
    build(sample_folder.path, folder / "video", encoding="raw", layout="video", frames_per_shard=100)
    build(sample_folder.path, folder / "shuffled", encoding="raw", frames_per_shard=100, seed=1)
    build(sample_folder.path, folder / "reseeded", encoding="raw", frames_per_shard=100, seed=2)
    indexes = {
        name: frame_store.open_store(folder / name).index for name in ("video", "shuffled", "reseeded")
    }
    keys = {
        name: index["video_id"].astype(int) * 10**6 + index["frame_in_video"]
        for name, index in indexes.items()
    }
    assert (np.diff(keys["video"]) > 0).all()
    assert set(keys["video"]) == set(keys["shuffled"]) == set(keys["reseeded"])
    assert (keys["shuffled"] != keys["reseeded"]).mean() > 0.9
    assert (np.diff(keys["shuffled"]) > 0).mean() < 0.6
    sizes = frame_store.open_store(folder / "shuffled").shard_sizes
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("stride", [2, 7, 1000])
def test_stride_keeps_every_kth_frame_under_its_own_number(sample_folder, tmp_path, stride):
    build(sample_folder.path, tmp_path / "cache", encoding="raw", stride=stride)
    store = frame_store.open_store(tmp_path / "cache")
    for spec, frame_ids in zip(sample_folder.specs, ids_by_video(store), strict=True):
        kept = list(range(0, spec.num_frames, stride))
        assert store.index["frame_in_video"][frame_ids].tolist() == kept
        expected = decode_plainly(spec.path, FrameGeometry())
        np.testing.assert_array_equal(store.read_frames(frame_ids), [expected[i][1] for i in kept])


@pytest.mark.parametrize("fps", [10, 12.5, 100])
def test_fps_keeps_the_frame_shown_at_each_tick(simple_folder, tmp_path, fps):
    """The samples run at 25 fps; each tick of 1/fps from the first pts shows the last frame not after it."""
    build(simple_folder.path, tmp_path / "cache", encoding="raw", fps=fps)
    store = frame_store.open_store(tmp_path / "cache")
    for spec, frame_ids in zip(simple_folder.specs, ids_by_video(store), strict=True):
        shown = {int(Fraction(tick) / Fraction(str(fps)) * 25) for tick in range(int(spec.num_frames * fps))}
        assert store.index["frame_in_video"][frame_ids].tolist() == sorted(
            number for number in shown if number < spec.num_frames
        )


@pytest.mark.parametrize(("suffix", "fps"), [(".mkv", "30"), (".flv", "30"), (".webm", "30000/1001")])
def test_fps_at_the_rate_of_a_video_keeps_every_frame(tmp_path, suffix, fps):
    """Timestamps in milliseconds: the first and the one compared with it are both rounded."""
    rate = Fraction(fps)
    codec = "vp8" if suffix == ".webm" else "h264"
    spec = tiny_video(tmp_path / "in", path=Path(f"a{suffix}"), num_frames=40, fps=rate, codec=codec)
    build(tmp_path / "in", tmp_path / "cache", encoding="raw", fps=round(float(rate), 2))
    store = frame_store.open_store(tmp_path / "cache")
    assert sorted(store.index["frame_in_video"].tolist()) == list(range(spec.num_frames))


def test_fps_on_a_video_without_timestamps_names_it(sample_folder, tmp_path):
    report = build(sample_folder.path, tmp_path / "cache", encoding="raw", fps=5, on_error="skip")
    assert {video.path for video in report.not_whole} == {"05_raw.h264"}
    assert "no timestamps" in report.not_whole[0].reason


@pytest.mark.parametrize(
    "geometry",
    [
        {"size": "96x128", "resize": "pad"},
        {"size": 128, "resize": "stretch", "crop_aspect": "4:3"},
    ],
)
def test_geometry_is_applied(simple_folder, tmp_path, geometry):
    build(simple_folder.path, tmp_path / "cache", encoding="raw", **geometry)
    store = frame_store.open_store(tmp_path / "cache")
    config, _ = resolve(BuildSettings(**geometry))
    assert store.frame_shape == config.frame_shape
    for spec, frame_ids in zip(simple_folder.specs, ids_by_video(store), strict=True):
        expected = [pixels for _, pixels in decode_plainly(spec.path, config.geometry)]
        np.testing.assert_array_equal(store.read_frames(frame_ids), expected)


@pytest.mark.parametrize("preset", sorted(path.name for path in CONFIGS.glob("*.toml")))
def test_every_preset_builds_and_its_arithmetic_holds(simple_folder, tmp_path, preset):
    settings = read_settings(CONFIGS / preset)
    config, _ = resolve(settings)
    run_build(simple_folder.path, tmp_path / "cache", config, RunOptions(workers=2))
    store = frame_store.open_store(tmp_path / "cache")
    assert len(store) == simple_folder.num_frames
    assert store.common.config == BuildConfig.to_builtins(config)
    text = (CONFIGS / preset).read_text()
    height, width, channels = store.frame_shape
    assert f"{height} x {width} x {channels} = {height * width * channels:,} bytes" in text
    if preset == "raw.toml":
        shard = store.common.shards[0]
        assert f"{round(shard.num_bytes / shard.num_frames / 512) * 512:,} with its tar headers" in text
