"""The scan of packets: headers, reordering, packets without a frame, other streams of the file."""

from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

import av
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.errors import VideosNotWholeError
from cache_builder.findings.packets_without_frame import packets_without_frame
from cache_builder.video.decode.frame_table import count_frames
from cache_builder.video.packets.headers import (
    PacketHeader,
    header_reader,
    nal_length_bytes,
    nal_unit_types,
)
from cache_builder.video.packets.reordering import MAX_REORDER_DEPTH, reorder_depth
from cache_builder.video.packets.table import NO_PTS
from cache_builder.video.scan import packet_pass
from cache_builder.video.scan.video_scan import scan_video
from frame_store.shared.wording import counted
from tests.support.videos.sample_streams import KINDS, sample_stream, write_stream
from tests.support.videos.three_ways import build, look_up, one_pass, rising, scan


def written(folder, kind_name, suffix, **options):
    sample = sample_stream(kind_name)
    path = folder / f"{kind_name}.{suffix}"
    write_stream(sample, path, [(0, len(sample.packets))], **options)
    return path


@given(st.lists(st.integers(0, 50), min_size=1, max_size=40))
def test_reorder_depth_is_what_the_standard_defines(pts):
    by_definition = max(
        sum(earlier > one for earlier in pts[max(0, i - 32) : i]) for i, one in enumerate(pts)
    )
    assert reorder_depth(np.array(pts, np.int64)) == min(by_definition, MAX_REORDER_DEPTH)


@pytest.mark.parametrize(
    ("kind_name", "depth"), [("h264", 0), ("h264-b", 2), ("h264-late-b", 2), ("h264-open", 2)]
)
def test_the_scan_knows_how_far_frames_are_reordered(tmp_path, kind_name, depth):
    facts = {
        suffix: scan_video(written(tmp_path, kind_name, suffix), "v").facts.reorder_depth
        for suffix in ("mp4", "ts", "mkv", "avi")
        if suffix in next(kind.suffixes for kind in KINDS if kind.name == kind_name)
    }
    in_avi = facts.pop("avi", None)
    assert set(facts.values()) == {depth}
    assert in_avi is None or in_avi >= depth
    assert scan_video(written(tmp_path, "hevc", "mp4"), "v").facts.reorder_depth is None


def test_a_stream_that_leaves_its_reordering_unsaid_is_the_same_in_every_container(tmp_path):
    expected = None
    for suffix in ("mp4", "ts", "mkv", "flv", "avi"):
        path = written(tmp_path, "h264-late-b", suffix)
        scanned = scan(path)
        for min_packets in (1, 150):
            built = build(path, scanned, min_packets=min_packets)
            assert built.entry.verdict == "whole"
            expected = expected or built.frames
            assert built.frames == expected
            assert rising(built.pts_seconds)
    assert len(expected) == 220


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_headers_prove_what_containers_claim(kind):
    """For codecs whose headers are read: exactly the keyframes of these streams reset the decoder."""
    sample = sample_stream(kind.name)
    with av.open(BytesIO(sample.content)) as container:
        context = container.streams.video[0].codec_context
        codec, extradata = context.codec.canonical_name, context.extradata
        read = header_reader(codec, extradata, is_intra_only=context.codec.intra_only)
    headers = [read(memoryview(content)) for content, *_ in sample.packets]
    is_keyframe = [packet[4] for packet in sample.packets]
    if kind.name in {"h264", "h264-b", "h264-late-b", "hevc", "vp8", "vp9", "av1"}:
        assert [header.resets_decoder for header in headers] == is_keyframe
        assert [header.is_closed for header in headers] == is_keyframe
    elif (
        kind.name == "hevc-open"
    ):  # clean random access: only pictures that lead up to it refer to earlier ones
        assert [header.resets_decoder for header in headers] == is_keyframe
        assert [header.is_closed for header in headers] == [True] + [False] * (len(headers) - 1)
    elif kind.name in {"h264-open", "h264-refresh"}:
        assert [header.resets_decoder for header in headers] == [True] + [False] * (len(headers) - 1)
    else:
        assert {header.resets_decoder for header in headers} == {context.codec.intra_only}
    # libvpx's alternate reference pictures come with a shown picture, or in packets of their own (VP8).
    assert any(header.hides_picture for header in headers) <= (kind.name in {"vp8", "vp9"})


def test_vp9_says_what_it_shows():
    read = header_reader("vp9", None, is_intra_only=False)
    assert read(memoryview(bytes([0b10_0_0_1_000]))) == PacketHeader(shows_again=True)
    assert read(memoryview(bytes([0b10_0_0_0_0_1_0]))) == PacketHeader(resets_decoder=True, is_closed=True)
    assert read(memoryview(bytes([0b10_0_0_0_1_1_0]))) == PacketHeader()
    assert read(memoryview(bytes([0b10_0_0_0_1_0_0]))) == PacketHeader(hides_picture=True)
    assert read(memoryview(bytes([0b10_1_1_0_1_00]))) == PacketHeader(shows_again=True)  # profile 3


@given(
    st.binary(min_size=1, max_size=60), st.sampled_from(["h264", "hevc", "vp8", "vp9", "av1"]), st.binary()
)
def test_no_bytes_upset_a_header_reader(packet, codec, extradata):
    assert isinstance(header_reader(codec, extradata, is_intra_only=False)(memoryview(packet)), PacketHeader)
    types = nal_unit_types(memoryview(packet), "h264", nal_length_bytes("h264", b"\1" + extradata))
    assert all(0 <= kind < 32 for kind in types)


@pytest.mark.parametrize(("kind_name", "suffix"), [("h264-open", "avi"), ("mpeg4", "avi"), ("h264-b", "avi")])
@pytest.mark.parametrize("fps", [25, 12.5, 5, 10])
def test_fps_keeps_the_same_frames_of_an_avi_however_it_is_cut(tmp_path, kind_name, suffix, fps):
    path = written(tmp_path, kind_name, suffix)
    scanned = scan(path)
    whole = build(path, scanned, min_packets=150, fps=fps)
    assert whole.entry.num_frames_stored == 40 * fps / 25
    assert rising(whole.pts_seconds)
    for min_packets in (1, 12):
        assert build(path, scanned, min_packets=min_packets, fps=fps).frames == whole.frames
    every = one_pass(path, scanned)
    assert whole.frames == [every[round(tick * 25 / fps)] for tick in range(len(whole.frames))] or fps == 10


@pytest.mark.parametrize("kind_name", ["mpeg1", "mpeg2"])
def test_program_streams_that_were_joined_keep_the_times_of_each(tmp_path, kind_name):
    path = written(tmp_path, kind_name, "mpg")
    pts_seconds = build(path, scan(path), min_packets=150).pts_seconds
    joined = tmp_path / "joined.mpg"
    joined.write_bytes(path.read_bytes() * 2)
    scanned = scan(joined)
    assert scanned.sorts_pts
    for min_packets in (10, 150):
        assert build(joined, scanned, min_packets=min_packets).pts_seconds == pts_seconds * 2
    store, _ = look_up(joined, scanned, min_packets=150, seed=0, num=0)
    assert store.index["pts_seconds"].tolist() == pts_seconds * 2
    kept = build(joined, scanned, min_packets=10, fps=25)
    assert (
        kept.entry.num_frames_stored >= 79
    )  # of 80: the duration of the last frame before the joint is not stated


def test_other_streams_are_discarded(tmp_path):
    """Sound that is missing because a copy was cut off does not end the video."""
    path = tmp_path / "sound_beyond_the_end.mp4"
    sample = sample_stream("h264")
    with av.open(BytesIO(sample.content)) as source, av.open(str(path), "w") as target:
        video = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream("aac", rate=8000)
        for content, pts, dts, duration, is_keyframe in sample.packets:
            packet = av.Packet(content)
            packet.pts, packet.dts, packet.duration, packet.time_base = pts, dts, duration, sample.time_base
            packet.is_keyframe, packet.stream = is_keyframe, video
            target.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 12800), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        target.mux(sound.encode(frame))
        target.mux(sound.encode(None))
    content = path.read_bytes()
    with av.open(str(path)) as container:
        positions = [packet.pos for packet in container.demux(audio=0) if packet.size]
    for position in positions:  # chunk offsets in `stco`
        offset = position.to_bytes(4, "big")
        if content.count(offset) == 1:
            content = content.replace(offset, (len(content) + position).to_bytes(4, "big"))
    path.write_bytes(content)
    with av.open(str(path)) as container:  # read together with the sound, the video ends early
        assert sum(packet.stream.type == "video" and packet.size > 0 for packet in container.demux()) < 40
    scanned = scan(path)
    assert (scanned.facts.num_packets, scanned.facts.num_demuxer_errors) == (40, 0)
    built = build(path, scanned, min_packets=10)
    assert (built.entry.verdict, len(built.frames)) == ("whole", 40)


class TestPacketsWithoutFrame:
    def reasons(self, path, *, lost, is_interlaced=None):
        scanned = scan(path)
        packets = np.array([n for n in range(len(scanned.packets)) if n not in lost], np.int64)
        flags = np.zeros(len(packets), np.bool_) if is_interlaced is None else is_interlaced(packets)
        found = packets_without_frame(scanned, packets, flags)
        return {reason: ordinals.tolist() for reason, ordinals in found.items()}

    def test_none_is_missing(self, tmp_path):
        assert self.reasons(written(tmp_path, "h264", "mp4"), lost=[]) == {}

    def test_what_nothing_explains(self, tmp_path):
        assert self.reasons(written(tmp_path, "h264-b", "mp4"), lost=[7, 25]) == {"without a reason": [7, 25]}

    def test_of_two_fields_one_gives_the_frame(self, tmp_path):
        """Fields have their own packets, half a frame apart. Frames belong to the even packets; 8 and 9 are lost."""
        scanned = scan(written(tmp_path, "h264", "ts"))
        fields = replace(scanned, packets=replace(scanned.packets, pts=1800 * np.arange(40)))
        frames = np.array([n for n in range(0, 40, 2) if n != 8], np.int64)
        found = packets_without_frame(fields, frames, np.ones(len(frames), np.bool_))
        assert found["second fields"].tolist() == [n for n in range(1, 40, 2) if n != 9]
        assert found["without a reason"].tolist() == [8, 9]

    def test_a_frame_lost_between_interlaced_frames_is_no_field(self, tmp_path):
        found = self.reasons(
            written(tmp_path, "h264", "ts"), lost=[7], is_interlaced=lambda packets: packets >= 0
        )
        assert found == {"without a reason": [7]}

    def test_the_beginning_may_not_be_decodable(self, tmp_path):
        found = self.reasons(written(tmp_path, "h264", "mp4"), lost=[0, 1, 5])
        assert found == {"before the first that can be decoded": [0, 1], "without a reason": [5]}

    def test_a_decoder_of_hevc_may_skip_what_leads_up_to_a_keyframe(self, tmp_path):
        path = written(tmp_path, "hevc-open", "mp4")
        packets = scan_video(path, "v").packets
        keyframe = int(np.flatnonzero(packets.is_keyframe)[1])
        leading = [
            n for n in range(keyframe, keyframe + 6) if NO_PTS < packets.pts[n] < packets.pts[keyframe]
        ]
        assert leading
        found = self.reasons(path, lost=[*leading, keyframe - 1])
        assert found == {
            "leading up to a keyframe without the pictures before it": leading,
            "without a reason": [keyframe - 1],
        }

    def test_hidden_pictures_and_other_codecs(self, tmp_path):
        path = written(tmp_path, "vp8", "webm")
        hidden = np.flatnonzero(scan_video(path, "v").packets.hides_picture).tolist()
        assert self.reasons(path, lost=hidden) == ({"not shown": hidden} if hidden else {})
        path = written(tmp_path, "wmv2", "wmv")
        assert self.reasons(path, lost=[3]) == {"of a codec that may code less than a frame a packet": [3]}


def test_a_frame_lost_in_silence_is_damage(tmp_path):
    """A decoder with too small a reorder depth drops a frame without an error."""
    path = written(tmp_path, "h264-late-b", "ts")
    scanned = scan(path)
    unaware = replace(scanned, facts=msgspec.structs.replace(scanned.facts, reorder_depth=0))
    built = build(path, unaware, min_packets=150)
    num_lost = 220 - len(built.frames)
    assert num_lost > 0
    assert built.entry.verdict == "damaged"
    assert f"{counted(num_lost, 'packet')} gave no frame, and nothing says why" in built.entry.reason
    assert built.entry.findings.num_damaged_spans > 0
    with pytest.raises(VideosNotWholeError, match="nothing says why"):
        build(path, unaware, min_packets=150, on_error="fail")


def test_pictures_shown_again_are_of_their_own_packets(tmp_path):
    """VP9 shows a picture again by a packet of one byte. The decoder gives it the tag of the picture's own packet."""
    sample = sample_stream("vp9")
    step = sample.packets[1][1] - sample.packets[0][1]
    packets = []
    for number, (content, pts, dts, duration, is_keyframe) in enumerate(sample.packets):
        packets.append((content, 2 * pts, 2 * dts, duration, is_keyframe))
        shows_again = bytes([0b10_0_0_1_000 | number % 3])
        packets.append((shows_again, 2 * pts + step, 2 * dts + step, duration, False))
    path = tmp_path / "again.webm"
    write_stream(replace(sample, packets=tuple(packets)), path, [(0, len(packets))])
    scanned = scan(path)
    assert scanned.packets.shows_again.sum() == 40
    built = build(path, scanned, min_packets=10)
    assert built.frames == one_pass(path, scanned)
    assert len(built.frames) == 80
    assert built.entry.verdict == "whole"
    assert rising(built.pts_seconds)
    assert count_frames(path, scanned).packet.tolist() == list(range(80))
    store, found = look_up(path, scanned, min_packets=10, seed=1, num=80)
    assert len(store) == 80
    assert found == dict(enumerate(built.frames))


@pytest.mark.parametrize("kind_name", ["snow", "cinepak", "qtrle", "zmbv", "flashsv", "msvideo1"])
def test_codecs_that_promise_nothing_of_keyframes_are_decoded_in_one_piece(tmp_path, kind_name):
    path = written(tmp_path, kind_name, sample_stream(kind_name).kind.suffixes[0])
    scanned = scan(path)
    assert scanned.facts.unsplittable_reason.endswith(" may need what was decoded before them")
    assert scanned.packets.can_start_unit.nonzero()[0].tolist() == [0]
    assert any(
        note.startswith("decoded in one piece") for note in build(path, scanned, min_packets=5).entry.notes
    )


def test_headers_that_break_the_rules_make_a_live_store_count(tmp_path):
    """A NAL unit longer than its packet loses the frame, and the packet table does not show it."""
    sample = sample_stream("h264-b")
    packets = list(sample.packets)
    content = packets[17][0]
    packets[17] = ((1 << 20).to_bytes(4, "big") + content[4:], *packets[17][1:])
    path = tmp_path / "v.mp4"
    write_stream(replace(sample, packets=tuple(packets)), path, [(0, len(packets))])
    scanned = scan(path)
    assert scanned.facts.uncounted_reason == "headers that break the rules of its codec"
    built = build(path, scanned, min_packets=150)
    assert (built.entry.verdict, len(built.frames)) == ("damaged", 39)
    store, found = look_up(path, scanned, min_packets=150, seed=0, num=39)
    assert len(store) == 39
    assert found == dict(enumerate(built.frames))


class HoldingDecoder:
    """Gives its frames only once it has both packets of the first one; `fails` when it is drained before."""

    def __init__(self, *, fails):
        self.fails, self.packets, self.is_drained = fails, [], False

    def decode(self, packet):
        if packet is None:
            self.is_drained = True
            if self.fails:
                raise av.error.InvalidDataError(1, "nothing to drain")
            return []
        assert not self.is_drained, "a drained decoder takes no packet"
        self.packets.append(packet)
        return ["frame"] if len(self.packets) == 2 else []

    def flush_buffers(self):
        self.packets, self.is_drained = [], False


NOTES = SimpleNamespace(without_picture_data=lambda packet: packet)


@pytest.mark.parametrize("fails", [False, True])
def test_a_decoder_that_cannot_be_drained_yet_gets_the_packet_anew(fails):
    decoder = HoldingDecoder(fails=fails)
    first, second = (SimpleNamespace(is_keyframe=True, pts=number) for number in range(2))
    assert packet_pass._decoded(decoder, first, first_of=NOTES) is None
    assert decoder.packets == [first]
    assert packet_pass._decoded(decoder, second, first_of=None) == "frame"


@pytest.mark.parametrize("packet", [{"is_keyframe": False, "pts": 0}, {"is_keyframe": True, "pts": None}])
def test_only_keyframes_with_pts_are_drained(packet):
    decoder = HoldingDecoder(fails=False)
    assert packet_pass._decoded(decoder, SimpleNamespace(**packet), first_of=NOTES) is None
    assert len(decoder.packets) == 1
    assert not decoder.is_drained
