"""Sorts packets that gave no frame by the reason. A packet without a reason is a frame that was lost silently."""

from typing import Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cache_builder.video.packets import NO_PTS, PacketTable
from cache_builder.video.scan import ONE_FRAME_A_PACKET, VideoScan

MAX_BYTES_NOT_CODED: Final = 10
"""An MPEG-4 picture this small may be marked as not coded (`vop_coded` 0): AVI files have these for dropped frames."""

MAX_STEPS_OF_A_FIELD: Final = 0.75
"""The two fields of a frame are half a step of frames apart."""

Reason: TypeAlias = Literal[
    "hidden by the container",
    "empty",
    "without a picture",
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
    """Ordinals of the packets that gave no frame, by the first reason that holds; reasons without packets are left out.

    `packet_of_frame` and `is_interlaced` have shape (num_frames,): the packet of each frame, and whether the decoder
    reported it as interlaced.
    """
    packets = scan.packets
    has_frame = np.zeros(len(packets), np.bool_)
    has_frame[packet_of_frame] = True
    everywhere = np.ones(len(packets), np.bool_)
    holds: dict[Reason, npt.NDArray[np.bool_]] = {
        "hidden by the container": packets.is_discarded,
        "empty": packets.size == 0,
        "without a picture": packets.holds_no_picture,
        "not shown": packets.hides_picture | packets.shows_again,
        "second fields": _are_other_fields(packets, packet_of_frame, is_interlaced, has_frame),
        "before the first that can be decoded": _is_before_first_keyframe(scan, has_frame)
        | (np.arange(len(packets)) < packet_of_frame.min(initial=len(packets))),
        "leading up to a keyframe without the pictures before it": packets.is_skippable,
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


def _are_other_fields(
    packets: PacketTable,
    packet_of_frame: npt.NDArray[np.int64],
    is_interlaced: npt.NDArray[np.bool_],
    has_frame: npt.NDArray[np.bool_],
) -> npt.NDArray[np.bool_]:
    """bool per packet: the second field of an interlaced frame, coded in its own packet next to the first field's.

    Such a packet has no pts, or a pts less than a frame away. A frame has one second field.
    """
    frame_pts = packets.pts[packet_of_frame]
    steps = np.diff(np.sort(frame_pts[frame_pts != NO_PTS]))
    step = float(np.median(steps[steps > 0])) if (steps > 0).any() else np.inf
    is_other = np.zeros(len(packets), np.bool_)
    for packet in packet_of_frame[is_interlaced].tolist():
        for beside in (packet + 1, packet - 1):
            if not 0 <= beside < len(packets) or has_frame[beside] or is_other[beside]:
                continue
            pts, other_pts = packets.pts[[packet, beside]].tolist()
            if NO_PTS in (pts, other_pts) or abs(other_pts - pts) <= MAX_STEPS_OF_A_FIELD * step:
                is_other[beside] = True
                break
    return is_other


def _is_before_first_keyframe(scan: VideoScan, has_frame: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """bool per packet: coded before the first keyframe, or coded after it and shown before it."""
    packets = scan.packets
    if not packets.is_keyframe.any():
        return np.ones(len(packets), np.bool_)
    ordinals = np.arange(len(packets))
    first = int(packets.is_keyframe.argmax())
    keyframes = np.flatnonzero(packets.is_keyframe)
    second = int(keyframes[1]) if len(keyframes) > 1 else len(packets)
    is_timed = (packets.pts != NO_PTS) & (packets.pts[first] != NO_PTS) & scan.stores_pts
    is_led: npt.NDArray[np.bool_] = is_timed & (packets.pts < packets.pts[first])
    if scan.facts.codec != "hevc":
        # Leading pictures of a keyframe are coded before the pictures shown after it. (HEVC needs no such guess: its
        # packets mark leading pictures, and its decoder returns nothing after a missing picture.)
        shown = np.flatnonzero(has_frame & (ordinals > first))
        is_led |= ~is_timed & (ordinals > first) & (ordinals < (shown[0] if len(shown) else second))
    is_led[second:] = False
    return (ordinals < first) | is_led
