"""The page says what the cache says, and no name changes what the page is."""

import dataclasses
import re
import warnings

import numpy as np
import pytest
from frame_cache_tools.report import page_of_cache, report_of_cache
from frame_cache_tools.report.page import snippet_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from frame_store import CacheStore, open_store
from frame_store.manifest import encode_manifest, next_manifest, read_manifest
from frame_store.names import manifest_name
from tests.frame_store.html.test_elements import HOSTILE
from tests.support.caches.camera_cache import write_camera_cache
from tests.support.grown.steps import grow
from tests.tools.report.noise import write_noise
from tests.tools.report.reported import seen

_CHOICES = {"verdict", "kind", "unit", "scope", "pixel"}
"""Fields whose texts are one of a few, never a stranger's."""


def with_texts(value, text, name=""):
    """The record with every free text replaced."""
    if isinstance(value, str):
        return value if name in _CHOICES or not value else text
    if isinstance(value, tuple):
        return tuple(with_texts(each, text, name) for each in value)
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return dataclasses.replace(
            value, **{key: with_texts(each, text, key) for key, each in fields.items()}
        )
    return value


@given(text=st.text(min_size=1, max_size=30))
@example(HOSTILE[0])
@example(HOSTILE[1])
@example(HOSTILE[2])
@example(HOSTILE[3])
@example(HOSTILE[4])
@example(HOSTILE[5])
@settings(max_examples=25)
def test_no_text_makes_an_element_or_an_attribute(damaged_report, text):
    plain = seen(page_of_cache(with_texts(damaged_report, "name")))
    page = page_of_cache(with_texts(damaged_report, text))
    found = seen(page)
    assert found.tags == plain.tags
    assert "\u202e" not in page and "\x1b" not in page and "\x00" not in page
    for name in ("class", "id", "href", "role", "content", "src"):
        assert found.values(name) == plain.values(name)


def test_the_page_loads_nothing(damaged_report):
    page = page_of_cache(damaged_report)
    found = seen(page)
    anchors = set(found.values("id"))
    assert all(link.startswith("#") and link[1:] in anchors for link in found.values("href"))
    assert len(anchors) == len(found.values("id"))
    assert all(re.match(r"data:image/jpeg;base64,", source) for source in found.values("src"))
    assert not re.search(r"(https?:)?//|url\(|@import", re.sub(r'src="[^"]*"', "", page))
    (policy,) = (value for value in found.values("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'; img-src data:; ") and "unsafe" not in policy
    assert {tag for tag, _ in found.tags} >= {"main", "nav", "header", "footer", "h1", "h2", "h3"}
    assert [tag for tag, _ in found.tags].count("h1") == 1
    assert all(alt for tag, name, alt in found.attributes if tag == "img" and name == "alt")


def test_figures_are_those_of_the_cache(damaged_build, damaged_report):
    path = damaged_build / "dir.cache"
    with CacheStore(path) as store:
        entries = store.video_entries
        frames = len(store)
        num_bytes = sum(each.generation.num_bytes for each in store.generations)
    summary, text = damaged_report.leader.summary, seen(page_of_cache(damaged_report)).text
    assert damaged_report.num_frames == frames == sum(entry.num_frames_stored for entry in entries)
    assert f"{frames} frames from 4 videos" in text
    assert damaged_report.num_bytes == num_bytes
    assert (summary.num_whole, summary.num_damaged, summary.num_unreadable) == (2, 1, 1)
    assert "Of 4 videos, 2 whole, 1 damaged, 1 unreadable." in text
    shown = {video.path: video for video in damaged_report.leader.videos}
    assert list(shown)[:2] == ["b & <b>.mkv", "none.mp4"]  # what is not whole comes first
    for entry in entries:
        video = shown[entry.path]
        assert (video.verdict, video.num_frames_stored) == (entry.verdict, entry.num_frames_stored)
        assert video.num_frames_corrupt == entry.num_frames_corrupt
    (damaged,) = (entry for entry in entries if entry.verdict == "damaged")
    (span,) = damaged.findings.damaged_spans
    marks = [mark for mark in shown[damaged.path].time_line.marks if mark.kind == "damage"]
    assert [(mark.first, mark.last) for mark in marks] == [(span.first_pts_seconds, span.last_pts_seconds)]
    first, last = span.first_frame, span.last_frame
    assert (f"frame {first} (" if first == last else f"frames {first} to {last} (") in text
    share = 100 * (last - first + 1) / summary.num_frames_decoded
    of = f"{last - first + 1} of {summary.num_frames_decoded} decoded frames ({share:.3g}%)"
    assert f"{of} are not to be trusted, in 1 video." in text
    assert "Of 1 unreadable video nothing is in the cache." in text
    notes = {picture.frame_in_video: picture.note for picture in shown[damaged.path].sheet}
    assert notes[span.first_frame - 1] == "before the damage" and notes[span.first_frame] == "in the damage"


def test_the_worst_frame_stands_beside_its_original(damaged_build, damaged_report):
    facts = damaged_report.leader.fidelity
    recorded = CacheStore(damaged_build / "dir.cache").generations[0].generation.fidelity
    assert facts.recorded == recorded
    # The videos are short, so the frames that the build sampled are compared again, and the worst is the same.
    assert facts.compared[0].psnr_db == pytest.approx(recorded.psnr_db_worst_frame, abs=0.001)
    assert facts.num_compared == recorded.num_frames_sampled
    assert facts.why_none is None
    text = seen(page_of_cache(damaged_report)).text
    assert f"The worst of {facts.num_compared} frames beside its original" in text


def test_another_video_of_that_name_is_no_original(damaged_build, tmp_path):
    other = tmp_path / "dir"
    other.mkdir()
    for path in sorted((damaged_build / "dir").iterdir()):
        (other / path.name).write_bytes(path.read_bytes() + b"\0")
    facts = report_of_cache(damaged_build / "dir.cache", videos=other, max_frames_read=0).leader.fidelity
    assert not facts.compared and "is not the file that the cache was built from" in facts.why_none


def test_equal_caches_give_equal_pages(damaged_build, damaged_report):
    again = report_of_cache(damaged_build / "dir.cache")
    assert again == damaged_report
    assert page_of_cache(again) == page_of_cache(damaged_report)


def test_the_snippet_runs(damaged_report):
    found = seen(page_of_cache(damaged_report))
    (snippet,) = (text for text in found.texts if text.startswith("from loader import"))
    assert snippet == snippet_of(damaged_report)
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cache holds less than a batch
        exec(snippet, names)
    assert names["frames"].shape[1:] == (3, 64, 64)


def test_cameras_and_columns_are_shown(tmp_path):
    write_camera_cache(tmp_path / "cams.cache")
    report = report_of_cache(tmp_path / "cams.cache", max_frames_read=0)
    page = page_of_cache(report)
    text = seen(page).text
    assert [camera.name for camera in report.cameras] == ["front", "wrist"]
    assert "Each is stored for 2 cameras: front , wrist" in text
    assert "Episodes of camera front" in text and "Episodes of camera wrist" in text
    (column,) = report.columns
    with open_store(tmp_path / "cams.cache") as store:
        values = store.columns["action"].gather(np.arange(store.columns["action"].parts[0].values.shape[0]))
    assert (column.name, column.num_rows) == ("action", len(values))
    assert column.minimum == pytest.approx(float(values.min()))
    assert column.maximum == pytest.approx(float(values.max()))
    assert sum(bar.count for bar in column.bars) == values.size


def test_generations_and_forgotten_videos_are_told_apart(tmp_path):
    for number in range(2):
        write_noise(tmp_path / f"{number}.cache", 3 + number, seed=number)
    cache = grow(tmp_path / "0.cache", tmp_path / "1.cache")
    before = read_manifest(cache)
    after = next_manifest(before, forgotten_videos=[1])
    (cache / manifest_name(after.version)).write_bytes(encode_manifest(after))
    report = report_of_cache(cache, max_frames_read=0)
    text = seen(page_of_cache(report)).text
    with open_store(cache) as store:
        assert (report.num_frames, report.num_videos) == (len(store), 6)
    assert [generation.num_videos for generation in report.leader.generations] == [3, 4]
    assert "The cache grew in 2 generations." in text and "No folder is superseded." in text
    assert "1 forgotten video with 9 frames still lies on disk" in text
    assert 1 not in [video.video_id for video in report.leader.videos]
