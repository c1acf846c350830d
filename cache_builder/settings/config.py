"""What to build: flags and TOML become one validated, resolved `BuildConfig`.

`BuildConfig` holds all that decides a cache's bytes and lands in its manifest. `RunOptions` holds what does
not (workers, error policy): two runs that differ only there make the same cache.
"""

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec

from cache_builder.errors import ConfigError
from cache_builder.setting_names import SettingError, as_key
from cache_builder.settings.frame_times import NTSC_RATES
from cache_builder.settings.presets import settings_file
from cache_builder.video.picture import FrameGeometry, Resize, parse_aspect, parse_size
from frame_store.manifest import ChromaSubsampling, Encoding, EncodingName, Layout
from frame_store.names import Container
from frame_store.shared import num_usable_cpus, raise_if_out_of_files

ZSTD_LEVEL = 3
"""On noisy pixels level 1 saves no more and no less, and higher levels cost time for under 1%."""

MAX_CONFIG_BYTES = 1 << 20

ErrorPolicy = Literal["fail", "skip"]

DeviceName = Literal["cpu", "cuda", "auto"]
"""What decodes. `cuda` is an error where the GPU cannot decode a video; `auto` leaves such videos to the CPU."""


class BuildSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user may say, in a TOML file or by flags; None is unsaid. Names are those of the flags."""

    format: Container | None = None
    encoding: EncodingName | None = None
    quality: int | None = None
    chroma: ChromaSubsampling | None = None
    size: int | str | None = None
    resize: Resize | None = None
    crop_aspect: str | None = None
    layout: Layout | None = None
    frames_per_shard: int | Literal["video"] | None = None
    stride: int | None = None
    fps: float | None = None
    seed: int | None = None
    workers: int | None = None
    device: DeviceName | None = None
    on_error: ErrorPolicy | None = None

    def overridden_by(self, other: "BuildSettings") -> "BuildSettings":
        """These settings with everything that `other` says put in their place."""
        return msgspec.structs.replace(self, **{name: getattr(other, name) for name in other.said})

    @property
    def said(self) -> frozenset[str]:
        """Names of the settings that are said."""
        return frozenset(name for name, value in msgspec.structs.asdict(self).items() if value is not None)


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to run a build; what of it decides a cache's bytes is recorded by what came of it."""

    workers: int
    on_error: ErrorPolicy = "fail"
    device: DeviceName = "cpu"
    """What decodes. Which videos the GPU then decodes is part of the cache's identity, and settled by trying them."""

    def __post_init__(self) -> None:
        """Refuse fewer than one worker."""
        if self.workers < 1:
            raise SettingError(f"{{--workers}} must be at least 1, found {self.workers}")


class BuildConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides a cache's bytes, beside the videos and the library versions."""

    format: Container = "wds"
    encoding: Encoding = Encoding(name="jpeg", quality=95, chroma="444")
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
        """(H, W, 3) of every stored frame."""
        return (self.geometry.height, self.geometry.width, 3)

    @property
    def exact_fps(self) -> Fraction | None:
        """`fps` as it was meant: 29.97 is 30000/1001, and so on; any other number is the decimal that was written.

        Ticks at 29.97 itself would leave a frame of such a video behind every nine hours.
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
        """As plain JSON values, for the manifest; equal to what reading them back from a file gives."""
        values: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return values


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
        raise ConfigError(f"{path}: over {MAX_CONFIG_BYTES} bytes, which no file of settings is")
    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError(f"{path}: not TOML: {error}") from error
    settings = {key.replace("-", "_"): value for key, value in table.items()}
    unknown = sorted(set(settings) - set(BuildSettings.__struct_fields__))
    if unknown:
        known = ", ".join(BuildSettings.__struct_fields__)
        raise ConfigError(f"{path}: unknown key {', '.join(map(repr, unknown))}; known are {known}")
    try:
        return checked_settings(settings)
    except SettingError as error:
        raise ConfigError(f"{path}: {error.told(as_key)}") from error


def checked_settings(values: Mapping[str, object]) -> BuildSettings:
    """Settings from values of any type, by name; None is unsaid.

    Raises:
        SettingError: a value is of a wrong type, or none of the words that its setting takes.
    """
    for name, value in values.items():
        try:
            msgspec.convert({name: value}, BuildSettings)
        except msgspec.ValidationError as error:
            raise SettingError(
                f"{{--{name.replace('_', '-')}}}: expected {_EXPECTED[name]}, found {value!r}"
            ) from error
    return msgspec.convert(dict(values), BuildSettings)


def _one_of(*words: str) -> str:
    return f"{', '.join(map(repr, words[:-1]))} or {words[-1]!r}"


_EXPECTED: Final = {
    **dict.fromkeys(("quality", "stride", "seed", "workers"), "a whole number"),
    "format": _one_of(*get_args(Container)),
    "encoding": _one_of(*get_args(EncodingName)),
    "chroma": _one_of(*get_args(ChromaSubsampling)),
    "size": "a number of pixels, or text such as '240x320' (height x width)",
    "resize": _one_of(*get_args(Resize)),
    "crop_aspect": "text such as '4:3'",
    "layout": _one_of(*get_args(Layout)),
    "frames_per_shard": "a whole number or 'video'",
    "fps": "a number",
    "device": _one_of(*get_args(DeviceName)),
    "on_error": _one_of(*get_args(ErrorPolicy)),
}
"""What a setting takes, in words."""


def resolve(settings: BuildSettings) -> tuple[BuildConfig, RunOptions]:
    """Fill in the defaults and check everything.

    Raises:
        ConfigError: a value of another type or out of range, or settings that contradict each other.
    """
    try:
        settings = checked_settings(msgspec.structs.asdict(settings))
        container = settings.format or "wds"
        config = BuildConfig(
            format=container,
            encoding=_resolve_encoding(
                settings, settings.encoding or ("zstd" if container == "zarr" else "jpeg")
            ),
            geometry=_resolve_geometry(settings),
            layout=settings.layout or "shuffled",
            frames_per_shard=1000 if settings.frames_per_shard is None else settings.frames_per_shard,
            stride=1 if settings.stride is None else settings.stride,
            fps=settings.fps,
            seed=0 if settings.seed is None else settings.seed,
        )
        workers = num_usable_cpus() if settings.workers is None else settings.workers
        return config, RunOptions(
            workers=workers, on_error=settings.on_error or "fail", device=settings.device or "cpu"
        )
    except SettingError as error:
        raise ConfigError(error.marked_text) from error


def _resolve_geometry(settings: BuildSettings) -> FrameGeometry:
    with _naming("size"):
        height, width = parse_size(str(224 if settings.size is None else settings.size))
        geometry = FrameGeometry(height=height, width=width, resize=settings.resize or "crop")
    with _naming("crop_aspect"):
        aspect = None if settings.crop_aspect is None else parse_aspect(settings.crop_aspect)
        return msgspec.structs.replace(geometry, crop_aspect=aspect)


def _resolve_encoding(settings: BuildSettings, name: EncodingName) -> Encoding:
    if name == "jpeg":
        with _naming("quality"):
            return Encoding(
                name="jpeg",
                quality=95 if settings.quality is None else settings.quality,
                chroma=settings.chroma or "444",
            )
    if settings.quality is not None or settings.chroma is not None:
        raise SettingError(f"{{--quality}} and {{--chroma}} belong to {{--encoding jpeg}}, not to {name}")
    return Encoding(name=name, level=ZSTD_LEVEL if name == "zstd" else None)


@contextmanager
def _naming(setting: str) -> Iterator[None]:
    """Have a ValueError about this setting (with underscores) name it as a setting."""
    mark = f"{{--{setting.replace('_', '-')}}}"
    try:
        yield
    except ValueError as error:
        text = str(error)
        about = text.removeprefix(setting) if text.startswith(setting) else f": {text}"
        raise SettingError(f"{mark}{about}") from error


def differences(expected: Any, found: Any, *, where: str = "") -> list[str]:  # noqa: ANN401 - any JSON value
    """One line per leaf in which two JSON values differ: `key: found -> expected`.

    >>> differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})
    ['a.b: 3 there, 1 asked for']
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        lines = []
        for key in [*expected, *(key for key in found if key not in expected)]:
            lines += differences(expected.get(key), found.get(key), where=f"{where}.{key}" if where else key)
        return lines
    return [] if expected == found else [f"{where}: {found} there, {expected} asked for"]
