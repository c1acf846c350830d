"""How a picture is shown: size, shape of pixels, orientation, colours, conversion to RGB or to levels."""

from cache_builder.video.picture.colour import (
    HDR_TRANSFERS,
    MATRIX_NAMES,
    RANGE_NAMES,
    TRANSFER_NAMES,
    find_colour_matrix,
)
from cache_builder.video.picture.convert import ACCURATE_FLAGS, FrameConverter, pattern_of
from cache_builder.video.picture.frame_aspect import FrameAspects
from cache_builder.video.picture.geometry import (
    MAX_SIZE,
    MIN_SIZE,
    NATIVE,
    FrameGeometry,
    FramePlacement,
    Presentation,
    Resize,
    native_geometry,
    parse_aspect,
    parse_size,
    place_frame,
    with_aspect,
)
from cache_builder.video.picture.hashes import Rows, has_equal_rows, hash_of_rows, luma_rows, picture_hash
from cache_builder.video.picture.levels import LevelConverter, converter_of, why_no_levels
from cache_builder.video.picture.orientation import describe_matrix, read_display_matrix
from cache_builder.video.picture.presentation import PresentationFacts, read_presentation

__all__ = [
    "ACCURATE_FLAGS",
    "HDR_TRANSFERS",
    "MATRIX_NAMES",
    "MAX_SIZE",
    "MIN_SIZE",
    "NATIVE",
    "RANGE_NAMES",
    "TRANSFER_NAMES",
    "FrameAspects",
    "FrameConverter",
    "FrameGeometry",
    "FramePlacement",
    "LevelConverter",
    "Presentation",
    "PresentationFacts",
    "Resize",
    "Rows",
    "converter_of",
    "describe_matrix",
    "find_colour_matrix",
    "has_equal_rows",
    "hash_of_rows",
    "luma_rows",
    "native_geometry",
    "parse_aspect",
    "parse_size",
    "pattern_of",
    "picture_hash",
    "place_frame",
    "read_display_matrix",
    "read_presentation",
    "why_no_levels",
    "with_aspect",
]
