"""The settings of a build as a user gives them: each one's name, type and help text stand in `BuildSettings` alone.

The flags of `cache-build` and the keys of a TOML file are made from it, and a test compares the keywords of
`build_cache` with it. The defaults stand in `BuildConfig` and `RunOptions`.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from cache_builder.errors import ConfigError
from cache_builder.setting_names import SettingError, as_key
from cache_builder.settings.presets import settings_file
from cache_builder.video.picture import Resize
from frame_store.manifest import ChromaSubsampling, EncodingName, Layout
from frame_store.names import Container, PixelName
from frame_store.shared import raise_if_out_of_files

MAX_CONFIG_BYTES: Final = 1 << 20

ErrorPolicy = Literal["fail", "skip"]

DeviceName = Literal["cpu", "cuda", "auto"]
"""What decodes. `cuda` is an error where the GPU cannot decode a video; `auto` leaves such videos to the CPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A setting without its name: help text, default and allowed values."""

    help: str
    """The help text of its flag."""
    default: str | None = None
    """The default in words, where it is more than a value of `BuildConfig` or `RunOptions`."""
    takes: str | None = None
    """What it takes, in words; None if its type is enough."""
    metavar: str | None = None
    """The placeholder for its value in the help text; None for click's own."""
    words: tuple[str, ...] = ()
    """The words that it takes."""
    kinds: frozenset[type] = frozenset()
    """The other types that it takes: int, float, str."""

    @property
    def expected(self) -> str:
        """What it takes, in words, for an error message."""
        if self.takes is not None:
            return self.takes
        if not self.words:
            return "a number" if float in self.kinds else "a whole number"
        *words, last = map(repr, self.words)
        return f"{'a whole number' if self.kinds else ', '.join(words)} or {last}"


class BuildSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user may set, in a TOML file, by flags or by keywords; None is unset."""

    format: Annotated[Container | None, Setting(help="WebDataset tar or Zarr v3.")] = None
    encoding: Annotated[
        EncodingName | None,
        Setting(
            help="How a frame is stored; wds takes jpeg and raw, zarr takes raw and zstd.",
            default="jpeg, for zarr zstd",
        ),
    ] = None
    quality: Annotated[int | None, Setting(help="JPEG quality, 1 to 100.")] = None
    chroma: Annotated[ChromaSubsampling | None, Setting(help="JPEG chroma subsampling.")] = None
    pixel: Annotated[
        PixelName | None,
        Setting(
            help="What is stored of a picture: colour, or 16-bit levels as they are.",
            default="gray16 for cameras that a data set marks as depth, else rgb8",
        ),
    ] = None
    size: Annotated[
        int | str | None,
        Setting(
            help="Stored size: one number, HxW, or `native`: that of the videos.",
            takes="a number of pixels, text such as '240x320' (height x width), or 'native'",
        ),
    ] = None
    resize: Annotated[Resize | None, Setting(help="How to fit the picture into that size.")] = None
    crop_aspect: Annotated[
        str | None,
        Setting(
            help="Take the centre of this aspect ratio before resizing.",
            takes="text such as '4:3'",
            metavar="W:H",
        ),
    ] = None
    layout: Annotated[
        Layout | None, Setting(help="Frames in one global random order, or video by video in time order.")
    ] = None
    frames_per_shard: Annotated[
        int | Literal["video"] | None,
        Setting(help="Frames in a shard, or one shard per video (wds, layout video).", metavar="N|video"),
    ] = None
    stride: Annotated[int | None, Setting(help="Keep every K-th frame.")] = None
    fps: Annotated[
        float | None, Setting(help="Instead, keep the frame shown at each tick of a clock of this rate.")
    ] = None
    seed: Annotated[int | None, Setting(help="Seed of the shuffled layout.")] = None
    workers: Annotated[
        int | None,
        Setting(
            help="Decoder processes; with a cluster, the most that run at once.",
            default="the CPUs this process may use, or all of the cluster",
        ),
    ] = None
    device: Annotated[DeviceName | None, Setting(help="What decodes.")] = None
    executor: Annotated[
        str | None,
        Setting(
            help="What runs the jobs: processes of this machine, or a Ray cluster.",
            takes="'local', 'ray', 'ray:local' or 'ray:HOST:PORT'",
            metavar="local|ray[:ADDRESS]",
        ),
    ] = None
    on_error: Annotated[
        ErrorPolicy | None,
        Setting(help="Stop at a video that is not whole, or store what decodes and exit 1."),
    ] = None
    stage: Annotated[
        str | None,
        Setting(
            help="For videos at URLs: the folder that they are downloaded into while they are read.",
            default="a temporary folder, removed at the end",
            takes="the path of a folder",
            metavar="DIR",
        ),
    ] = None
    stage_bytes: Annotated[
        int | str | None,
        Setting(
            help="The most that this folder holds.",
            default="10GB, or 0.8 of the free space",
            takes="a number of bytes, or text such as '200MB' or '10GB'",
            metavar="N",
        ),
    ] = None

    def overridden_by(self, other: "BuildSettings") -> "BuildSettings":
        """These settings, with every setting of `other` in its place."""
        return msgspec.structs.replace(self, **other.given())

    def of_run(self) -> "BuildSettings":
        """The settings alone that decide no bytes of a cache, and what decodes."""
        return BuildSettings(
            workers=self.workers,
            device=self.device,
            executor=self.executor,
            on_error=self.on_error,
            stage=self.stage,
            stage_bytes=self.stage_bytes,
        )

    def given(self) -> dict[str, Any]:
        """The settings that are set, by name."""
        return {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}


def _settings() -> dict[str, Setting]:
    found = {}
    for name, hint in get_type_hints(BuildSettings, include_extras=True).items():
        kind, setting = get_args(hint)
        parts = get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)
        words = [word for part in parts if get_origin(part) is Literal for word in get_args(part)]
        kinds = frozenset({int, float, str}.intersection(parts))
        found[name] = replace(setting, words=tuple(words), kinds=kinds)
    return found


SETTINGS: Final = _settings()
"""Name, with underscores -> its `Setting`, in the order of `BuildSettings`."""


def checked_settings(values: Mapping[str, object]) -> BuildSettings:
    """Settings from values of any type, by name; None is unset.

    Raises:
        SettingError: a value is of a wrong type, or none of the words that its setting takes.
    """
    for name, value in values.items():
        try:
            msgspec.convert({name: value}, BuildSettings)
        except msgspec.ValidationError as error:
            raise SettingError(
                f"{{--{name.replace('_', '-')}}}: expected {SETTINGS[name].expected}, found {value!r}"
            ) from error
    return msgspec.convert(dict(values), BuildSettings)


def read_settings(path: Path) -> BuildSettings:
    """Settings from a TOML file whose keys are the flags' names, or from the preset that `path` names.

    Raises:
        ConfigError: no such file or preset, unreadable, not TOML, an unknown key, or a value of the wrong kind; named.
        OSError: no more files can be opened.
    """
    try:
        with settings_file(path).open("rb") as file:
            raw = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise_if_out_of_files(error)
        raise ConfigError(f"{path}: {error.strerror}") from error
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: over {MAX_CONFIG_BYTES} bytes, too long for a file of settings")
    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError(f"{path}: not TOML: {error}") from error
    settings = {key.replace("-", "_"): value for key, value in table.items()}
    unknown = sorted(set(settings) - set(SETTINGS))
    if unknown:
        raise ConfigError(
            f"{path}: unknown key {', '.join(map(repr, unknown))}; known are {', '.join(SETTINGS)}"
        )
    try:
        return checked_settings(settings)
    except SettingError as error:
        raise ConfigError(f"{path}: {error.text(as_key)}") from error
