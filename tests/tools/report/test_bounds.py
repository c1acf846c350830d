"""However many videos a cache has, its page and what is kept in memory stay small."""

import json

import msgspec
import numpy as np
import pytest
from frame_cache_tools.report.data import cameras
from frame_cache_tools.report.data.gather import SHEETS_BUDGET
from frame_cache_tools.report.data.opened import open_cameras
from frame_cache_tools.report.data.sampling import sampling_facts
from frame_cache_tools.report.data.sheets import chosen_places
from frame_cache_tools.report.data.videos import MAX_SHOWN, look_through
from frame_cache_tools.report.page import videos_part

from frame_store import open_store
from frame_store.frame_findings import DamagedSpan
from tests.support.bias_command import bias
from tests.support.caches.golden_stores import made_up_video
from tests.tools.report.noise import write_noise

NUM_VIDEOS = 200


@pytest.fixture(scope="module")
def noisy_cache(tmp_path_factory):
    return write_noise(tmp_path_factory.mktemp("noise") / "noise.cache", NUM_VIDEOS)


@pytest.mark.parametrize("budget", [SHEETS_BUDGET, 400_000])
def test_pictures_stay_within_their_budget(noisy_cache, budget):
    (camera,) = open_cameras(noisy_cache)
    originals = cameras.Originals(source=None)
    facts = cameras.camera_facts(camera, forgotten=frozenset({3}), budget=budget, originals=originals)
    page = str(videos_part(facts))
    assert len(facts.videos) == NUM_VIDEOS - 1
    assert all(video.sheet for video in facts.videos) == ("without pictures" not in page)
    pictures = sum(shown.picture.num_page_bytes for video in facts.videos for shown in video.sheet)
    assert pictures <= budget
    assert len(page) <= budget + 4000 * NUM_VIDEOS < 10e6


def test_many_videos_are_sampled_evenly_and_damaged_ones_come_first():
    number = 5000
    whole = made_up_video("a.mp4", 10)

    def entries():
        for row in range(number):
            verdict = "damaged" if row % 50 == 7 else "whole"
            yield msgspec.structs.replace(whole, path=f"{row}.mp4", verdict=verdict)

    summary, shown = look_through(entries(), num_videos=number)
    assert summary.num_videos == number and summary.num_damaged == 100
    assert summary.num_frames_stored == 10 * number
    assert [video_id for video_id, _ in shown.attention] == list(range(7, number, 50))
    ids = [video_id for video_id, _ in shown.sample]
    assert 90 <= len(ids) <= MAX_SHOWN - 100
    assert np.diff(ids).max() <= 2.5 * number / len(ids)


def span(first, last):
    return DamagedSpan(
        first_packet=first,
        last_packet=last,
        first_frame=first,
        last_frame=last,
        first_pts_seconds=None,
        last_pts_seconds=None,
        num_frames_corrupt=1,
        num_packets_without_frame=0,
        reason="made up",
    )


def test_pictures_stand_around_damage():
    class Findings:
        damaged_spans = (span(40, 49), span(0, 3), span(500, 600))

    stored = np.arange(0, 400, 2)
    chosen = chosen_places(stored, Findings, at_most=8)
    assert len(chosen) == 8 and chosen == sorted(chosen)
    notes = {int(stored[place]): note for place, note in chosen if note}
    assert notes == {
        40: "in the damage",
        38: "before the damage",
        50: "after the damage",
        48: "in the damage",
        0: "in the damage",
        4: "after the damage",
    }
    assert chosen_places(stored[:0], Findings, at_most=8) == []


def test_samplers_have_the_figures_of_cache_bias(tmp_path):
    cache = write_noise(tmp_path / "noise.cache", 30)
    stated = json.loads(bias(cache, "--json").stdout)["cases"][0]["samplers"]
    facts = sampling_facts(open_store(cache), name="noise", max_frames_read=20_000)
    assert [row.effective_batch_value for row in facts.samplers] == [row["effective_batch"] for row in stated]
    assert [row.long_run_value for row in facts.samplers] == [
        row["long_run"] and row["long_run"]["effective_batch"] for row in stated
    ]
    assert facts.best is not None and facts.best.is_unbiased
    worth = [row.long_run_value or 0 for row in facts.samplers if row.is_ours and row.is_unbiased]
    assert (facts.best.long_run_value or 0) >= 0.9 * max(worth)
