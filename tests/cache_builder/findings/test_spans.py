from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace

import av
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_builder.findings.receipt import FRAME_DTYPE, UnitReceipt
from cache_builder.findings.spans import VideoFrames
from cache_builder.jobs.unit_job import empty_receipt
from cache_builder.plan.units import DecodeUnit
from cache_builder.video.packets.table import NO_PTS, PACKET_COLUMNS, PacketTable
from cache_builder.video.picture import has_equal_rows, hash_of_rows, luma_rows
from frame_store.frame_findings import MAX_LISTED, PictureFormat

SMALL = PictureFormat(
    width=64,
    height=48,
    pixel_format="yuv420p",
    color_matrix=2,
    color_range=1,
    color_primaries=2,
    color_transfer=2,
    sample_aspect_ratio=None,
    orientation="as stored",
)
LARGE = msgspec.structs.replace(SMALL, width=128)


class MadeUpVideo:
    """A video of closed GOPs without reordering, at 10 ticks a second; packet i is frame i unless lost."""

    def __init__(self, gop_sizes, **changes):
        self.num = num = sum(gop_sizes)
        self.starts = np.cumsum([0, *gop_sizes])[:-1].tolist()
        self.pts = changes.get("pts", list(range(num)))
        self.lost = changes.get("lost", {})
        self.corrupt = set(changes.get("corrupt", ()))
        self.corrupt_packets = set(changes.get("corrupt_packets", ()))
        self.hashes = changes.get("hashes", list(range(num)))
        self.formats = changes.get("formats", [SMALL] * num)
        self.dead = changes.get("dead", ())
        columns = {name: np.zeros(num, dtype) for name, dtype in PACKET_COLUMNS.items()}
        columns["pts"][:] = [NO_PTS if pts is None else pts for pts in self.pts]
        columns["is_keyframe"][self.starts] = True
        self.scan = SimpleNamespace(
            packets=PacketTable(**columns),
            time_base=Fraction(1, 10),
            facts=SimpleNamespace(codec="mpeg4", second_file=None),
            sorts_pts=False,
            parts_not_read=[],
            stores_pts=True,
        )

    def without_reordering(self):
        return MadeUpVideo(
            np.diff([*self.starts, self.num]).tolist(),
            lost=self.lost,
            corrupt=self.corrupt,
            corrupt_packets=self.corrupt_packets,
        )

    def repeats_of(self, frames):
        hashes = [self.hashes[packet] for packet in frames]
        return np.array(
            [False, *(one == other for one, other in pairwise(hashes))][: len(hashes)], bool
        ).tobytes()

    def receipt(self, first, end, *, is_by_device=False):
        frames = [packet for packet in range(first, end) if packet not in self.lost]
        rows = np.zeros(len(frames), FRAME_DTYPE)
        rows["packet"] = frames
        rows["is_intra"] = False if is_by_device else [packet in self.starts for packet in frames]
        rows["is_interlaced"] = [packet % 3 == 0 for packet in frames]
        rows["pts_seconds"] = [
            np.nan if self.pts[packet] is None else self.pts[packet] / 10 for packet in frames
        ]
        formats = []
        for position, packet in enumerate(frames):
            if not formats or formats[-1][1] != self.formats[packet]:
                formats.append((position, self.formats[packet]))
        return UnitReceipt(
            first_packet=first,
            end_packet=end,
            num_frames_decoded=len(frames),
            frames=rows.tobytes(),
            repeats=b"" if is_by_device else self.repeats_of(frames),
            edge_hashes=None
            if is_by_device or not frames
            else (self.hashes[frames[0]], self.hashes[frames[-1]]),
            kept=b"",
            corrupt_positions=[i for i, packet in enumerate(frames) if packet in self.corrupt],
            formats=formats,
            corrupt_packets=[packet for packet in range(first, end) if packet in self.corrupt_packets],
            decoder_errors=[
                (packet, self.lost[packet]) for packet in range(first, end) if packet in self.lost
            ],
            sampled_errors=[],
            num_bytes=0,
            is_by_device=is_by_device,
        )

    def findings(self, *cuts):
        borders = [0, *cuts, self.num]
        return VideoFrames(
            self.scan, [self.receipt(first, end) for first, end in pairwise(borders)]
        ).findings()


@st.composite
def videos_and_cuts(draw):
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=6))
    num = sum(sizes)
    ordinals = st.integers(0, num - 1)
    starts = np.cumsum([0, *sizes])[:-1].tolist()
    cuts = draw(st.sets(st.sampled_from(starts[1:]))) if len(starts) > 1 else set()
    few = st.sets(ordinals, max_size=5)
    # The first packet of a unit gives a good frame, or there would be no such unit.
    lost = draw(few) - cuts
    video = MadeUpVideo(
        sizes,
        pts=draw(st.lists(st.none() | st.integers(0, 30), min_size=num, max_size=num)),
        lost=dict.fromkeys(lost, "bad"),
        corrupt=draw(few) - cuts,
        corrupt_packets=draw(few) - cuts,
        hashes=draw(st.lists(st.integers(0, 1), min_size=num, max_size=num)),
        formats=draw(st.lists(st.sampled_from([SMALL, LARGE]), min_size=num, max_size=num)),
    )
    return video, sorted(cuts)


@given(videos_and_cuts())
@settings(max_examples=150)
def test_any_cut_into_units_gives_the_same_record(video_and_cuts):
    video, cuts = video_and_cuts
    assert video.findings(*cuts) == video.findings()


@given(videos_and_cuts())
@settings(max_examples=100)
def test_every_complaint_lies_in_a_span_and_spans_are_in_order(video_and_cuts):
    video, cuts = video_and_cuts
    video = video.without_reordering()
    findings = video.findings(*cuts)
    suspects = {after for packet in video.corrupt_packets for after in (packet, packet + 1)} - {video.num}
    bad = {*video.lost, *suspects, *(video.corrupt - video.lost.keys())}
    named = [
        packet for span in findings.damaged_spans for packet in range(span.first_packet, span.last_packet + 1)
    ]
    assert bad <= set(named)
    assert all(span.first_packet in bad for span in findings.damaged_spans)
    assert named == sorted(set(named))
    assert sum(span.num_frames_corrupt for span in findings.damaged_spans) == len(
        video.corrupt - video.lost.keys()
    )


def test_a_span_ends_before_the_next_keyframe_that_is_clean():
    video = MadeUpVideo([5, 5, 5, 5], lost={7: "first", 8: "second", 10: "third"}, corrupt=[9])
    (span,) = video.findings(15).damaged_spans
    assert (span.first_packet, span.last_packet) == (7, 14)
    assert (span.first_frame, span.last_frame) == (7, 11)  # packets 9, 11, 12, 13 and 14
    assert (span.first_pts_seconds, span.last_pts_seconds) == (0.7, 1.4)
    assert (span.num_packets_without_frame, span.num_frames_corrupt, span.reason) == (3, 1, "first")


def test_two_damaged_places_with_a_clean_keyframe_between_are_two_spans():
    spans = MadeUpVideo([5, 5, 5], corrupt=[2, 13]).findings().damaged_spans
    assert [(span.first_frame, span.last_frame) for span in spans] == [(2, 4), (13, 14)]
    assert [span.reason for span in spans] == ["frame flagged corrupt"] * 2


def test_a_packet_flagged_corrupt_may_stand_for_the_next():
    """The parser flags the packet that it hands out when the damaged one comes in."""
    spans = MadeUpVideo([5, 5, 5], corrupt_packets=[4]).findings().damaged_spans
    assert [(span.first_packet, span.last_packet, span.reason) for span in spans] == [
        (4, 9, "packet 4 flagged corrupt by the demuxer")
    ]
    (span,) = MadeUpVideo([5], corrupt_packets=[4]).findings().damaged_spans
    assert (span.first_packet, span.last_packet) == (4, 4)


def test_a_keyframe_that_came_as_another_kind_of_picture_ends_no_span():
    video = MadeUpVideo([5, 5], corrupt=[2])
    rows = np.frombuffer(video.receipt(0, 10).frames, FRAME_DTYPE).copy()
    assert rows["is_intra"].tolist() == [i in (0, 5) for i in range(10)]
    video.starts = [0]  # of the receipts; the scan keeps its keyframe
    (span,) = video.findings().damaged_spans
    assert span.last_frame == 9


def test_a_unit_that_the_gpu_decoded_begins_clean():
    """A GPU does not report the type of a picture."""
    video = MadeUpVideo([5, 5], corrupt=[2])
    receipts = [video.receipt(0, 5), video.receipt(5, 10, is_by_device=True)]
    (span,) = VideoFrames(video.scan, receipts).findings().damaged_spans
    assert (span.first_frame, span.last_frame) == (2, 4)


def test_leading_frames_of_an_open_gop_share_the_fate_of_the_gop_before():
    """Coded 0 1 2 | 3 4 5, shown 0 1 2 4 3 5: packet 4 leads up to keyframe 3."""
    video = MadeUpVideo([3, 3], pts=[0, 1, 2, 4, 3, 5])
    receipt = video.receipt(0, 6)
    order = [0, 1, 2, 4, 3, 5]

    def span(**changes):
        rows = receipt.frame_rows[[packet for packet in order if packet not in changes.pop("lost", ())]]
        made = {
            "frames": rows.tobytes(),
            "num_frames_decoded": len(rows),
            "repeats": b"",
            "edge_hashes": None,
            **changes,
        }
        fields = {name: getattr(receipt, name) for name in UnitReceipt.__struct_fields__}
        (found,) = VideoFrames(video.scan, [UnitReceipt(**(fields | made))]).findings().damaged_spans
        return found.first_packet, found.last_packet, found.first_frame, found.last_frame

    assert span(corrupt_positions=[1]) == (1, 4, 1, 3)
    assert span(corrupt_positions=[3]) == (4, 4, 3, 3)
    assert span(corrupt_positions=[5]) == (5, 5, 5, 5)
    assert span(corrupt_positions=[4]) == (
        3,
        5,
        3,
        5,
    )  # the keyframe itself: what leads up to it needs it, too
    without_4 = receipt.frame_rows[[0, 1, 2, 3, 5]].tobytes()
    lost = {"frames": without_4, "num_frames_decoded": 5, "decoder_errors": [(4, "bad")]}
    assert span(**lost) == (4, 4, None, None)
    assert span(**(lost | {"decoder_errors": [(1, "bad")]})) == (1, 4, 1, 2)


def test_a_unit_that_killed_its_process_is_a_span_without_frames():
    video = MadeUpVideo([5, 5, 5])
    dead = empty_receipt(DecodeUnit(video_id=0, first_packet=5, end_packet=10), death="was killed by SIGKILL")
    findings = VideoFrames(video.scan, [video.receipt(0, 5), dead, video.receipt(10, 15)]).findings()
    (span,) = findings.damaged_spans
    assert (span.first_packet, span.last_packet, span.first_frame) == (5, 9, None)
    assert (span.first_pts_seconds, span.last_pts_seconds) == (0.5, 0.9)
    assert span.reason == "the decoder process was killed by SIGKILL, twice"
    assert [(gap.frame, gap.seconds) for gap in findings.pts_gaps] == [(5, 0.6)]


def test_an_error_at_the_end_of_the_stream_is_about_the_last_packet():
    video = MadeUpVideo([4])
    receipt = video.receipt(0, 4)
    fields = {name: getattr(receipt, name) for name in UnitReceipt.__struct_fields__}
    late = UnitReceipt(**(fields | {"decoder_errors": [(4, "at the end")]}))
    (span,) = VideoFrames(video.scan, [late]).findings().damaged_spans
    assert (span.first_packet, span.last_packet, span.reason) == (3, 3, "at the end")


def test_lists_are_capped_and_counts_are_not():
    num = 4 * MAX_LISTED
    findings = MadeUpVideo(
        [1] * num,
        corrupt=range(0, num, 2),
        pts=[20 * (i // 2) for i in range(num)],
        hashes=[i // 2 for i in range(num)],
        formats=[(SMALL, LARGE)[i // 2 % 2] for i in range(num)],
    ).findings()
    for listed, count in (
        (findings.corrupt_runs, findings.num_corrupt_runs),
        (findings.damaged_spans, findings.num_damaged_spans),
        (findings.duplicate_runs, findings.num_duplicate_runs),
        (findings.pts_repeats, findings.num_pts_repeats),
    ):
        assert (len(listed), count) == (MAX_LISTED, num // 2)
    assert (len(findings.format_changes), findings.num_format_changes) == (MAX_LISTED, num // 2 - 1)


def test_frames_of_another_format_are_no_duplicates_and_the_gpus_are_not_compared():
    video = MadeUpVideo([2, 2], hashes=[7] * 4, formats=[SMALL, SMALL, LARGE, LARGE])
    findings = video.findings(2)
    assert findings.duplicate_runs == [(0, 1), (2, 3)]
    (change,) = findings.format_changes
    assert (change.frame, change.before, change.after) == (2, SMALL, LARGE)
    half = VideoFrames(video.scan, [video.receipt(0, 2), video.receipt(2, 4, is_by_device=True)]).findings()
    assert (half.num_frames_hashed, half.duplicate_runs, half.num_format_changes) == (2, [(0, 1)], 0)
    gpu = VideoFrames(video.scan, [video.receipt(0, 4, is_by_device=True)]).findings()
    assert (gpu.num_frames_hashed, gpu.num_frames_duplicate, gpu.duplicate_runs) == (0, None, [])


def test_frames_on_both_sides_of_a_unit_of_the_gpu_are_not_compared():
    video = MadeUpVideo([2, 2, 2], hashes=[7] * 6)
    receipts = [video.receipt(2 * unit, 2 * unit + 2, is_by_device=unit == 1) for unit in range(3)]
    assert VideoFrames(video.scan, receipts).findings().duplicate_runs == [(0, 1), (4, 5)]


def test_the_first_frame_of_a_part_repeats_none():
    video = MadeUpVideo([6], hashes=[1, 1, 1, 2, 2, 2])
    frames = VideoFrames(video.scan, [video.receipt(0, 6)])
    assert frames.findings(1, 3).duplicate_runs == [(0, 1)]
    assert frames.findings(1, 2).num_frames_duplicate == 0
    assert frames.findings().duplicate_runs == [(0, 2), (3, 5)]  # a part changes nothing of the whole


def test_a_video_without_frames_and_timestamps():
    findings = MadeUpVideo([2], lost={0: "bad", 1: "bad"}, pts=[None, None]).findings()
    assert (findings.start_offset_seconds, findings.median_step_seconds, findings.num_frames_duplicate) == (
        None,
    ) * 3
    (span,) = findings.damaged_spans
    assert (span.first_frame, span.first_pts_seconds, span.num_packets_without_frame) == (None, None, 2)


@pytest.mark.parametrize(
    ("pixel_format", "row_bytes"),
    [
        ("yuv420p", 33),
        ("yuv420p10le", 66),
        ("nv12", 33),
        ("gbrp", 33),
        ("rgb24", 99),
        ("gray", 33),
        ("monow", 5),
    ],
)
def test_the_hash_is_of_pixels_and_not_of_what_lies_after_them(pixel_format, row_bytes):
    frame = av.VideoFrame(33, 9, pixel_format)
    plane = frame.planes[0]

    def hash_with(row, column):
        rows = np.zeros((plane.height, plane.line_size), np.uint8)
        if row is not None:
            rows[row, column] = 1
        plane.update(rows.tobytes())
        rows = luma_rows(frame)
        assert has_equal_rows(rows, blank) == (hash_of_rows(rows) == hash_of_rows(blank))
        return hash_of_rows(rows)

    blank = np.zeros((3, row_bytes), np.uint8)
    same = hash_with(None, None)
    assert hash_with(8, 0) != same
    assert hash_with(4, row_bytes - 1) != same
    assert hash_with(4, row_bytes) == same
    assert hash_with(1, 0) == same  # of every fourth row
