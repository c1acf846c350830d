"""Packets lost before a file was written: what the decoder makes of that is named, whatever the container."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import av
import av.logging
import pytest
from av.bitstream import BitStreamFilterContext

import frame_store
from cache_builder.cli.exit_status import EXIT_NOT_WHOLE
from cache_builder.video.decode import units as units_module
from cache_builder.video.ffmpeg_log.capture import capture_log
from cache_builder.video.ffmpeg_log.decoder import DecoderLog, decoder_log
from tests.support.caches.numbered_store import shown_numbers
from tests.support.commands import SMALL, run
from tests.support.videos.tiny_videos import remux, tiny_video

GOP = 20
NUM_FRAMES = 60
LOST = (GOP + 5, GOP + 6)
LEADING = 2 * GOP - 2
CODECS = {
    "h264": {"codec": "h264"},
    "h264_bframes": {"codec": "h264", "num_b_frames": 2},
    "h264_open": {"codec": "h264", "num_b_frames": 3, "open_gop": True},
    "hevc": {"codec": "hevc"},
    "hevc_open": {"codec": "hevc", "num_b_frames": 3, "open_gop": True},
}
CONTAINERS = {"h264_bframes": (".mp4", ".avi"), "h264_open": (".ts", ".avi")}
FILES = [(name, suffix) for name in CODECS for suffix in CONTAINERS.get(name, (".mp4",))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Each of `FILES` as it was made, with packets lost, and from the middle of a GOP on."""
    folder = tmp_path_factory.mktemp("lost") / "videos"
    folder.mkdir()
    for name, suffix in FILES:
        path = Path(f"{name}_clean{suffix}")
        made = tiny_video(folder, path=path, num_frames=NUM_FRAMES, gop_size=GOP, **CODECS[name]).path
        remux(made, folder / f"{name}_lost{suffix}", without=LOST)
        if suffix != ".avi":
            remux(made, folder / f"{name}_late.mkv", without=range(7))
    # The lost picture comes after a keyframe and leads up to it: two units decode it, and one of them must report it.
    remux(folder / "h264_open_clean.avi", folder / "leading.avi", without=[LEADING])
    # An intra refresh counts as a keyframe, and is predicted from what came before it.
    refresh = tiny_video(
        folder, path=Path("refresh.mp4"), gop_size=GOP, num_frames=NUM_FRAMES, intra_refresh=True
    )
    remux(refresh.path, folder / "refresh_lost.mkv", without=[GOP - 1])
    # A bare stream has no timestamps: only the order of its packets shows what leads up to a keyframe.
    tiny_video(
        folder,
        path=Path("bare.h264"),
        gop_size=12,
        num_frames=NUM_FRAMES,
        num_b_frames=3,
        open_gop=True,
        encoder_options=(("preset", "medium"),),  # several references
    )
    layers = folder / "layers.mp4"
    shutil.copy(folder / "h264_lost.mp4", layers)
    allow_gaps(layers)
    return folder


@pytest.fixture(scope="module")
def store(folder):
    """All of them, built."""
    output = folder.with_name("cache")
    result = run("--videos", folder, "--out", output, *SMALL, "--on-error", "skip")
    assert result.exit_code == EXIT_NOT_WHOLE
    return frame_store.open_store(output)


@pytest.fixture(scope="module")
def entries(store):
    """The manifest's entries by name."""
    return {video.path: video for video in store.video_entries}


@pytest.mark.parametrize(("name", "suffix"), FILES)
def test_what_leans_on_them_is_named_and_no_more(entries, name, suffix):
    lost = entries[f"{name}_lost{suffix}"]
    assert lost.verdict == "damaged"
    assert "a picture before it is missing" in lost.reason
    (span,) = lost.findings.damaged_spans
    assert span.first_packet == LOST[0]
    # Up to the next keyframe; H.264 with an open GOP keeps what it had before it, see `frame_truth`.
    ends = {2 * GOP - len(LOST) - 1, 2 * GOP - len(LOST)} if name != "h264_open" else {57}
    assert span.last_packet in ends


@pytest.mark.parametrize(("name", "suffix"), FILES)
def test_nothing_is_said_of_the_others(entries, name, suffix):
    clean = entries[f"{name}_clean{suffix}"]
    assert (clean.verdict, clean.num_frames_stored) == ("whole", NUM_FRAMES)


@pytest.mark.parametrize("name", CODECS)
def test_a_recording_that_begins_between_keyframes_is_whole(entries, name):
    late = entries[f"{name}_late.mkv"]
    assert late.verdict == "whole"
    assert late.num_frames_stored >= NUM_FRAMES - GOP - 1
    (note,) = (note for note in late.notes if "packets gave" in note)
    assert f" packets gave {late.num_frames_stored} frames: " in note
    assert note.endswith(" before the first that can be decoded")


def test_a_picture_that_leads_up_to_a_keyframe(entries):
    (span,) = entries["leading.avi"].findings.damaged_spans
    assert span.first_packet == LEADING
    assert "1 decoder error " in entries["leading.avi"].reason


def test_an_intra_refresh_needs_what_was_before_it(store, entries):
    assert entries["refresh.mp4"].verdict == "whole"
    lost = entries["refresh_lost.mkv"]
    (span,) = lost.findings.damaged_spans
    # As everywhere: the packet before what is called a keyframe.
    assert (span.first_packet, span.last_packet) == (GOP - 2, NUM_FRAMES - 2)
    numbers, spelled = shown_numbers(store, store.video_entries.index(lost))
    trusted = span.first_frame
    assert numbers[:trusted] == spelled[:trusted]
    assert trusted == GOP - 2


def test_a_bare_stream_is_whole(entries):
    assert (entries["bare.h264"].verdict, entries["bare.h264"].num_frames_stored) == ("whole", NUM_FRAMES)


def test_an_h264_stream_may_say_that_pictures_are_left_out(entries):
    assert entries["layers.mp4"].verdict == "whole"


def test_units_change_nothing(folder, store, tmp_path, monkeypatch):
    monkeypatch.setattr(units_module, "MIN_PACKETS_PER_UNIT", 1)
    flags = ("--size", "64", "--workers", "1", "--on-error", "skip")
    assert run("--videos", folder, "--out", tmp_path / "cut", *flags).exit_code == EXIT_NOT_WHOLE
    cut, whole = (
        [(video.path, video.reason, video.findings) for video in each.video_entries]
        for each in (frame_store.open_store(tmp_path / "cut"), store)
    )
    assert cut == whole


@pytest.mark.parametrize(("name", "suffix"), [file for file in FILES if file[1] == ".mp4"])
def test_every_frame_outside_the_span_is_right(store, entries, name, suffix):
    video = entries[f"{name}_lost{suffix}"]
    (span,) = video.findings.damaged_spans
    numbers, spelled = shown_numbers(store, store.video_entries.index(video))
    in_span = [] if span.first_frame is None else range(span.first_frame, span.last_frame + 1)
    trusted = [place for place in range(len(numbers)) if place not in in_span]
    assert [numbers[place] for place in trusted] == [spelled[place] for place in trusted]
    assert {numbers[place] for place in trusted} >= {*range(GOP + 3), *range(2 * GOP, NUM_FRAMES)}


def allow_gaps(path):
    """Set gaps_in_frame_num_allowed_flag in the one sequence parameter set of an MP4."""
    with av.open(str(path)) as container, capture_log(av.logging.INFO) as lines:
        stream = container.streams.video[0]
        extradata = bytes(stream.codec_context.extradata)
        BitStreamFilterContext("trace_headers", stream)
        (bit,) = (int(text.split()[0]) for _, _, text in lines if "gaps_in_frame_num_allowed_flag" in text)
    size = int.from_bytes(extradata[6:8], "big")
    parameters = extradata[8 : 8 + size]  # ISO/IEC 14496-15, 5.3.3.1
    changed = bytearray(parameters)
    changed[bit // 8] |= 0x80 >> bit % 8
    content = path.read_bytes()
    assert content.count(parameters) == 1
    assert changed != parameters
    path.write_bytes(content.replace(parameters, bytes(changed)))


class TestDecoderLog:
    def test_takes_the_complaint_of_its_codec_and_forgets_the_rest(self):
        messages = [
            (16, "hevc", "Error constructing the frame RPS."),
            (16, "hevc", "Could not find ref with POC 6\n"),
        ]
        log = DecoderLog("hevc", messages)
        assert log.take(NO_STREAM) == "Could not find ref with POC 6: a picture before it is missing"
        assert messages == []
        assert log.take(NO_STREAM) is None
        messages.append((48, "hevc", "Frame num gap 7 5"))
        assert log.take(NO_STREAM) is None

    def test_parameters_that_cannot_be_read_excuse_nothing(self, monkeypatch):
        def refuse(*arguments):
            raise av.error.InvalidDataError(1, "unit 0")

        monkeypatch.setattr("cache_builder.video.ffmpeg_log.decoder.BitStreamFilterContext", refuse)
        log = DecoderLog("h264", [(48, "h264", "Frame num gap 7 5\n")])
        assert log.take(NO_STREAM) == "Frame num gap 7 5: a picture before it is missing"

    def test_does_not_listen_to_decoders_that_say_nothing_of_use(self):
        level = av.logging.get_level()
        with decoder_log("vp9") as log:
            assert log is None
            assert av.logging.get_level() == level


NO_STREAM = SimpleNamespace(codec_context=None)
