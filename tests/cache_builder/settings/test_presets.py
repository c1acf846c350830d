"""`--config NAME` finds a preset of the installed package; what lies where the user is comes first."""

import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from cache_builder import cli
from cache_builder.errors import ConfigError
from cache_builder.settings import read_settings
from cache_builder.settings.presets import presets, settings_file

CONFIGS = Path(__file__).parents[3] / "configs"


def test_the_presets_are_the_files_of_configs():
    found = presets()
    assert list(found) == sorted(path.stem for path in CONFIGS.glob("*.toml"))
    for name, file in found.items():
        assert file.read_bytes() == (CONFIGS / f"{name}.toml").read_bytes()


def test_a_name_alone_is_a_preset_and_a_file_of_that_name_wins(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_settings(Path("exercise")) == read_settings(CONFIGS / "exercise.toml")
    Path("exercise").mkdir()  # as a folder of videos may be called
    assert read_settings(Path("exercise")) == read_settings(CONFIGS / "exercise.toml")
    Path("exercise").rmdir()
    Path("exercise").write_text("quality = 7")
    assert read_settings(Path("exercise")).quality == 7


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            "exercize",
            "exercize: no such file, and no such preset; presets are clips, exercise, lossless_zarr, raw",
        ),
        ("exercise.toml", "exercise.toml: no such file; the preset is config='exercise'"),
        ("nosuch.toml", "^nosuch.toml: No such file or directory"),
        ("configs/exercise", "^configs/exercise: No such file or directory"),
    ],
)
def test_what_is_neither_is_an_error_that_helps(tmp_path, monkeypatch, config, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        read_settings(Path(config))


def test_the_command_says_it_in_its_own_words(tmp_path):
    result = CliRunner().invoke(cli.cache_build, [str(tmp_path), "--config", "nosuch"])
    assert result.exit_code == 2
    assert result.output == (
        "error: --config nosuch: no such file, and no such preset; presets are clips, exercise, lossless_zarr, raw\n"
    )


def test_without_an_installation_it_says_so(monkeypatch):
    monkeypatch.setattr("cache_builder.settings.presets.PRESETS_PACKAGE", "no_such_package_of_presets")
    with pytest.raises(ConfigError, match="presets are not to be found, as frame-cache is not installed"):
        settings_file(Path("exercise"))


def test_every_preset_is_valid_toml():
    for name, file in presets().items():
        assert tomllib.loads(file.read_text(encoding="utf-8"))["frames_per_shard"] == 1000, name
