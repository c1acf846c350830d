"""What notebooks show of reports: the same words as a terminal, bounded, and safe whatever names hold."""

import msgspec

from cache_builder.build.report import make_report, report_text
from cache_builder.columns.report import ColumnsReport, ColumnSummary
from cache_builder.content_order.report import ContentOrderReport, content_order_lines
from cache_builder.sources import PassedOver
from frame_store import open_store
from frame_store.verify import VerifyResult, verify_store
from tests.support.caches.tree import FIRST_MANIFEST
from tests.support.documents import ROOT
from tests.support.pages.html import ReadHtml

HOSTILE = "<img src=x onerror=alert(1)>"


def shown(report):
    read = ReadHtml(report._repr_html_())
    read.assert_safe()
    return read


def test_the_report_of_a_build_names_the_first_videos_that_are_not_whole():
    store = open_store(ROOT / "tests" / "data" / "store-v1-wds-raw")
    damaged = msgspec.structs.replace(
        store.video_entries[0], path=HOSTILE, verdict="damaged", reason="<b>cut</b>", notes=["a note"]
    )
    report = make_report(
        {None: ([store.common], [damaged] * 500)},
        output=HOSTILE,
        status="built",
        passed_over=PassedOver(by_extension={"<i>": 3}, num_hidden=0),
    )
    found = shown(report)
    assert f"{HOSTILE!r}: damaged: <b>cut</b>" in found.text and "and 480 more" in found.text
    assert len(report._repr_html_()) < 20_000
    totals = report_text(report).splitlines()[-3:]
    assert [line for line in totals if line[:300] not in found.text] == []


def test_the_result_of_a_check_names_problems_and_notes(tmp_path):
    sound = shown(verify_store(ROOT / "tests" / "data" / "store-v1-wds-raw"))
    assert "sound" in sound.text and "Problems" not in sound.text
    result = VerifyResult(
        path=HOSTILE, num_frames_checked=1, num_files_checked=1, problems=[HOSTILE] * 30, notes=["x" * 9000]
    )
    found = shown(result)
    assert result.summary in found.text and "and 10 more" in found.text and FIRST_MANIFEST not in found.text
    assert len(result._repr_html_()) < 10_000


def test_the_reports_on_columns_and_content_order_say_what_a_terminal_says():
    column = ColumnSummary(
        name=HOSTILE, scope="frame", dtype="float32", shape=[2], num_missing=1, num_bytes=8
    )
    columns = ColumnsReport(
        output="a.cache",
        status="written",
        folders=["columns-0"],
        columns=[column],
        notes=["n1"],
        problems=["p1"],
    )
    text = shown(columns).text
    assert f"{HOSTILE}: per frame, float32 (2), 1 missing" in text and "n1" in text and "p1" in text
    assert "a.cache: columns written, 1 column in columns-0 (8 bytes)" in text
    order = ContentOrderReport(
        output=HOSTILE,
        status="written",
        folder="content-0",
        method="m",
        num_frames=7,
        num_frames_read=7,
        num_bytes=28,
        seconds_reading=1.0,
        seconds_ordering=0.1,
    )
    assert content_order_lines(order)[0] in shown(order).text


def test_a_report_that_is_not_what_it_should_be_is_shown_as_its_error():
    result = VerifyResult(path="a", num_frames_checked="many", num_files_checked=1, problems=3, notes=[])
    assert "Cannot be shown: TypeError" in shown(result).text
