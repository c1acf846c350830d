"""Progress in a log: a line at each end of a stage, and between them ever more rarely. The clock is the test's."""

import io
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.cli.shown_progress import LogProgress, shown_progress


class Log:
    """A progress whose clock the test sets, and its lines."""

    def __init__(self):
        self.now = 1000.0
        self.lines = []
        self.progress = LogProgress(clock=lambda: self.now, say=self.lines.append)

    def steps(self, count, *, seconds):
        """Do a number of single steps that take these seconds in total."""
        for _ in range(count):
            self.now += seconds / count
            self.progress.advance(1)


def test_a_short_stage_gets_one_line():
    log = Log()
    log.progress.start("scan", 3, "videos")
    log.steps(3, seconds=0.3)
    log.progress.start("decode", 1, "frames")
    log.steps(1, seconds=0.3)
    log.progress.close()
    assert log.lines == ["scan: 3 videos", "decode: 1 frame"]


def test_a_longer_one_gets_a_line_at_its_end():
    log = Log()
    log.progress.start("decode", 12_000, "frames")
    log.now += 20
    log.progress.advance(12_000)
    log.progress.close()
    assert log.lines == [
        "decode: 12,000 frames",
        "decode: 12,000 of 12,000 frames (100%) in 20 s, 600 frames/s",
    ]


def test_lines_in_between_say_count_share_time_rate_and_time_left():
    log = Log()
    log.progress.start("decode", 1000, "frames")
    log.steps(500, seconds=50)
    assert log.lines[1:] == ["decode: 300 of 1,000 frames (30%) after 30 s, 10 frames/s, 1 min 10 s left"]


def test_a_stage_that_breaks_off_says_how_far_it_came():
    log = Log()
    log.progress.start("decode", 100, "frames")
    log.steps(40, seconds=4)
    log.progress.close()
    assert log.lines[-1] == "decode: 40 of 100 frames (40%) in 4 s, 10 frames/s"
    log.progress.close()
    assert len(log.lines) == 2


def test_what_was_done_before_does_not_count_for_the_rate():
    """A resumed build learns at once of thousands of frames."""
    log = Log()
    log.progress.start("decode", 10_000, "frames")
    log.progress.advance(9000)
    log.steps(100, seconds=50)
    assert log.lines[1] == "decode: 9,060 of 10,000 frames (90%) after 30 s, 2 frames/s, 7 min 50 s left"


def test_a_note_is_a_line_and_the_stage_goes_on():
    log = Log()
    log.progress.note("worth knowing")
    log.progress.start("decode", 10, "frames")
    log.progress.note("and this")
    log.progress.advance(1)
    assert log.lines == ["worth knowing", "decode: 10 frames", "and this"]


@given(st.lists(st.floats(0.001, 2000), min_size=1, max_size=200))
def test_lines_are_far_apart_and_yet_never_rarer_than_a_step_and_ten_minutes(steps):
    log = Log()
    times = []
    log.progress = LogProgress(clock=lambda: log.now, say=lambda line: times.append((log.now, line)))
    log.progress.start("decode", len(steps), "frames")
    for seconds in steps:
        log.now += seconds
        log.progress.advance(1)
    assert all("\r" not in line and line.isprintable() for _, line in times)
    at = [time for time, _ in times]
    gaps = [after - before for before, after in pairwise(at)]
    assert all(gap >= 30 for gap in gaps)
    # A line is late by no more than the step that was under way when it fell due.
    assert all(gap <= 600 + max(steps) for gap in gaps)
    assert log.now - at[-1] <= 600 + max(steps)


def test_a_long_stage_fills_no_log():
    log = Log()
    log.progress.start("decode", 36_000, "frames")
    log.steps(36_000, seconds=36_000)
    assert 30 < len(log.lines) < 100


class Stream(io.StringIO):
    def __init__(self, *, is_terminal):
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_terminal_gets_bars_and_a_log_gets_lines(monkeypatch, is_terminal):
    stream = Stream(is_terminal=is_terminal)
    monkeypatch.setattr(sys, "stderr", stream)
    with shown_progress() as progress:
        progress.start("scan", 2, "videos")
        progress.advance(2)
        progress.note("a note")
    said = stream.getvalue()
    assert said.endswith("a note\n")
    assert ("\r" in said) == is_terminal
    assert is_terminal or said == "scan: 2 videos\na note\n"


def test_without_stderr_nothing_is_said(monkeypatch, capfd):
    monkeypatch.setattr(sys, "stderr", None)
    with shown_progress() as progress:
        progress.start("scan", 2, "videos")
        progress.advance(2)
    assert capfd.readouterr() == ("", "")


def test_a_control_character_in_a_note_is_written_out(monkeypatch):
    stream = Stream(is_terminal=False)
    monkeypatch.setattr(sys, "stderr", stream)
    with shown_progress() as progress:
        progress.note("a\x1b[2Jb")
    assert stream.getvalue() == "a\\x1b[2Jb\n"
