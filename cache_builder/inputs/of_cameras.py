"""What each camera of a source is stored as: its configuration, with its size and its pixels."""

from collections.abc import Sequence

import msgspec

from cache_builder.errors import VideoError, VideosNotWholeError
from cache_builder.inputs.episodes import label
from cache_builder.inputs.tables import Inputs
from cache_builder.plan import resolved_geometry
from cache_builder.settings import BuildConfig, RunOptions
from cache_builder.sources import SourceContents
from cache_builder.video.scan import VideoScan
from frame_store.manifest import Encoding


def camera_configs(
    inputs: Inputs, contents: SourceContents, config: BuildConfig, options: RunOptions
) -> list[BuildConfig]:
    """The configuration of each of `inputs.parts`, its size known.

    Raises:
        ConfigError: the size is to be that of the videos, and they differ.
        VideosNotWholeError: it is, and no video of a camera can be read.
    """
    if config.geometry.is_native:
        _require_readable(inputs)
    return [
        msgspec.structs.replace(
            with_pixel_of(camera, contents, config, options),
            geometry=resolved_geometry(
                config.geometry,
                [
                    scan.facts
                    for scan in map(inputs.scans.__getitem__, inputs.files_of(camera))
                    if isinstance(scan, VideoScan)
                ],
                where="" if camera is None else f"camera {camera}: ",
            ),
        )
        for camera in inputs.parts
    ]


def _require_readable(inputs: Inputs) -> None:
    """Say why the videos of a camera cannot be read, where none can and their size is to be known."""
    for camera in inputs.parts:
        rows = inputs.rows_of(camera)
        scans = [inputs.scan_of(row) for row in rows]
        problems = [
            str(VideoError(label(inputs.videos[row]), scan.reason))
            for row, scan in zip(rows, scans, strict=True)
            if isinstance(scan, VideoError)
        ]
        if len(problems) == len(rows):
            raise VideosNotWholeError(problems)


def with_pixel_of(
    camera: str | None, contents: SourceContents, config: BuildConfig, options: RunOptions
) -> BuildConfig:
    """The configuration for a camera: depths are stored as 16-bit levels, which JPEG cannot hold."""
    if camera not in contents.depth_cameras or options.depth_pixel == config.pixel:
        return config
    encoding = Encoding(name="raw") if config.encoding.name == "jpeg" else config.encoding
    return msgspec.structs.replace(config, pixel=options.depth_pixel, encoding=encoding)


def configs_of_files(inputs: Inputs, configs: Sequence[BuildConfig]) -> list[BuildConfig]:
    """The configuration of each file, from that of each of `inputs.parts`."""
    of_camera = dict(zip(inputs.parts, configs, strict=True))
    return [of_camera[file.camera] for file in inputs.files]
