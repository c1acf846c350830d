"""An error names each setting as the user gave it: a flag, a key of the file, a keyword."""

import pickle
from pathlib import Path

import msgspec
import pytest

from cache_builder.errors import ConfigError, MachineError, OutputError, RepairError, VideosNotWholeError
from cache_builder.live.open import open_videos
from cache_builder.setting_names import SettingError, as_flag, as_key_of, as_keyword, spelled
from cache_builder.settings import BuildConfig, BuildSettings, checked_settings, resolve
from cache_builder.stages.identity import identity_differences, setting_differences
from tests.support.commands import run

REFUSED = [
    ({"size": 7}, "size", "height must be 8 to 8192 pixels, not 7"),
    ({"size": "64x9000"}, "size", "width must be 8 to 8192 pixels, not 9000"),
    ({"size": "big"}, "size", "must be one number of pixels or HEIGHTxWIDTH"),
    ({"crop_aspect": "4"}, "crop_aspect", "must be WIDTH:HEIGHT"),
    ({"crop_aspect": "0:3"}, "crop_aspect", "must be two numbers from 1 to 10000"),
    ({"quality": 0}, "quality", "must be 1..100, found 0"),
    ({"frames_per_shard": 0}, "frames_per_shard", "must be 'video' or 1..10000000, found 0"),
    ({"stride": 0}, "stride", "must be at least 1, found 0"),
    ({"fps": 0.0}, "fps", "must be above 0 and at most 10000, found 0"),
    ({"seed": -1}, "seed", "must be 0..2^63-1, found -1"),
    ({"workers": 0}, "workers", "must be at least 1, found 0"),
    ({"executor": "slurm"}, "executor", "expected 'local', 'ray' or 'ray:ADDRESS', found 'slurm'"),
    ({"executor": "ray:head"}, "executor", "expected 'ray:local' or 'ray:HOST:PORT', found 'ray:head'"),
    ({"executor": "ray:ray://head:1"}, "executor", "an address of Ray Client, which is not supported"),
]
"""A refused setting, its name, and a part of the message."""

TOGETHER = [
    {"format": "zarr", "encoding": "jpeg"},
    {"encoding": "raw", "quality": 90},
    {"stride": 2, "fps": 5.0},
    {"frames_per_shard": "video", "layout": "shuffled"},
]


def toml(settings):
    return "".join(f"{name} = {value!r}\n" for name, value in settings.items())


def flags(settings):
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


@pytest.mark.parametrize(("settings", "name", "said"), REFUSED, ids=lambda value: str(value)[:30])
class TestOneSetting:
    def test_the_command_line_gets_the_flag(self, tmp_path, settings, name, said):
        result = run("--videos", tmp_path, "--out", tmp_path / "cache", *flags(settings))
        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: --{name.replace('_', '-')}")
        assert said in result.stderr and result.stderr.count("\n") == 1

    def test_the_file_gets_the_key_with_its_name(self, tmp_path, settings, name, said):
        config = tmp_path / "my.toml"
        config.write_text(toml(settings))
        result = run("--videos", tmp_path, "--out", tmp_path / "cache", "--config", config)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"error: {name} in {config}")
        assert said in result.stderr and "--" not in result.stderr

    def test_a_flag_over_the_files_key_is_the_one_that_is_named(self, tmp_path, settings, name, said):
        config = tmp_path / "my.toml"
        config.write_text(toml(settings))
        result = run("--videos", tmp_path, "--config", config, *flags(settings))
        assert result.stderr.startswith(f"error: --{name.replace('_', '-')}")
        assert "my.toml" not in result.stderr

    def test_python_gets_the_keyword(self, settings, name, said):
        with pytest.raises(ConfigError) as caught:
            resolve(BuildSettings(**settings))
        assert str(caught.value).startswith(name) and said in str(caught.value)
        assert "--" not in str(caught.value) and "{" not in str(caught.value)


def test_settings_that_contradict_each_other_are_named_by_where_each_came_from(tmp_path):
    config = tmp_path / "my.toml"
    config.write_text('format = "zarr"\nstride = 2\n')
    result = run("--videos", tmp_path, "--config", config, "--encoding", "jpeg")
    assert result.stderr == f'error: format = "zarr" in {config} takes raw and zstd, not --encoding jpeg\n'
    result = run("--videos", tmp_path, "--config", config, "--fps", "5")
    assert result.stderr == f"error: stride in {config} and --fps both choose frames: give one of them\n"


@pytest.mark.parametrize("settings", TOGETHER, ids=str)
def test_no_mark_and_no_dashes_reach_python(settings):
    with pytest.raises(ConfigError) as caught:
        resolve(BuildSettings(**settings))
    assert "--" not in str(caught.value) and "{" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"quality": "a"}, "quality: expected a whole number, found 'a'"),
        ({"seed": True}, "seed: expected a whole number, found True"),
        ({"resize": "zoom"}, "resize: expected 'crop', 'stretch' or 'pad', found 'zoom'"),
        ({"size": 2.5}, "size: expected a number of pixels"),
        ({"size": (64, 64)}, "size: expected a number of pixels"),
        ({"device": "tpu"}, "device: expected 'cpu', 'cuda' or 'auto', found 'tpu'"),
        ({"on_error": "ignore"}, "on_error: expected 'fail' or 'skip', found 'ignore'"),
    ],
)
def test_a_value_of_another_type_gets_what_is_expected(values, said):
    with pytest.raises(SettingError) as caught:
        checked_settings(values)
    assert str(caught.value).startswith(said)
    with pytest.raises(ConfigError, match=said.split(":", maxsplit=1)[0]):
        resolve(BuildSettings(**values))


def test_every_setting_has_words_for_what_it_takes():
    for name in BuildSettings.__struct_fields__:
        with pytest.raises(SettingError, match=f"^{name}: expected .+, found "):
            checked_settings({name: [1]})


@pytest.mark.parametrize("keyword", [{"stride": 0}, {"seed": -1}, {"fps": 0.0}, {"frames_per_shard": 0}])
def test_a_configuration_made_by_hand_names_its_field(keyword):
    (name,) = keyword
    with pytest.raises(ValueError, match=f"^{name} must be"):
        BuildConfig(**keyword)


def test_live_videos_name_size(tmp_path):
    with pytest.raises(ValueError, match=r"^size: width must be 8 to 8192 pixels, not 7"):
        open_videos(tmp_path, size=(64, 7))


@pytest.mark.parametrize("kind", [ConfigError, OutputError, RepairError, MachineError])
def test_an_error_is_spelled_by_who_shows_it_and_survives_a_pickle(kind):
    error = pickle.loads(pickle.dumps(kind("x: give another {--out}, or {--on-error skip} or {--overwrite}")))
    assert str(error) == "x: give another out, or on_error='skip' or overwrite=True"
    assert error.text(as_flag) == "x: give another --out, or --on-error skip or --overwrite"
    assert str(kind(error.marked_text)) == str(error)


def test_the_remedy_for_videos_is_spelled():
    error = VideosNotWholeError(["a.mp4: broken"])
    assert "--on-error skip" in error.text(as_flag)
    assert "on_error='skip'" in str(error) and "--" not in str(error)


def test_braces_of_a_path_are_no_marks():
    text = "/data/{x}/{0}/{--}: give another {--out}"
    assert spelled(text, as_keyword) == "/data/{x}/{0}/{--}: give another out"


def test_a_key_of_the_file_has_its_files_name():
    spell = as_key_of(Path("my.toml"), {"frames_per_shard"}, else_as=as_flag)
    assert spell("frames-per-shard", "video") == 'frames_per_shard = "video" in my.toml'
    assert spell("layout", "video") == "--layout video"


CHANGED = {
    "format": ({"format": "zarr", "encoding": {"name": "raw"}}, "--format: zarr there, wds asked for"),
    "quality": ({"encoding": {"name": "jpeg", "quality": 80, "chroma": "444"}}, "--quality: 80 there, 95"),
    "size": ({"geometry": {"height": 64, "width": 48}}, "--size: 64x48 there, 224 asked for"),
    "resize": ({"geometry": {"resize": "pad"}}, "--resize: pad there, crop asked for"),
    "crop_aspect": ({"geometry": {"crop_aspect": [4, 3]}}, "--crop-aspect: 4:3 there, none asked for"),
    "layout": ({"layout": "video"}, "--layout: video there, shuffled asked for"),
    "frames_per_shard": ({"frames_per_shard": 7}, "--frames-per-shard: 7 there, 1000 asked for"),
    "stride": ({"stride": 3}, "--stride: 3 there, 1 asked for"),
    "fps": ({"fps": 5.0}, "--fps: 5.0 there, none asked for"),
    "seed": ({"seed": 3}, "--seed: 3 there, 0 asked for"),
}


@pytest.mark.parametrize(("there", "line"), CHANGED.values(), ids=CHANGED)
def test_a_difference_is_named_by_its_flag(there, line):
    found = msgspec.json.decode(msgspec.json.encode(msgspec.convert(there, BuildConfig)))
    lines = [spelled(told, as_flag) for told in setting_differences(BuildConfig().to_builtins(), found)]
    assert any(told.startswith(line) for told in lines)
    assert all(told.startswith("--") for told in lines)


def test_every_key_of_a_configuration_belongs_to_a_setting():
    """A key without a setting would be listed as `geometry.height`."""
    other = msgspec.json.encode(
        {
            "format": "zarr",
            "encoding": {"name": "zstd", "level": 3},
            "geometry": {"height": 8, "width": 9, "resize": "pad", "crop_aspect": [4, 3]},
            "layout": "video",
            "frames_per_shard": 9,
            "stride": 1,
            "fps": 2,
            "seed": 2,
        }
    )
    there = msgspec.json.decode(msgspec.json.encode(msgspec.json.decode(other, type=BuildConfig)))
    lines = setting_differences(BuildConfig().to_builtins(), there)
    assert len(lines) == 9 and all(line.startswith("{--") for line in lines)


def test_an_unknown_configuration_is_compared_all_the_same():
    asked = BuildConfig().to_builtins()
    for there in ({}, {"geometry": 3}, {"geometry": {"height": "tall"}}, {"encoding": [1]}, {"x": {"y": 1}}):
        assert setting_differences(asked, there)
    assert "x.y: 1 there, none asked for" in setting_differences(asked, {**asked, "x": {"y": 1}})


def test_an_identity_names_settings_videos_and_libraries():
    asked = {"config": {"seed": 1}, "videos": {"a.mp4": "1"}, "library_versions": {"av": "18"}}
    there = {"config": {"seed": 0}, "videos": {"b.mp4": "1"}, "library_versions": {"av": "19"}}
    assert identity_differences(asked, there) == [
        "{--seed}: 0 there, 1 asked for",
        "video a.mp4: new, not in the cache",
        "video b.mp4: in the cache, but not among the videos given",
        "library_versions.av: 19 there, 18 asked for",
    ]
    assert identity_differences(asked, asked) == []
    assert identity_differences(asked, {"repair of": "x"})
