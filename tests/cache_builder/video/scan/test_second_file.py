"""Files joined end to end. If FFmpeg stops at the joint, the video is not whole."""

import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from cache_builder.build.pipeline import run_build
from cache_builder.errors import VideosNotWholeError
from cache_builder.settings import BuildSettings, RunOptions, resolve
from cache_builder.video.packets.table import PACKET_COLUMNS, PacketTable
from cache_builder.video.scan.second_file import find_second_file
from cache_builder.video.scan.video_scan import scan_video
from frame_store.frame_findings import DamagedSpan
from tests.support.videos.hand_made_mp4 import box
from tests.support.videos.tiny_videos import remux, tiny_video

NUM_FRAMES = 9
CONFIG = resolve(BuildSettings(encoding="raw", size=32))[0]

STOPS = {
    "a.mp4": ("h264", {}),
    "faststart.mp4": ("h264", {"movflags": "faststart"}),
    "fragments.mp4": ("h264", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    "a.mov": ("mpeg4", {}),
    "a.flv": ("h264", {}),
    "a.asf": ("mpeg4", {}),
    "a.nut": ("mpeg4", {}),
    "a.ivf": ("vp8", {}),
}
"""Files whose demuxer stops after the first file, or takes the second for a packet."""
GOES_ON = {"a.mkv": ("h264", {}), "a.webm": ("vp8", {}), "a.avi": ("mpeg4", {}), "a.ogv": ("vp8", {})}


def make(folder: Path, name: str, codec: str, options: dict[str, str]) -> Path:
    """A video in that container. Videos that the tools do not write directly are remuxed."""
    source = tiny_video(folder / "source", path=Path("a.mkv"), num_frames=NUM_FRAMES, codec=codec).path
    target = folder / name
    remux(source, target, options=options)
    return target


def join(path: Path, *others: Path) -> Path:
    """The file with other files, or a copy of itself, after it."""
    joined = path.with_name(f"joined_{path.name}")
    joined.write_bytes(b"".join(one.read_bytes() for one in (path, *(others or (path,)))))
    return joined


@pytest.mark.parametrize("name", STOPS)
def test_a_second_file_that_is_not_read_is_damage_at_the_joint(tmp_path, name):
    path = make(tmp_path, name, *STOPS[name])
    num_bytes = path.stat().st_size
    videos = tmp_path / "in"
    videos.mkdir()
    shutil.move(join(path), videos / name)
    scan = scan_video(videos / name, name)
    assert scan.facts.second_file is not None
    assert scan.facts.second_file.offset == num_bytes
    assert not scan.facts.second_file.is_read
    if name == "a.flv":
        with pytest.raises(
            VideosNotWholeError, match=f"FLV file begins at byte {num_bytes:,}, after packet 8"
        ):
            run_build(videos, tmp_path / "cache", CONFIG, RunOptions(workers=1))
    report = run_build(videos, tmp_path / "cache", CONFIG, RunOptions(workers=1, on_error="skip"))
    (video,) = report.videos
    assert video.verdict == "damaged"
    assert "joined end to end" in video.reason
    assert "was not read" in video.reason
    assert not any("edit list" in note for note in video.notes)
    span = video.findings.damaged_spans[-1]
    assert isinstance(span, DamagedSpan)
    assert span.first_packet == scan.facts.second_file.packet_before
    assert video.num_frames_stored >= NUM_FRAMES


@pytest.mark.parametrize("name", GOES_ON)
def test_a_second_file_that_is_read_is_told(tmp_path, name):
    path = make(tmp_path, name, *GOES_ON[name])
    scan = scan_video(join(path), name)
    assert scan.facts.second_file is not None
    assert scan.facts.second_file.offset == path.stat().st_size
    assert scan.facts.second_file.num_packets_behind >= NUM_FRAMES
    assert scan.facts.second_file.packet_before == NUM_FRAMES - 1


def test_the_place_is_the_first_of_several_joints(tmp_path):
    path = make(tmp_path, "a.flv", *STOPS["a.flv"])
    scan = scan_video(join(path, path, path), "a.flv")
    assert scan.facts.second_file.offset == path.stat().st_size


def test_a_second_file_that_is_cut_off_counts_too(tmp_path):
    path = make(tmp_path, "a.mp4", *STOPS["a.mp4"])
    joined = join(path)
    joined.write_bytes(joined.read_bytes()[:-200])
    assert not scan_video(joined, "a.mp4").facts.second_file.is_read


def test_old_quicktime_files_begin_without_a_type(tmp_path):
    path = make(tmp_path, "a.mov", *STOPS["a.mov"])
    content = path.read_bytes()
    assert content[4:8] == b"ftyp"
    path.write_bytes(content[:4] + b"skip" + content[8:])
    scan = scan_video(join(path), "a.mov")
    assert not scan.facts.second_file.is_read


def test_whole_files_of_every_container_have_none(sample_folder, tmp_path):
    for spec in sample_folder.specs:
        assert scan_video(spec.path, spec.path.name).facts.second_file is None
    for name, (codec, options) in (STOPS | GOES_ON).items():
        path = make(tmp_path / name, f"made_{name}", codec, options)
        assert scan_video(path, name).facts.second_file is None


@pytest.mark.parametrize(
    "tail",
    [
        box(b"free", bytes(5000)),
        box(b"uuid", bytes(16), b"GoPro" * 100),
        box(b"mdat", bytes(3000)),
        bytes(4096),
        b"trailing text of a camera\n" * 100,
        b"TAG" + bytes(125),  # ID3v1
        # A file inside a box is a part of the file.
        box(b"free", box(b"ftyp", b"isom", bytes(4)), box(b"moov", bytes(8))),
    ],
)
def test_what_else_lies_after_the_last_packet_is_no_second_file(tmp_path, tail):
    path = make(tmp_path, "a.mp4", *STOPS["a.mp4"])
    path.write_bytes(path.read_bytes() + tail)
    scan = scan_video(path, "a.mp4")
    assert scan.facts.second_file is None
    assert len(scan.packets) == NUM_FRAMES


def test_a_file_inside_a_packet_is_what_the_packet_holds(tmp_path):
    """Raw pixels may contain anything, in this case the exact beginning of a NUT file."""
    magic = np.frombuffer(b"nut/multimedia container\0" * 60, np.uint8)
    path = tmp_path / "a.nut"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "rgb24"
        for number in range(5):
            pixels = np.full((32, 32, 3), number, np.uint8)
            pixels.reshape(-1)[500 : 500 + len(magic)] = magic
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    assert path.read_bytes().count(bytes(magic)) == 5
    assert scan_video(path, "a.nut").facts.second_file is None


def packets_at(*places: tuple[int, int]) -> PacketTable:
    """Packets with those positions and sizes, all shown and intact."""
    columns = {name: np.zeros(len(places), dtype) for name, dtype in PACKET_COLUMNS.items()}
    columns["pos"][:] = [pos for pos, _ in places]
    columns["size"][:] = [size for _, size in places]
    return PacketTable(**columns)


class TestFindSecondFile:
    def test_before_any_packet_there_is_no_joint(self):
        assert find_second_file([50], "flv", packets_at((100, 50), (200, 50))) is None

    def test_a_later_place_counts_where_the_first_is_inside_a_packet(self):
        found = find_second_file([120, 300], "flv", packets_at((100, 50), (200, 50)))
        assert (found.offset, found.packet_before, found.num_packets_behind) == (300, 1, 0)

    def test_packets_of_unknown_position_tell_nothing(self):
        found = find_second_file([300], "flv", packets_at((100, 50), (-1, 50), (400, 50)))
        assert (found.packet_before, found.num_packets_behind) == (0, 1)
