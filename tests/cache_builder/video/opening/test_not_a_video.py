"""Files with the name of a video: the message names what the file is instead, or what it lacks."""

import gzip
import io
import json
import re
import tarfile
import zipfile
from pathlib import Path

import av
import numpy as np
import pytest

from cache_builder.errors import VideoError
from cache_builder.video.opening.not_a_video import name_what_it_is
from cache_builder.video.scan.video_scan import scan_video
from tests.support.videos.hand_made_mp4 import jpeg_picture
from tests.support.videos.tiny_videos import remux, tiny_video

LFS_POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


def zip_file() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.mp4", bytes(100))
    return file.getvalue()


def tar_file() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.mp4"), io.BytesIO())
    return file.getvalue()


def numpy_file() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(100))
    return file.getvalue()


FILES = {
    "a Git LFS pointer": (LFS_POINTER.encode(), "Git LFS pointer"),
    "a git-annex pointer": (b"/annex/objects/SHA256E-s1--0.mp4\n", "git-annex pointer"),
    "a page": (b"<!DOCTYPE html>\n<html><head><title>Sign in</title>", "an HTML page"),
    "a page in capitals": (b"\n\n  <HTML><BODY>Not found", "an HTML page"),
    "a page with a mark and a comment": (b"\xef\xbb\xbf<!-- proxy -->\n<html lang=en>", "an HTML page"),
    "XHTML": (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x">', "an HTML page"),
    "an error of a store": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code>', "an XML document"),
    "JSON": (json.dumps({"error": "not found"}).encode(), "JSON"),
    "JSON, a list": (json.dumps([{"a": 1}], indent=1).encode(), "JSON"),
    "an HLS playlist": (b"#EXTM3U\n#EXT-X-VERSION:3\n", "an HLS playlist"),
    "a DASH playlist": (b'<?xml version="1.0"?>\n<MPD xmlns="urn">', "a DASH playlist"),
    "a ZIP archive": (zip_file(), "a ZIP archive"),
    "a tar archive": (tar_file(), "a tar archive"),
    "compressed": (gzip.compress(b"video"), "compressed by gzip"),
    "an array": (numpy_file(), "a NumPy array"),
    "zeros": (bytes(200_000), "nothing but zeros"),
    "a PDF": (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
    "a message": (
        "Zugriff verweigert: Ümläute\n".encode(),
        "text, not a video; it begins 'Zugriff verweigert",
    ),
    "a message with a mark": (b"\xef\xbb\xbfAccess denied\n", "text, not a video; it begins 'Access denied'"),
    "many comments": (b"<!---->" * 1000, "text, not a video; it begins '<!---->"),
}


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".h264", ".mjpeg"])
@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_is_no_video_is_named(tmp_path, kind, suffix):
    """Whatever the name is: FFmpeg takes some files for bare streams by their extension alone."""
    content, name = FILES[kind]
    path = tmp_path / f"v{suffix}"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=re.escape(name)):
        scan_video(path, path.name)


def test_a_still_image_is_named_and_a_stream_of_images_is_not(tmp_path):
    path = tmp_path / "v.mp4"
    path.write_bytes(jpeg_picture())
    assert name_what_it_is(path, was_opened=False) == "a still image, not a video"
    assert name_what_it_is(path, was_opened=True) is None


@pytest.mark.parametrize("letter", ["a", "ü", "漢", "🎥"])
@pytest.mark.parametrize("num_before", range(4))
def test_a_long_text_is_one_wherever_its_beginning_is_cut(tmp_path, letter, num_before):
    path = tmp_path / "v.mp4"
    path.write_text("-" * num_before + letter * 5000, encoding="utf-8")
    assert name_what_it_is(path, was_opened=False).startswith("text, not a video; it begins")


def test_no_video_is_taken_for_something_else(sample_folder):
    for spec in sample_folder.specs:
        what = name_what_it_is(spec.path, was_opened=True)
        assert what is None, spec.path


def annex_b_units(content: bytes) -> list[bytes]:
    """NAL units with their start codes."""
    starts = [match.start() for match in re.finditer(b"\0\0\1", content)]
    return [content[one:end] for one, end in zip(starts, [*starts[1:], len(content)], strict=True)]


class TestWhatIsMissing:
    @pytest.mark.parametrize("suffix", [".h264", ".ts"])
    @pytest.mark.parametrize(("kind", "name"), [(7, "(SPS)"), (8, "(PPS)")])
    def test_h264_parameter_sets(self, tmp_path, kind, name, suffix):
        whole = tiny_video(tmp_path, path=Path("a.h264"), gop_size=8).path
        path = tmp_path / f"cut{suffix}"
        units = annex_b_units(whole.read_bytes())
        bare = tmp_path / "bare.h264"
        bare.write_bytes(b"".join(unit for unit in units if unit[3] & 31 != kind))
        if suffix == ".ts":
            remux_bare(bare, path)
        else:
            bare.rename(path)
        with pytest.raises(VideoError, match="none of its frames can be decoded: it has no") as caught:
            scan_video(path, path.name)
        assert name in caught.value.reason
        assert ("(SPS)" in caught.value.reason) != ("(PPS)" in caught.value.reason)

    @pytest.mark.parametrize(("kind", "name"), [(32, "(VPS)"), (33, "(SPS)"), (34, "(PPS)")])
    def test_hevc_parameter_sets(self, tmp_path, kind, name):
        mp4 = tiny_video(tmp_path, path=Path("a.mp4"), codec="hevc", gop_size=8).path
        remux(mp4, tmp_path / "whole.hevc")
        path = tmp_path / "cut.hevc"
        units = annex_b_units((tmp_path / "whole.hevc").read_bytes())
        path.write_bytes(b"".join(unit for unit in units if unit[3] >> 1 & 63 != kind))
        with pytest.raises(VideoError, match=re.escape(name)):
            scan_video(path, path.name)

    def test_keyframes(self, tmp_path):
        whole = tiny_video(tmp_path, path=Path("a.mkv"), num_frames=20, gop_size=8).path
        remux(whole, tmp_path / "cut.mp4", without={0, 8, 16})
        with pytest.raises(VideoError, match="it has no keyframe among 17 packets"):
            scan_video(tmp_path / "cut.mp4", "cut.mp4")

    def test_the_other_half_of_a_fragmented_mp4(self, tmp_path):
        whole = tiny_video(tmp_path, path=Path("a.mkv")).path
        fragments = tmp_path / "fragments.mp4"
        remux(whole, fragments, options={"movflags": "frag_keyframe+empty_moov+default_base_moof"})
        content = fragments.read_bytes()
        place = content.index(b"moof") - 4
        (tmp_path / "init.mp4").write_bytes(content[:place])
        (tmp_path / "media.mp4").write_bytes(content[place:])
        with pytest.raises(VideoError, match="an init segment without its media segments"):
            scan_video(tmp_path / "init.mp4", "init.mp4")
        with pytest.raises(VideoError, match="media segments without their init segment"):
            scan_video(tmp_path / "media.mp4", "media.mp4")
        (tmp_path / "joined.mp4").write_bytes(content[:place] + content[place:])
        assert scan_video(tmp_path / "joined.mp4", "joined.mp4").facts.num_packets == len(
            scan_video(whole, "a.mkv").packets
        )


def remux_bare(source: Path, target: Path) -> None:
    """A bare stream has no timestamps, so it gets 25 frames a second."""
    with av.open(str(source)) as bare, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(bare.streams.video[0])
        for number, packet in enumerate(bare.demux(video=0)):
            if packet.size:
                packet.stream, packet.pts = stream, 3600 * (number + 5)
                packet.dts = packet.pts
                container.mux(packet)
