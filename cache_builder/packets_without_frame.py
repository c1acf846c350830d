"""Packets of which no frame came, sorted by the reason; where there is none, a frame was lost without a word."""

from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cache_builder.video.packet_pass import ONE_FRAME_A_PACKET
from cache_builder.video.packet_table import NO_PTS, PacketTable
from cache_builder.video.scan import VideoScan

MAX_BYTES_NOT_CODED: Final = 10
"""An MPEG-4 picture this small may say that it is not coded (`vop_coded` 0): AVI files hold such for dropped frames."""

Reason: TypeAlias = Literal[
    "hidden by the container",
    "empty",
    "not shown",
    "before the first that can be decoded",
    "leading up to a keyframe without the pictures before it",
    "second fields",
    "not coded",
    "of a codec that may code less than a frame a packet",
    "without a reason",
]


def packets_without_frame(
    scan: VideoScan, packet_of_frame: npt.NDArray[np.int64], is_interlaced: npt.NDArray[np.bool_]
) -> dict[Reason, npt.NDArray[np.int64]]:
    """Ordinals of the packets that gave no frame, by the first reason that holds, none of them empty.

    `packet_of_frame` and `is_interlaced` have shape (num_frames,): the packet that each frame is of, and whether the
    decoder called it interlaced.
    """
    packets = scan.packets
    has_frame = np.zeros(len(packets), np.bool_)
    has_frame[packet_of_frame] = True
    has_interlaced_frame = np.zeros(len(packets), np.bool_)
    has_interlaced_frame[packet_of_frame[is_interlaced]] = True
    is_beside_interlaced = np.zeros(len(packets), np.bool_)
    is_beside_interlaced[1:] |= has_interlaced_frame[:-1]
    is_beside_interlaced[:-1] |= has_interlaced_frame[1:]
    everywhere = np.ones(len(packets), np.bool_)
    holds: dict[Reason, npt.NDArray[np.bool_]] = {
        "hidden by the container": packets.is_discarded,
        "empty": packets.size == 0,
        "not shown": packets.hides_picture,
        "second fields": is_beside_interlaced,
        "before the first that can be decoded": _is_before_first_keyframe(packets)
        | (np.arange(len(packets)) < packet_of_frame.min(initial=len(packets))),
        "leading up to a keyframe without the pictures before it": _leads_up(packets)
        & (scan.facts.codec == "hevc"),
        "not coded": (packets.size < MAX_BYTES_NOT_CODED) & (scan.facts.codec == "mpeg4"),
        "of a codec that may code less than a frame a packet": everywhere
        & (scan.facts.codec not in ONE_FRAME_A_PACKET),
        "without a reason": everywhere,
    }
    found: dict[Reason, npt.NDArray[np.int64]] = {}
    is_left = ~has_frame
    for reason, mask in holds.items():
        if (is_left & mask).any():
            found[reason] = np.flatnonzero(is_left & mask)
            is_left &= ~mask
    return found


def _is_before_first_keyframe(packets: PacketTable) -> npt.NDArray[np.bool_]:
    """bool per packet: coded before the first keyframe, or behind it and shown before it."""
    if not packets.is_keyframe.any():
        return np.ones(len(packets), np.bool_)
    first = int(packets.is_keyframe.argmax())
    keyframes = np.flatnonzero(packets.is_keyframe)
    second = int(keyframes[1]) if len(keyframes) > 1 else len(packets)
    is_before = np.arange(len(packets)) < first
    has_pts = (packets.pts != NO_PTS) & (packets.pts[first] != NO_PTS)
    is_led: npt.NDArray[np.bool_] = has_pts & (packets.pts < packets.pts[first])
    is_led[second:] = False
    return is_before | is_led


def _leads_up(packets: PacketTable) -> npt.NDArray[np.bool_]:
    """bool per packet: coded behind a keyframe and shown before it, as the pictures that HEVC lets a decoder skip."""
    if not packets.is_keyframe.any():
        return np.zeros(len(packets), np.bool_)
    keyframes = np.flatnonzero(packets.is_keyframe)
    number = np.searchsorted(keyframes, np.arange(len(packets)), side="right") - 1
    keyframe_pts = packets.pts[keyframes[np.maximum(number, 0)]]
    has_pts = (packets.pts != NO_PTS) & (keyframe_pts != NO_PTS)
    leads: npt.NDArray[np.bool_] = (number >= 0) & has_pts & (packets.pts < keyframe_pts)
    return leads
