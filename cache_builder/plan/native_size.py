"""The size of stored frames where it is that of the videos: one size for all of them, or an error."""

from collections.abc import Collection, Iterable

from cache_builder.errors import ConfigError, VideoError
from cache_builder.video.picture import NATIVE, FrameGeometry, native_geometry, pattern_of
from cache_builder.video.scan import VideoFacts


def other_size_error(
    facts: VideoFacts, stated: Collection[tuple[int, int]], *, name: str
) -> VideoError | None:
    """Why a file is not the one that its source means: its pictures have none of the `stated` sizes (height, width).

    None where they have one, as coded or as shown (turned by a display matrix), or where no size is stated. `name` is
    that of the file.
    """
    coded = facts.height, facts.width
    if not stated or coded in stated or _shown_size(facts) in stated:
        return None
    sizes = " or ".join(f"{height}x{width}" for height, width in stated)
    return VideoError(
        name,
        f"its pictures have {coded[0]}x{coded[1]} pixels (height x width), and its source states {sizes} for its "
        "camera: it is another camera's file, or the statement is wrong",
    )


def _shown_size(facts: VideoFacts) -> tuple[int, int] | None:
    """(height, width) of the pictures, cut and turned as they are to be shown; None where that is not possible."""
    try:
        shown = _native(FrameGeometry(height=NATIVE, width=NATIVE), facts)
    except ValueError:
        return None
    return shown.height, shown.width


def _native(geometry: FrameGeometry, facts: VideoFacts) -> FrameGeometry:
    return native_geometry(
        geometry,
        coded_width=facts.width,
        coded_height=facts.height,
        presentation=facts.presentation.plain,
        pattern=pattern_of(facts.pixel_format),
    )


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
            own = _native(geometry, facts)
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
