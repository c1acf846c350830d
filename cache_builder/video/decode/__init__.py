"""Frames out of packets, each known by its place in the decoder's output."""

from cache_builder.video.decode.backend import CPU, DecodeBackend, NumberedFrames, NumberedPixels
from cache_builder.video.decode.decoded_frame import DecodedFrame
from cache_builder.video.decode.frame_table import FrameTable, count_frames, predict_frames, sorted_packet_pts
from cache_builder.video.decode.start_check import MAX_PACKETS_DECODED, check_starts, starts_to_try
from cache_builder.video.decode.unit_decoder import UnitDecoder, VideoReader
from cache_builder.video.decode.unit_edges import (
    MAX_PICTURES_COMPARED,
    Pictures,
    first_wrong_edge,
    num_to_decode_after,
)
from cache_builder.video.decode.units import gop_units

__all__ = [
    "CPU",
    "MAX_PACKETS_DECODED",
    "MAX_PICTURES_COMPARED",
    "DecodeBackend",
    "DecodedFrame",
    "FrameTable",
    "NumberedFrames",
    "NumberedPixels",
    "Pictures",
    "UnitDecoder",
    "VideoReader",
    "check_starts",
    "count_frames",
    "first_wrong_edge",
    "gop_units",
    "num_to_decode_after",
    "predict_frames",
    "sorted_packet_pts",
    "starts_to_try",
]
