"""Whether what is asked for agrees with the cache that grows: its cameras, settings and library versions."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from cache_builder.errors import ConfigError, OutputError, VideoError
from cache_builder.gpu import DecoderChoice
from cache_builder.growing.live_cache import LiveCache
from cache_builder.inputs import Inputs
from cache_builder.plan import resolved_geometry
from cache_builder.setting_names import NOTHING, setting_values
from cache_builder.settings import BuildConfig, BuildSettings
from cache_builder.sources import SourceContents
from cache_builder.stages import json_differences, library_versions, version_differences
from cache_builder.video.picture import NATIVE, parse_aspect, parse_size
from frame_store.shared import listed

_OF_RUN: Final = frozenset({"workers", "device", "on_error"})
_OF_ENCODING: Final = frozenset({"encoding", "quality", "chroma"})
_NATIVE: Final = "native"


def recorded_configs(cache: LiveCache) -> list[BuildConfig]:
    """The settings of each camera of a cache, with which its new videos are built.

    Raises:
        OutputError: a cache states settings that this release does not have.
    """
    configs = []
    for tree in cache.trees:
        recorded = tree.common.config
        try:
            config = msgspec.convert(recorded, BuildConfig)
        except (msgspec.ValidationError, ValueError) as error:
            raise OutputError(
                f"{cache.path}: has settings that this release does not know: {error}"
            ) from error
        if config.to_builtins() != recorded:
            lines = json_differences(config.to_builtins(), recorded)
            raise OutputError(
                listed(f"{cache.path}: has settings that this release does not know", lines, "build it anew")
            )
        configs.append(config)
    return configs


def require_same_cameras(cache: LiveCache, contents: SourceContents) -> None:
    """Raise OutputError unless the sources have the cameras of the cache."""
    there, asked = cache.cameras, contents.cameras or (None,)
    if there != asked:
        raise OutputError(
            f"{cache.path}: has {_cameras_text(there)}, the sources have {_cameras_text(asked)}; an append needs the "
            f"same cameras{_remedy(there, asked)}"
        )


def _remedy(there: Sequence[str | None], asked: Sequence[str | None]) -> str:
    if asked == (None,):
        return ": give {--camera-pattern} as the build did, or the data set that it was built from"
    if there == (None,):
        return ": leave out {--camera-pattern}"
    return ""


def _cameras_text(cameras: Sequence[str | None]) -> str:
    names = [camera for camera in cameras if camera is not None]
    return f"cameras {', '.join(names)}" if names else "no cameras"


def require_same_settings(cache: LiveCache, given: BuildSettings, contents: SourceContents) -> None:
    """Raise OutputError, with each difference, unless every setting that was given is that of the cache."""
    asked = _asked(given)
    lines = []
    for camera, tree in zip(cache.cameras, cache.trees, strict=True):
        found = setting_values(tree.common.config)
        is_depth = camera in contents.depth_cameras
        where = "" if camera is None else f"camera {camera}: "
        names = {name for name in asked if not (is_depth and name in _OF_ENCODING)}
        lines += [
            f"{where}{{--{name}}}: {found.get(name, NOTHING)} there, {value} asked for"
            for name, value in asked.items()
            if name in names and found.get(name, NOTHING) != value
        ]
    if lines:
        raise OutputError(
            listed(
                f"{cache.path}: was built with other settings, and an append takes the cache's own",
                lines,
                "leave these out, or build all videos anew with {--overwrite} in place of {--append}",
            )
        )


def _asked(given: BuildSettings) -> dict[str, str]:
    """Setting -> its value as `setting_values` spells it. A size of the videos is compared after their scan."""
    asked: dict[str, Any] = {}
    for name, value in given.given().items():
        if name in _OF_RUN or (name == "size" and value == _NATIVE):
            continue
        try:
            if name == "size":
                height, width = parse_size(str(value))
                value = str(height) if height == width else f"{height}x{width}"  # noqa: PLW2901
            elif name == "crop_aspect":
                value = ":".join(map(str, parse_aspect(value)))  # noqa: PLW2901
        except ValueError as error:
            raise ConfigError(f"{{--{name.replace('_', '-')}}}: {error}") from error
        asked[name.replace("_", "-")] = str(value)
    return asked


def require_same_size(cache: LiveCache, given: BuildSettings, inputs: Inputs) -> None:
    """Raise OutputError where the size of the videos was asked for, and new ones have another than the cache.

    Raises:
        ConfigError: the size of the videos was asked for, and the new ones differ among themselves.
    """
    if given.size != _NATIVE:
        return
    for camera, config in zip(cache.cameras, recorded_configs(cache), strict=True):
        scans = [inputs.scans[file] for file in inputs.files_of(camera)]
        native = msgspec.structs.replace(config.geometry, height=NATIVE, width=NATIVE)
        where = "" if camera is None else f"camera {camera}: "
        facts = [scan.facts for scan in scans if not isinstance(scan, VideoError)]
        if not facts:
            continue
        found = resolved_geometry(native, facts, where=where)
        if (found.height, found.width) != (config.geometry.height, config.geometry.width):
            raise OutputError(
                f"{cache.path}: {where}{{--size native}}: the cache has {config.geometry.height}x"
                f"{config.geometry.width}, the new videos have {found.height}x{found.width}; an append needs one size"
            )


def require_same_versions(cache: LiveCache, decoders: DecoderChoice) -> None:
    """Raise OutputError, with each difference, unless the libraries are those that made the cache."""
    asked = library_versions(decoders)
    lines: list[str] = []
    for tree in (each.generation for of_camera in cache.trees for each in of_camera.generations):
        lines += version_differences(asked, tree.library_versions)
    if lines:
        raise OutputError(
            listed(
                f"{cache.path}: was built with other versions of libraries, which may decode and encode otherwise",
                [*dict.fromkeys(lines)],
                "install those versions, or build all videos anew with {--overwrite} in place of {--append}",
            )
        )
