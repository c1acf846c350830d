"""The marks of a video's time line: what was lost is among them, and the worst comes first."""

import numpy as np
from frame_cache_tools.report.data import MARK_WORDS, axis_of, time_line
from frame_cache_tools.report.data.losses import loss_of

from frame_store.frame_findings import DamagedSpan, FrameFindings
from tests.frame_store.manifest.made_up import make_video


def cut_off():
    """40 frames of 0.1 s: two equal ones early, a damaged one later, and 2 s of the header are gone."""
    findings = FrameFindings(
        num_packets_discarded=0,
        num_packets_corrupt=0,
        num_corrupt_runs=0,
        corrupt_runs=[],
        num_damaged_spans=1,
        damaged_spans=[
            DamagedSpan(
                first_packet=30,
                last_packet=30,
                first_frame=30,
                last_frame=30,
                first_pts_seconds=3.0,
                last_pts_seconds=3.0,
                num_frames_corrupt=1,
                num_packets_without_frame=0,
                reason="it does not decode",
            )
        ],
        num_frames_hashed=40,
        num_frames_duplicate=1,
        num_duplicate_runs=1,
        duplicate_runs=[(2, 3)],
        longest_duplicate_run=(2, 3),
        start_offset_seconds=0.0,
        median_step_seconds=0.1,
        num_frames_without_pts=0,
        num_pts_gaps=0,
        pts_gaps=[],
        num_pts_repeats=0,
        pts_repeats=[],
        num_frames_interlaced=0,
        num_format_changes=0,
        format_changes=[],
    )
    return make_video(
        num_frames=40,
        verdict="damaged",
        reason="a packet does not decode",
        notes=["cut off? The header claims 6.0 s, its last frame ends at 4.0 s"],
        num_frames_corrupt=1,
        findings=findings,
        facts={"duration_seconds_in_header": 6.0, "end_seconds_of_packets": 4.0},
    )


def test_the_worst_mark_comes_first_and_a_cut_off_end_is_drawn():
    video = cut_off()
    line = time_line(video, axis_of(video, np.arange(40) / 10))
    kinds = [mark.kind for mark in line.marks]
    assert kinds == sorted(kinds, key=list(MARK_WORDS).index) and kinds[-1] == "duplicate"
    (lost,) = [mark for mark in line.marks if mark.kind == "lost"]
    assert (round(lost.first, 6), lost.last, line.end) == (4.0, 6.0, 6.0)
    assert lost.text.startswith("the last 2.00 s")


def test_a_loss_counts_the_end_that_is_gone():
    loss = loss_of(cut_off())
    assert (loss.num_frames_untrusted, loss.seconds_missing) == (1, 2.0)
    assert "the last 2.00 s lost" in loss.texts
