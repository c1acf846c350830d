"""Checks the rules of where a video may be cut: state that a decoder keeps over a keyframe shows in pictures."""

from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.folder_scan.scan_cache import scan_videos
from cache_builder.live.footage import Footage, FootageFile
from cache_builder.live.open_file import LiveFile
from cache_builder.sources import SourceVideo
from cache_builder.video.decode import FrameTable, start_check
from cache_builder.video.decode.start_check import MAX_PACKETS_DECODED, check_starts, starts_to_try
from cache_builder.video.decode.unit_decoder import UnitDecoder, VideoReader
from cache_builder.video.decode.unit_edges import first_wrong_edge
from cache_builder.video.packets.headers import PacketHeader
from cache_builder.video.scan import packet_pass
from cache_builder.video.scan.video_scan import scan_video
from tests.support.executors.in_process_pool import InProcessPool
from tests.support.videos.sample_streams import sample_stream, write_stream
from tests.support.videos.three_ways import build, look_up, one_pass
from tests.support.videos.tiny_videos import damage_file, tiny_video


@pytest.fixture
def cut_in_spite_of_palettes(tmp_path, monkeypatch):
    """A video whose palette comes with packet 0 alone, as seen by a scan that overlooks palettes."""
    monkeypatch.setattr(packet_pass._PacketNotes, "_why_unsplittable", lambda self, packet: None)
    sample = sample_stream("raw-palette")
    path = tmp_path / "palette.avi"
    write_stream(sample, path, [(0, len(sample.packets))])
    return path


def test_a_build_finds_out_that_units_do_not_fit_and_decodes_in_one_piece(cut_in_spite_of_palettes):
    path = cut_in_spite_of_palettes
    scanned = scan_video(path, "palette.avi")
    assert scanned.packets.can_start_unit.all()
    built = build(path, scanned, min_packets=10)
    assert built.frames == one_pass(path, scanned)
    assert built.entry.verdict == "whole"
    assert built.entry.notes == [
        "decoded in one piece: its frames from packet 10 on need what was decoded before"
    ]
    store, found = look_up(path, scanned, min_packets=10, seed=0, num=40, is_counted=True)
    assert len(store) == len(built.frames)
    assert found == dict(enumerate(built.frames))


def test_a_scan_tries_starts_that_nothing_proves(cut_in_spite_of_palettes, monkeypatch):
    path = cut_in_spite_of_palettes
    monkeypatch.setattr(packet_pass, "header_reader", lambda *args, **options: lambda packet: PacketHeader())
    scanned = scan_video(path, "palette.avi")
    assert starts_to_try(scanned) == [1, 39]
    checked = check_starts(path, scanned)
    assert checked.facts.unsplittable_reason == "its frames from packet 1 on need what was decoded before"
    assert checked.packets.can_start_unit.nonzero()[0].tolist() == [0]
    _, found = look_up(path, checked, min_packets=150, seed=0, num=40)
    assert found == dict(enumerate(one_pass(path, checked)))
    videos = [SourceVideo(relative_path="palette.avi", path=path)]
    (by_scans_of_a_folder,) = scan_videos(videos, cache_path=None, pool=InProcessPool())
    assert by_scans_of_a_folder.facts == checked.facts


@pytest.mark.parametrize("kind_name", ["mpeg4-p", "mpeg2", "h264-open", "wmv2", "svq1"])
def test_true_starts_stay_starts(tmp_path, kind_name):
    sample = sample_stream(kind_name)
    path = tmp_path / f"v.{sample.kind.suffixes[0]}"
    write_stream(sample, path, [(0, len(sample.packets))])
    scanned = scan_video(path, path.name)
    assert starts_to_try(scanned)
    assert check_starts(path, scanned) == scanned


def test_trying_starts_decodes_and_compares_no_more_than_it_must(tmp_path, monkeypatch):
    sample = sample_stream("mpeg4-p")
    path = tmp_path / f"v.{sample.kind.suffixes[0]}"
    write_stream(sample, path, [(0, len(sample.packets))])
    scanned = scan_video(path, path.name)
    first, second = starts_to_try(scanned)
    packets, compared, describe = [], [], UnitDecoder._describe

    def note(self, frame, ordinal):
        packets.append(ordinal)
        return describe(self, frame, ordinal)

    monkeypatch.setattr(UnitDecoder, "_describe", note)
    monkeypatch.setattr(start_check, "picture_hash", lambda frame: compared.append(frame) or 7)
    check_starts(path, scanned)
    num_after_second = min(8, len(scanned.packets) - second)
    assert len(compared) == 2 * (8 + num_after_second) - max(0, first + 8 - second)
    assert len(packets) == second + num_after_second + 8 + num_after_second


def test_proven_starts_and_far_ones_are_not_tried(tmp_path, monkeypatch):
    for kind_name, num_tried in (("h264", 0), ("vp9", 0), ("mjpeg", 0), ("mpeg4-p", 2)):
        sample = sample_stream(kind_name)
        path = tmp_path / f"{kind_name}.{sample.kind.suffixes[0]}"
        write_stream(sample, path, [(0, len(sample.packets))])
        assert len(starts_to_try(scan_video(path, path.name))) == num_tried
    monkeypatch.setattr("cache_builder.video.decode.start_check.MAX_PIXELS_DECODED", 64 * 48 * 70)
    assert starts_to_try(scan_video(path, path.name)) == []
    assert MAX_PACKETS_DECODED < 1000


@dataclass(frozen=True, kw_only=True)
class MadeUpUnit:
    first_packet: int
    first_pictures: list
    following_pictures: list = field(default_factory=list)
    is_damaged: bool = False


@given(st.lists(st.integers(1, 12), min_size=2, max_size=6), st.data())
def test_the_first_edge_with_another_picture_is_named(sizes, data):
    firsts = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    pictures = [(packet, packet * 7) for packet in range(firsts[-1])]
    units = [
        MadeUpUnit(
            first_packet=first,
            first_pictures=pictures[first:end][:8],
            following_pictures=pictures[end : end + (8 if first == 0 else 1)],
        )
        for first, end in pairwise(firsts)
    ]
    assert first_wrong_edge(units) is None
    wrong = data.draw(st.integers(1, len(units) - 1))
    packet, checksum = units[wrong].first_pictures[0]
    other = MadeUpUnit(
        first_packet=firsts[wrong], first_pictures=[(packet, checksum + 1), *units[wrong].first_pictures[1:]]
    )
    assert first_wrong_edge([*units[:wrong], other, *units[wrong + 1 :]]) == firsts[wrong]
    by_gpu = MadeUpUnit(first_packet=firsts[wrong], first_pictures=[(packet, None)])
    assert first_wrong_edge([*units[:wrong], by_gpu]) is None
    damaged = MadeUpUnit(first_packet=firsts[wrong], first_pictures=other.first_pictures, is_damaged=True)
    assert first_wrong_edge([*units[:wrong], damaged]) is None


def starts_of(packet_of_frame, *, can_start, unit_starts):
    """Frames of one file at which a new live store starts to decode."""
    flags = np.zeros(400, np.bool_)
    flags[can_start] = True
    packets = np.array(packet_of_frame, np.int64)
    frames = FrameTable(
        packet=packets, pts=packets, unit_starts=np.array(unit_starts, np.int64), is_counted=True
    )
    scan = SimpleNamespace(packets=MadeUpPackets(can_start_unit=flags))
    file = FootageFile(path=Path("v.mp4"), scan=scan, frames=frames)
    return Footage(videos=[], places=[], files=[file]).find_starts().tolist()


@dataclass(frozen=True, kw_only=True)
class MadeUpPackets:
    can_start_unit: np.ndarray

    def __len__(self):
        return len(self.can_start_unit)


def test_where_a_live_store_starts():
    in_order = list(range(400))
    assert starts_of(in_order, can_start=[0, 100, 300], unit_starts=[0, 200]) == [0, 100, 300]
    # Frames that lead up to the first keyframe come out before it. Decoding from the keyframe gives them, too.
    leading = [2, 4, 0, *range(5, 400)]
    assert starts_of(leading, can_start=[0, 100], unit_starts=[0, 200])[:2] == [0, 98]
    # Decoding cannot start at a picture that is shown again.
    again = [*range(200), 100, *range(200, 400)]
    assert starts_of(again, can_start=[0, 100], unit_starts=[0, 200]) == [0, 100]
    # A build found that the units do not fit together, although there are keyframes for two.
    assert starts_of(in_order, can_start=[0, 100, 200], unit_starts=[0]) == [0]
    assert starts_of(in_order, can_start=[0, 300], unit_starts=[0]) == [0, 300]  # too short for two units


def test_a_start_that_gives_other_frames_is_given_up(tmp_path, monkeypatch):
    """Like VP9's intra-only pictures, which only decoding reveals."""
    sample = sample_stream("h264")
    path = tmp_path / "v.mp4"
    write_stream(sample, path, [(0, len(sample.packets))])
    scanned = scan_video(path, "v.mp4")
    decode, starts = VideoReader.decode, []

    def decode_falsely(self, first, end, **options):
        starts.append(first)
        frames = decode(self, first, end, **options)
        return SkipsFrames(frames, num_skipped=3 * (first > 0))

    monkeypatch.setattr(VideoReader, "decode", decode_falsely)
    monkeypatch.setattr(LiveFile, "_may_be_sparse", lambda self: False)
    _, found = look_up(path, scanned, min_packets=150, seed=0, num=40)
    monkeypatch.undo()
    assert max(starts) > 0
    assert found == dict(enumerate(one_pass(path, scanned)))


def test_damage_leads_to_the_start_of_a_builds_unit_at_once(tmp_path, monkeypatch):
    """Otherwise a frame far after the damage would cost one try for every frame between, if every frame is a start."""
    damaged = tiny_video(tmp_path, path=Path("v.mp4"), num_frames=60, gop_size=1).path
    damage_file(damaged, start=0.9, num_bytes=40)
    scanned = scan_video(damaged, "v.mp4")
    expected = one_pass(damaged, scanned)
    decode, starts = VideoReader.decode, []

    def decode_and_note(self, first, end, **options):
        starts.append(first)
        return decode(self, first, end, **options)

    monkeypatch.setattr(VideoReader, "decode", decode_and_note)
    _, found = look_up(damaged, scanned, min_packets=150, seed=0, num=60)
    assert found == dict(enumerate(expected))
    assert starts.count(0) == 1
    assert starts[starts.index(0) - 1] > 30


@dataclass(frozen=True)
class SkipsFrames:
    decoder: object
    num_skipped: int

    @property
    def errors(self):
        return self.decoder.errors

    def __iter__(self):
        return islice(iter(self.decoder), self.num_skipped, None)
