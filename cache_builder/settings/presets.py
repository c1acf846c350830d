"""Presets: the files of `configs/`, which are installed as the data of the package `frame_cache_presets`."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from cache_builder.errors import ConfigError

PRESETS_PACKAGE: Final = "frame_cache_presets"
SUFFIX: Final = ".toml"


def presets() -> dict[str, Traversable]:
    """The presets by name, in alphabetical order; empty if this code runs without being installed."""
    try:
        found = files(PRESETS_PACKAGE).iterdir()
    except ModuleNotFoundError:
        return {}
    by_name = {file.name.removesuffix(SUFFIX): file for file in found if file.name.endswith(SUFFIX)}
    return dict(sorted(by_name.items()))


def settings_file(config: Path) -> Traversable:
    """The file at the path `config`; if there is none and `config` is a bare name, the preset of this name.

    A file goes before a preset, because the user put it there on purpose.

    Raises:
        ConfigError: a bare name that is neither a file nor a preset; lists the presets.
    """
    if config.is_file() or config.name != str(config):
        return config
    known = presets()
    if config.name in known:
        return known[config.name]
    if not config.suffix and not config.exists():
        listed = ", ".join(known) or "not to be found, as frame-cache is not installed"
        raise ConfigError(f"{{--config}} {config}: no such file, and no such preset; presets are {listed}")
    if config.suffix == SUFFIX and config.stem in known:
        raise ConfigError(f"{{--config}} {config}: no such file; the preset is {{--config {config.stem}}}")
    return config
