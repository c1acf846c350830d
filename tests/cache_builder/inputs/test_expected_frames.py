"""The frames that a dry run counts, held to those that decode."""

from pathlib import Path

import av
import pytest

from cache_builder.errors import VideoError
from cache_builder.inputs.expectation import expected_frames
from cache_builder.plan import make_selection
from cache_builder.settings import BuildConfig
from cache_builder.video.decode import count_frames
from cache_builder.video.packets import NO_PTS
from cache_builder.video.scan import scan_video
from tests.support.videos.tiny_videos import damage_file, tiny_video

CONFIGS = [
    BuildConfig(),
    BuildConfig(stride=3),
    BuildConfig(fps=7.0),
    BuildConfig(fps=25.0),
    BuildConfig(fps=0.1),
]


def decoded_and_kept(path, scan, config):
    ticks = [None if tick == NO_PTS else tick for tick in count_frames(path, scan).pts.tolist()]
    keeps = make_selection(config, scan)
    return len(ticks), sum(map(keeps, range(len(ticks)), ticks, [*ticks[1:], None]))


def with_edit_list(folder):
    path = tiny_video(folder, path=Path("whole.mp4"), num_frames=50, gop_size=10, num_b_frames=2).path
    edited = folder / "edited.mp4"
    with av.open(str(path)) as source, av.open(str(edited), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        shift = int(14 / (25 * source.streams.video[0].time_base))
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.pts -= shift
                packet.dts -= shift
                packet.stream = stream
                target.mux(packet)
    return edited


def joined(folder):
    """Two recordings, one after the other: the clock goes back."""
    path = tiny_video(folder, path=Path("one.mpg"), codec="mpeg2video", num_frames=30, num_b_frames=2).path
    path.write_bytes(path.read_bytes() * 2)
    return path


def plain(folder):
    return tiny_video(folder, path=Path("a.mp4"), num_frames=31, num_b_frames=3, variable_rate=True).path


def reordered_avi(folder):
    return tiny_video(folder, path=Path("a.avi"), num_frames=31, num_b_frames=2).path


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.stride} {config.fps}")
@pytest.mark.parametrize("make", [plain, reordered_avi, with_edit_list, joined])
def test_it_counts_what_decodes(tmp_path, make, config):
    path = make(tmp_path)
    scan = scan_video(path, path.name)
    expected = expected_frames(scan, config)
    assert (expected.num_decoded, expected.num_stored) == decoded_and_kept(path, scan, config)
    assert expected.is_proved == (make is plain)


def test_damage_leaves_no_proof(tmp_path):
    path = tiny_video(tmp_path, path=Path("a.flv"), num_frames=60, gop_size=10).path
    assert expected_frames(scan_video(path, "a.flv"), BuildConfig()).is_proved
    damage_file(path, num_bytes=600)
    scan = scan_video(path, "a.flv")
    assert scan.damage_texts and scan.facts.uncounted_reason is None
    assert not expected_frames(scan, BuildConfig()).is_proved


def test_no_clock_no_frames(tmp_path):
    path = tiny_video(tmp_path, path=Path("a.h264"), num_frames=10).path
    scan = scan_video(path, "a.h264")
    assert expected_frames(scan, BuildConfig()).num_decoded == 10
    with pytest.raises(VideoError, match="has no timestamps"):
        expected_frames(scan, BuildConfig(fps=5.0))
