"""Turns settings into a checked `BuildConfig` and `RunOptions`, with all defaults filled in.

`BuildConfig` holds all settings that decide a cache's bytes; `generation.json` contains it. `RunOptions` holds the
others (workers, error policy, device).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from math import prod
from typing import Any, Final, Literal

import msgspec

from cache_builder.errors import ConfigError
from cache_builder.executors import LOCAL, read_executor
from cache_builder.setting_names import NOTHING, SettingError, setting_values
from cache_builder.settings.build_settings import (
    SETTINGS,
    BuildSettings,
    DeviceName,
    ErrorPolicy,
    checked_settings,
)
from cache_builder.settings.byte_sizes import parse_bytes
from cache_builder.settings.frame_times import NTSC_RATES
from cache_builder.staging import StageSettings
from cache_builder.video.picture import MAX_SIZE, MIN_SIZE, NATIVE, FrameGeometry, parse_aspect, parse_size
from frame_store.manifest import Encoding, EncodingName, Layout
from frame_store.names import NUM_CHANNELS, PIXEL_DTYPE, Container, PixelDtype, PixelName
from frame_store.shared import num_usable_cpus, user_path

NATIVE_SIZE: Final = "native"
"""The size that stands for that of the videos."""

ZSTD_LEVEL = 3
"""On noisy pixels level 1 gives the same size, and higher levels cost time for less than 1%."""


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a build. Only `device` may change a cache's bytes; the table of videos states which a GPU decoded."""

    workers: int = msgspec.field(default_factory=num_usable_cpus)
    on_error: ErrorPolicy = "fail"
    device: DeviceName = "cpu"
    """What decodes. Each video is tried on the GPU first; which ones it decodes is part of the cache's identity."""
    executor: str = LOCAL
    """What runs the jobs; see `read_executor`."""
    most_in_cluster: int | None = None
    """The most jobs that run at once in a cluster; None: as many as it has CPUs."""
    depth_pixel: PixelName = "gray16"
    """What is stored of a camera that a data set marks as depth. Each camera's configuration has it."""
    stage: str | None = None
    """The folder that videos at URLs are downloaded into; None for a temporary one."""
    stage_bytes: int | None = None
    """The most that it holds; None for the default of `StageSettings`."""

    def __post_init__(self) -> None:
        """Refuse fewer than one worker, and an executor that is none."""
        if self.workers < 1:
            raise SettingError(f"{{--workers}} must be at least 1, found {self.workers}")
        read_executor(self.executor)

    @property
    def of_stage(self) -> StageSettings:
        """What is said of the folder for downloaded videos."""
        path = None if self.stage is None else user_path(self.stage)
        return StageSettings(path=path, max_bytes=self.stage_bytes)


class BuildConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides a cache's bytes, except the videos and the library versions."""

    format: Container = "wds"
    encoding: Encoding = Encoding(name="jpeg", quality=95, chroma="444")
    pixel: PixelName = "rgb8"
    geometry: FrameGeometry = FrameGeometry()
    layout: Layout = "shuffled"
    frames_per_shard: int | Literal["video"] = 1000
    stride: int = 1
    fps: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse settings that contradict each other."""
        if (self.format, self.encoding.name) in {("wds", "zstd"), ("zarr", "jpeg")}:
            takes = "jpeg and raw" if self.format == "wds" else "raw and zstd"
            raise SettingError(
                f"{{--format {self.format}}} takes {takes}, not {{--encoding {self.encoding.name}}}"
            )
        if self.pixel == "gray16" and self.encoding.name == "jpeg":
            raise SettingError(
                "{--pixel gray16} stores 16 bits, and {--encoding jpeg} has 8: give {--encoding raw}, or "
                "{--format zarr} with {--encoding zstd}"
            )
        if self.frames_per_shard == "video":
            if self.format != "wds" or self.layout != "video":
                raise SettingError(
                    "{--frames-per-shard video} makes unequal shards: it needs {--format wds} and {--layout video}"
                )
        elif not 1 <= self.frames_per_shard <= 10_000_000:
            raise SettingError(
                f"{{--frames-per-shard}} must be 'video' or 1..10000000, found {self.frames_per_shard}"
            )
        if self.stride < 1:
            raise SettingError(f"{{--stride}} must be at least 1, found {self.stride}")
        if self.fps is not None:
            if self.stride != 1:
                raise SettingError("{--stride} and {--fps} both choose frames: give one of them")
            if not 0 < self.fps <= 10_000:
                raise SettingError(f"{{--fps}} must be above 0 and at most 10000, found {self.fps}")
        if not 0 <= self.seed < 2**63:
            raise SettingError(f"{{--seed}} must be 0..2^63-1, found {self.seed}")

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every stored frame."""
        return (self.geometry.height, self.geometry.width, NUM_CHANNELS[self.pixel])

    @property
    def frame_dtype(self) -> PixelDtype:
        """Of every stored frame: uint8 for `rgb8`, uint16 for `gray16`."""
        return PIXEL_DTYPE[self.pixel]

    @property
    def frame_bytes(self) -> int:
        """Bytes of the pixels of a stored frame, before they are encoded."""
        return prod(self.frame_shape) * self.frame_dtype.itemsize

    @property
    def frames_per_zarr_shard(self) -> int:
        """`frames_per_shard` of a Zarr cache: always a number, as `video` is for tar alone."""
        assert self.frames_per_shard != "video"  # `__post_init__` has refused it
        return self.frames_per_shard

    @property
    def exact_fps(self) -> Fraction | None:
        """`fps` as it was meant: 29.97 stands for 30000/1001, and so on; other numbers are exact decimals.

        Ticks at exactly 29.97 would miss a frame of such a video every nine hours.
        """
        if self.fps is None:
            return None
        written = Fraction(str(self.fps))
        num_decimals = len(str(self.fps).partition(".")[2])
        rounds_to_it = (
            rate for rate in NTSC_RATES if num_decimals >= 2 and round(rate, num_decimals) == written
        )
        return next(rounds_to_it, written)

    def to_builtins(self) -> dict[str, Any]:
        """Plain JSON values for `generation.json`, equal to the values that reading it gives."""
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return values


_TAKEN_AS_GIVEN: Final = ("format", "pixel", "layout", "frames_per_shard", "stride", "fps", "seed")
"""Settings that are fields of `BuildConfig` unchanged. The other settings determine its encoding and geometry."""


def resolve(settings: BuildSettings) -> tuple[BuildConfig, RunOptions]:
    """Fill in the defaults and check everything.

    Raises:
        ConfigError: a value of another type or out of range, or settings that contradict each other.
    """
    try:
        given = checked_settings(settings.given()).given()
        plain = _of(given, *_TAKEN_AS_GIVEN)
        config = BuildConfig(encoding=_encoding(given), geometry=_geometry(given), **plain)
        of_depth = {"depth_pixel": given["pixel"]} if "pixel" in given else {}
        with _naming("stage_bytes"):
            of_stage = (
                {"stage_bytes": parse_bytes(str(given["stage_bytes"]))} if "stage_bytes" in given else {}
            )
        if given.get("stage") == "":
            raise SettingError("{--stage} is an empty path")
        of_run = {**_of(given, *RunOptions.__struct_fields__), **of_depth, **of_stage}
        return config, RunOptions(**of_run, most_in_cluster=given.get("workers"))
    except SettingError as error:
        raise ConfigError(error.marked_text) from error


def default_text(name: str) -> str | None:
    """The default of a setting in words; None where the default is to do nothing."""
    in_words = SETTINGS[name].default
    if in_words is not None:
        return in_words
    if name in RunOptions.__struct_fields__:
        return str(getattr(RunOptions(), name))
    default = setting_values(BuildConfig().to_builtins())[name.replace("_", "-")]
    return None if default == NOTHING else default


def _of(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def _geometry(given: Mapping[str, Any]) -> FrameGeometry:
    geometry = FrameGeometry(**_of(given, "resize"))
    if "size" in given:
        with _naming("size"):
            height, width = _size(given["size"])
            geometry = msgspec.structs.replace(geometry, height=height, width=width)
    if "crop_aspect" in given:
        with _naming("crop_aspect"):
            aspect = parse_aspect(given["crop_aspect"])
            geometry = msgspec.structs.replace(geometry, crop_aspect=aspect)
    return geometry


def _size(given: int | str) -> tuple[int, int]:
    """(Height, width), `NATIVE` for that of the videos."""
    if given == NATIVE_SIZE:
        return NATIVE, NATIVE
    height, width = parse_size(str(given))
    if height == width == NATIVE:
        raise ValueError(f"size: height must be {MIN_SIZE} to {MAX_SIZE} pixels, not {height}")
    return height, width


def _encoding(given: Mapping[str, Any]) -> Encoding:
    default = BuildConfig().encoding
    lossless: EncodingName = "zstd" if given.get("format") == "zarr" else "raw"
    takes_jpeg = given.get("format", "wds") == "wds" and given.get("pixel", "rgb8") == "rgb8"
    name = given.get("encoding", default.name if takes_jpeg else lossless)
    of_jpeg = _of(given, "quality", "chroma")
    if name == default.name:
        with _naming("quality"):
            return msgspec.structs.replace(default, **of_jpeg)
    if of_jpeg:
        raise SettingError(f"{{--quality}} and {{--chroma}} belong to {{--encoding jpeg}}, not to {name}")
    return Encoding(name=name, level=ZSTD_LEVEL if name == "zstd" else None)


@contextmanager
def _naming(setting: str) -> Iterator[None]:
    """Turn a ValueError about this setting (with underscores) into a SettingError that marks it."""
    mark = f"{{--{setting.replace('_', '-')}}}"
    try:
        yield
    except ValueError as error:
        text = str(error)
        about = text.removeprefix(setting) if text.startswith(setting) else f": {text}"
        raise SettingError(f"{mark}{about}") from error
