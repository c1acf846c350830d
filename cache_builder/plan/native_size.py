"""The size of stored frames where it is that of the videos: one size for all of them, or an error."""

from collections.abc import Iterable

from cache_builder.errors import ConfigError
from cache_builder.video.picture import FrameGeometry, native_geometry, pattern_of
from cache_builder.video.scan import VideoFacts


def resolved_geometry(
    geometry: FrameGeometry, videos: Iterable[VideoFacts], *, where: str = ""
) -> FrameGeometry:
    """`geometry`, or, if that `is_native`, the one that keeps the pixels of these videos as they are.

    `where` stands before the names of videos in messages, such as `camera front: `.

    Raises:
        ConfigError: the videos differ in size, there are none, or their size is not possible.
    """
    if not geometry.is_native:
        return geometry
    found: tuple[str, FrameGeometry] | None = None
    for facts in videos:
        try:
            own = native_geometry(
                geometry,
                coded_width=facts.width,
                coded_height=facts.height,
                presentation=facts.presentation.plain,
                pattern=pattern_of(facts.pixel_format),
            )
        except ValueError as error:
            raise ConfigError(f"{{--size native}}: {where}{facts.path}: {error}") from error
        if found is None:
            found = facts.path, own
        elif found[1] != own:
            name, other = found
            raise ConfigError(
                f"{{--size native}}: {where}{name} has {other.height}x{other.width} pixels (height x width), "
                f"{facts.path} has {own.height}x{own.width}; give {{--size}} one size for all"
            )
    if found is None:
        raise ConfigError(f"{{--size native}}: {where}no video can be read, so its size is not known")
    return found[1]
