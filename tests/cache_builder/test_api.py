"""`cache_builder.build_cache`: the command's flags as keywords, its checks and its words."""

import inspect
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from frame_cache_tools.samples.numbered_videos import NumberedVideo, write_numbered_video

import cache_builder
import frame_store
from cache_builder import api, cli
from cache_builder.errors import ConfigError, InputFolderError, OutputError, VideosNotWholeError
from cache_builder.settings import BuildSettings

OF_COLUMNS = {"columns", "columns_missing", "columns_tolerance"}
NOT_FLAGS_OF_A_CACHE = {
    "append",
    "forget",
    "rehash",
    "videos",
    "out",
    "include",
    "exclude",
    "limit",
    "camera_pattern",
    "config",
    "content_order",
    "dry_run",
    "overwrite",
    "scratch",
} | OF_COLUMNS


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos") / "clips"
    write_numbered_video(NumberedVideo(path=folder / "a.mp4", num_frames=20, gop_size=5))
    return folder


@pytest.fixture
def settings_built(monkeypatch):
    """What would be built, in the place of building it."""
    seen = []

    def run_build(videos, out, config, options, *, scratch, overwrite, append, progress):
        seen.append((videos, out, config, options, overwrite, progress))

    monkeypatch.setattr(api, "run_build", run_build)
    return seen


def test_every_flag_of_the_command_is_a_keyword_and_none_else():
    keywords = inspect.signature(cache_builder.build_cache).parameters
    flags = {parameter.name for parameter in cli.cache_build.params} - {"sources", "version"}
    assert set(keywords) - {"progress"} == flags - {"dry_run"}
    assert flags - NOT_FLAGS_OF_A_CACHE == set(BuildSettings.__struct_fields__)
    in_order = [name for name in keywords if name in BuildSettings.__struct_fields__]
    assert in_order == list(BuildSettings.__struct_fields__)
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in [*keywords.values()][2:])


def test_a_cache_is_built_beside_its_videos_with_two_words(videos):
    report = cache_builder.build_cache(str(videos), size=16, workers=1)
    assert Path(report.output) == videos.with_name("clips.cache").resolve()
    assert (report.status, report.num_frames, report.not_whole) == ("built", 20, [])
    store = frame_store.open_store(report.output)
    assert store.frame_shape == (16, 16, 3)
    # The command with the same settings finds the cache complete.
    result = CliRunner().invoke(cli.cache_build, [str(videos), "--size", "16", "--workers", "1"])
    assert result.exit_code == 0 and "already complete" in result.output, result.output
    with pytest.raises(OutputError, match=r"(?s)stride: 1 there, 2 asked for.*overwrite=True"):
        cache_builder.build_cache(videos, size=16, stride=2)
    again = cache_builder.build_cache(videos, size=16, stride=2, workers=1, overwrite=True)
    assert again.num_frames == 10


@pytest.mark.parametrize(
    ("keywords", "flags"),
    [
        ({}, []),
        (
            {"format": "zarr", "encoding": "raw", "size": (32, 48), "resize": "pad", "seed": 7},
            ["--format", "zarr", "--encoding", "raw", "--size", "32x48", "--resize", "pad", "--seed", "7"],
        ),
        (
            {"quality": 80, "chroma": "420", "crop_aspect": (4, 3), "layout": "video", "fps": 29.97},
            [
                "--quality",
                "80",
                "--chroma",
                "420",
                "--crop-aspect",
                "4:3",
                "--layout",
                "video",
                "--fps",
                "29.97",
            ],
        ),
        (
            {"frames_per_shard": "video", "layout": "video", "stride": 3, "device": "auto"},
            ["--frames-per-shard", "video", "--layout", "video", "--stride", "3", "--device", "auto"],
        ),
        (
            {"workers": np.int64(3), "size": np.int32(64), "on_error": "skip", "overwrite": True},
            ["--workers", "3", "--size", "64", "--on-error", "skip", "--overwrite"],
        ),
        ({"config": "exercise", "quality": 90}, ["--config", "exercise", "--quality", "90"]),
        ({"size": "32x48", "crop_aspect": "16:9"}, ["--size", "32x48", "--crop-aspect", "16:9"]),
    ],
)
def test_keywords_mean_what_their_flags_mean(settings_built, monkeypatch, keywords, flags):
    monkeypatch.setattr("cache_builder.cli.build_command.run_build", api.run_build)
    cache_builder.build_cache(Path("somewhere"), "there", **keywords)
    CliRunner().invoke(
        cli.cache_build, ["somewhere", "--out", "there", *flags]
    )  # nothing to report: it fails then
    by_keywords, by_flags = settings_built
    assert by_keywords[:5] == by_flags[:5]
    assert by_keywords[5] is None  # silence


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"size": 0}, "^size"),
        ({"size": (32, 32, 3)}, r"^size: expected a number of pixels.*found \(32, 32, 3\)"),
        ({"size": 22.5}, "^size: expected"),
        ({"crop_aspect": (4, 0)}, "^crop_aspect"),
        ({"crop_aspect": 1.5}, "^crop_aspect: expected text such as '4:3'"),
        ({"quality": "95"}, "^quality: expected a whole number, found '95'"),
        ({"quality": 101}, "^quality"),
        ({"stride": True}, "^stride: expected a whole number, found True"),
        ({"stride": 0}, "^stride must be at least 1"),
        ({"stride": 2, "fps": 5}, "^stride and fps both choose frames"),
        ({"format": "tar"}, "^format: expected 'wds' or 'zarr', found 'tar'"),
        ({"format": "zarr", "encoding": "jpeg"}, "^format='zarr' takes raw and zstd, not encoding='jpeg'"),
        ({"workers": 0}, "^workers must be at least 1"),
        ({"on_error": "ignore"}, "^on_error: expected 'fail' or 'skip'"),
        ({"device": "cuda:1"}, "^device: expected"),
        ({"frames_per_shard": "video"}, "^frames_per_shard='video' makes unequal shards"),
        ({"overwrite": "no"}, "^overwrite must be True or False, found 'no'"),
        ({"config": "nosuch"}, "^config nosuch: .* presets are clips, exercise, lossless_zarr, raw$"),
    ],
)
def test_a_wrong_setting_is_named_as_a_keyword(settings_built, keywords, message):
    with pytest.raises(ConfigError, match=message):
        cache_builder.build_cache("somewhere", "there", **keywords)
    assert not settings_built


def test_a_setting_of_the_file_is_named_with_its_file(settings_built, tmp_path):
    config = tmp_path / "my.toml"
    config.write_text('stride = 0\nseed = 3\nformat = "zarr"\n')
    with pytest.raises(ConfigError, match=rf"^stride in {config} must be at least 1, found 0$"):
        cache_builder.build_cache("somewhere", "there", config=config)
    with pytest.raises(ConfigError, match=r"^stride must be at least 1, found -1$"):
        cache_builder.build_cache("somewhere", "there", config=config, stride=-1)
    with pytest.raises(ConfigError, match=rf"^format = \"zarr\" in {config} takes .*, not encoding='jpeg'$"):
        cache_builder.build_cache("somewhere", "there", config=str(config), encoding="jpeg")
    assert not settings_built


def test_a_difference_to_a_setting_of_the_file_is_named_with_its_file(videos, tmp_path):
    config = tmp_path / "my.toml"
    config.write_text("size = 16\nstride = 2\nworkers = 1\n")
    cache_builder.build_cache(videos, tmp_path / "cache", config=config)
    config.write_text("size = 16\nstride = 3\n")
    with pytest.raises(OutputError) as caught:
        cache_builder.build_cache(videos, tmp_path / "cache", config=config, seed=1)
    assert f"stride in {config}: 2 there, 3 asked for" in str(caught.value)
    assert "\n  seed: 0 there, 1 asked for" in str(caught.value)


def test_other_mistakes(videos, tmp_path):
    with pytest.raises(TypeError, match="unexpected keyword argument 'sizes'"):
        cache_builder.build_cache(videos, sizes=64)
    with pytest.raises(InputFolderError, match="nosuch"):
        cache_builder.build_cache(tmp_path / "nosuch", size=16)
    with pytest.raises(ConfigError, match="give out,"):
        cache_builder.build_cache("/", size=16)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/b.mp4").write_bytes(b"nothing" * 99)
    with pytest.raises(VideosNotWholeError, match="on_error='skip'"):
        cache_builder.build_cache(tmp_path / "bad", size=16, workers=1)
    with pytest.raises(ConfigError, match="nosuch"):
        cache_builder.build_cache(videos, config=tmp_path / "nosuch.toml")
    for options in ({"columns_missing": "mask"}, {"columns_tolerance": 0.1}):
        with pytest.raises(ConfigError, match=f"{next(iter(options))}=.* is for columns: give columns=, too"):
            cache_builder.build_cache(videos, **options)


def test_an_estimate_takes_the_same_keywords(videos, tmp_path):
    taken = inspect.signature(cache_builder.estimate_build).parameters
    of_builds = (
        set(inspect.signature(cache_builder.build_cache).parameters)
        - {"overwrite", "content_order", "scratch"}
        - OF_COLUMNS
    )
    assert set(taken) - {"settings"} == of_builds - set(BuildSettings.__struct_fields__)
    config = tmp_path / "my.toml"
    config.write_text("size = 16\nencoding = 'raw'\nworkers = 1\n")
    estimate = cache_builder.estimate_build(str(videos), config=config, stride=np.int64(2), size=(16, 24))
    assert estimate.output == str(videos.with_name("clips.cache").resolve())
    assert (estimate.num_frames_stored, estimate.num_payload_bytes) == (10, 10 * 16 * 24 * 3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'sizes'"):
        cache_builder.estimate_build(videos, sizes=64)
    with pytest.raises(TypeError, match="unexpected keyword argument 'overwrite'"):
        cache_builder.estimate_build(videos, overwrite=True)
    config.write_text("stride = 0\n")
    with pytest.raises(ConfigError, match=rf"^stride in {config} must be at least 1"):
        cache_builder.estimate_build(videos, config=config)


def test_progress_is_reported(videos, tmp_path):
    class Told:
        def __init__(self):
            self.stages, self.steps = [], 0

        def start(self, stage, total, unit):
            self.stages.append(stage)

        def advance(self, steps):
            self.steps += steps

        def note(self, line):
            pass

    told = Told()
    cache_builder.build_cache(videos, tmp_path / "cache", size=16, workers=1, progress=told)
    assert told.stages[:2] == ["scan", "decode"] and told.steps > 20
