"""A video that points at other files or at the network is refused, and nothing but itself was opened."""

import re
import shutil
import struct
import subprocess
import sys
import sysconfig
from contextlib import closing
from pathlib import Path

import pytest

import frame_store
from cache_builder.cli.exit_status import EXIT_NOT_WHOLE
from cache_builder.video.opening import open_video
from tests.support.commands import SMALL
from tests.support.videos.hand_made_mp4 import HandMadeMp4, full_box, jpeg_picture
from tests.support.videos.tiny_videos import remux, tiny_video

REPOSITORY = Path(__file__).parents[3]
SYSCALLS = "open,openat,openat2,creat,socket,connect,bind"


def alias(path, *, is_relative=False):
    """A QuickTime alias record, as `mov_read_dref` of FFmpeg reads it; a relative one is to a file beside."""
    num_levels = 1 if is_relative else -1
    name, folder = path.name.encode(), str(path).encode()
    record = bytes(10) + b"\x01v" + bytes(26) + bytes(12)
    record += (
        bytes([len(name)]) + name.ljust(63, b"\0") + bytes(16) + struct.pack(">hh", num_levels, num_levels)
    )
    record += bytes(16)
    folder += b"\0" * (len(folder) % 2)
    return full_box(b"alis", record + struct.pack(">HH", 2, len(folder)) + folder + struct.pack(">Hh", 0, -1))


def write_tricks(folder, bait):
    """Files that name `bait`, a video, or a port of this machine; each as .mp4, .mkv and .mov."""
    beside = alias(folder / "bait.bin", is_relative=True)
    by_url = full_box(b"url ", f"file://{bait}".encode() + b"\0")
    dash = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT1S"><Period><AdaptationSet mimeType="video/mp4">'
        f'<Representation id="1" bandwidth="1"><BaseURL>{bait}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>"
    )
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
    tricks = {
        "hls": hls.format(bait),
        "hls_key": hls.format(bait).replace("#EXTINF", f'#EXT-X-KEY:METHOD=AES-128,URI="{bait}"\n#EXTINF'),
        "hls_net": hls.format("http://127.0.0.1:9/x.ts"),
        "hls_data": hls.format("data:video/mp2t;base64,R0AREA=="),
        "hls_concat": hls.format(f"concat:{bait}|{bait}"),
        "data": "data:video/mp4;base64,AAAAHGZ0eXA=",
        "concat": f"ffconcat version 1.0\nfile '{bait}'\n",
        "concat_beside": "ffconcat version 1.0\nfile bait.bin\n",
        "concat_net": "ffconcat version 1.0\nfile http://127.0.0.1:9/x.mp4\n",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
        "dash": dash,
        "imf": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
        "</CompositionPlaylist>",
        "vobsub": "# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n",
        "rtsp": "[Reference]\nRef1=http://127.0.0.1:9/x\n",
        "smil": f'<smil><body><video src="{bait}"/></body></smil>',
        "lavfi": f"movie={bait}",
        "alias": HandMadeMp4(picture=bytes(500), data_reference=alias(bait)).to_bytes(),
        "alias_beside": HandMadeMp4(picture=bytes(500), data_reference=beside).to_bytes(),
        "url": HandMadeMp4(picture=bytes(500), data_reference=by_url).to_bytes(),
    }
    for name, content in tricks.items():
        for suffix in (".mp4", ".mkv", ".mov"):
            path = folder / (name + suffix)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    for name in ("sequence%03d.mp4", "sequence%d.mjpeg", "*.mkv"):  # names that an image sequence could have
        (folder / name).write_bytes(jpeg_picture()[:100])
    return {path.name for path in folder.iterdir()}


def opened_by(log):
    """Paths that were opened, read or not, and the lines about sockets of the network."""
    text = log.read_text(errors="surrogateescape")
    paths = {Path(name) for name in re.findall(r'\bopen(?:at2?)?\([^"]*"([^"]*)"', text)}
    network = [line for line in text.splitlines() if "AF_INET" in line]
    return paths, network


def strace(log, *command, **options):
    command = ["strace", "-f", "-qq", "-s", "4096", "-e", f"trace={SYSCALLS}", "-o", log, *command]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


@pytest.fixture
def traced(tmp_path):
    """Skips where there is no strace, or where it may not trace."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: what FFmpeg opens cannot be seen")
    if strace(tmp_path / "probe", "true").returncode:
        pytest.skip("strace may not trace processes here")
    return tmp_path


def test_tricks_open_no_other_file_and_no_socket(traced):
    bait = tiny_video(traced, path=Path("bait.mp4"), num_frames=3).path
    folder = traced / "videos"
    folder.mkdir()
    tricks = write_tricks(folder, bait)
    (folder / "bait.bin").write_bytes(bait.read_bytes())
    (folder / "sequence001.png").write_bytes(b"")
    good = tiny_video(folder, path=Path("good.mp4"), num_frames=3).path
    recording = folder / "good.wtv"
    remux(tiny_video(traced, path=Path("a.mpg"), codec="mpeg2video", num_frames=3).path, recording)
    goods = {good.name, recording.name}
    output = traced / "out" / "cache"
    output.parent.mkdir()
    program = Path(sys.executable).with_name("cache-build")
    result = strace(
        traced / "log", program, "--videos", folder, "--out", output, *SMALL, "--on-error", "skip"
    )
    assert result.returncode == EXIT_NOT_WHOLE, result.stderr
    videos = {video.path: video for video in frame_store.open_store(output).video_entries}
    assert set(videos) == tricks | goods
    assert {name for name, video in videos.items() if video.verdict != "unreadable"} == goods
    for name, video in videos.items():
        if name.startswith(("concat", "sdp")):
            assert "not a video" in video.reason, name

    opened, network = opened_by(traced / "log")
    assert not network
    in_folder = {path.name for path in opened if folder in path.parents}
    assert in_folder == tricks | goods
    ours = (output.parent, REPOSITORY, Path(sys.prefix), Path(sys.base_prefix), *map(Path, sys.path))
    system = tuple(map(Path, ("/usr", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev", "/opt")))
    allowed = (folder, *ours, *system, Path(sysconfig.get_paths()["stdlib"]))
    for path in opened:
        assert not path.is_absolute() or any(path.is_relative_to(root) for root in allowed), path
    assert bait not in opened


@pytest.mark.parametrize(("protocols", "num_packets"), [("", 0), ("file", 1)])
def test_no_protocol_is_left_to_open_another_file_with(tmp_path, monkeypatch, protocols, num_packets):
    """Were references followed, there would still be none; with one, the trick shows."""
    bait = tiny_video(tmp_path, path=Path("bait.mp4"), num_frames=3).path
    folder = tmp_path / "videos"
    folder.mkdir()
    write_tricks(folder, bait)
    options = open_video._DEMUXER_OPTIONS
    assert options["protocol_whitelist"] == ""
    follows = options | {"enable_drefs": "1", "use_absolute_path": "1", "protocol_whitelist": protocols}
    monkeypatch.setattr(open_video, "_DEMUXER_OPTIONS", follows)
    with closing(open_video.open_container(folder / "alias.mov", "alias.mov")) as opened:
        stream = open_video.choose_video_stream(opened.container, "alias.mov")
        assert len(list(open_video.read_packets(opened, stream))) == num_packets


def test_the_tricks_are_tricks(traced):
    """FFmpeg without our options falls for them, and this is how it would show."""
    bait = tiny_video(traced, path=Path("bait.mp4"), num_frames=3).path
    folder = traced / "videos"
    folder.mkdir()
    write_tricks(folder, bait)
    (folder / "bait.bin").write_bytes(bait.read_bytes())
    everything = {"protocol_whitelist": "file,http,tcp", "safe": "0"}
    drefs = {"enable_drefs": "1", "use_absolute_path": "1"}
    attempts = {
        "concat.mp4": everything,
        "concat_net.mkv": everything,
        "alias.mov": drefs,
        "alias_beside.mp4": drefs,
    }
    code = (
        f"import av\nfor name, options in {attempts}.items():\n"
        "    try:\n        av.open(name, container_options=options)\n"
        "    except Exception as error:\n        print(name, repr(error))\n"
    )
    result = strace(traced / "log", sys.executable, "-c", code, cwd=folder)
    assert result.returncode == 0, result.stderr
    opened, network = opened_by(traced / "log")
    assert network, result.stdout
    assert {path.name for path in opened} >= {bait.name, "bait.bin"}, result.stdout
    assert (traced / "log").read_text().count(f'"{bait}"') == 2, result.stdout  # concat's and the alias's
