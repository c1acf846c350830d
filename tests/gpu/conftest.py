"""Videos for the tests on a GPU: every codec, every kind in real folders, and the user's videos."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from frame_cache_tools.samples.numbered_videos import NumberedVideo, write_numbered_video
from frame_cache_tools.samples.sample_videos import KINDS, sample_specs

USERS_VIDEOS = "FRAME_CACHE_GPU_VIDEOS"
"""Variable with a folder of more videos, for the tests that run over all videos."""


def codec_specs():
    """HD videos of each codec, then videos below NVDEC's minimum size for some codecs."""
    made = [
        ("00_h264.mp4", "h264", "yuv420p", 2),
        ("01_hevc.mp4", "hevc", "yuv420p", 2),
        ("02_hevc_10bit.mkv", "hevc", "yuv420p10le", 2),
        ("03_vp9.webm", "vp9", "yuv420p", 0),
        ("04_av1.mp4", "av1", "yuv420p", 0),
        ("05_h264_10bit.mp4", "h264", "yuv420p10le", 2),
    ]
    large = [
        NumberedVideo(
            path=Path(name),
            video_number=number,
            num_frames=60,
            width=1280,
            height=720,
            codec=codec,
            pixel_format=pixel_format,
            num_b_frames=num_b_frames,
            gop_size=12,
        )
        for number, (name, codec, pixel_format, num_b_frames) in enumerate(made)
    ]
    # 1080 is no multiple of 16. (x265 overruns its memory on pictures under 64 pixels.)
    large.append(replace(large[0], path=Path("06_h264_1080p.mp4"), width=1920, height=1080, gop_size=30))
    tiny = [
        NumberedVideo(path=Path(f"07_tiny_{codec}.mp4"), num_frames=12, width=side, height=side, codec=codec)
        for codec, side in (("h264", 44), ("hevc", 64))
    ]
    return [*large, *tiny]


def all_specs():
    kinds = [replace(spec, num_frames=min(spec.num_frames, 60)) for spec in sample_specs(len(KINDS))]
    return [*codec_specs(), *(replace(spec, path=Path(spec.path.name)) for spec in kinds)]


def users_videos():
    from cache_builder.sources import discover_videos

    folder = os.environ.get(USERS_VIDEOS)
    return [] if folder is None else [video.path for video in discover_videos(Path(folder))]


def pytest_generate_tests(metafunc):
    if "video" in metafunc.fixturenames:
        videos = [*all_specs(), *users_videos()]
        names = [str(video) if isinstance(video, Path) else video.path.name for video in videos]
        metafunc.parametrize("video", videos, ids=names, indirect=True)


@pytest.fixture
def video(request, tmp_path):
    """A video, alone in its folder."""
    folder = tmp_path / "video"
    folder.mkdir()
    if isinstance(request.param, Path):
        (folder / request.param.name).symlink_to(request.param.resolve())
        return folder / request.param.name
    spec = replace(request.param, path=folder / request.param.path)
    write_numbered_video(spec)
    return spec.path


@pytest.fixture(scope="session")
def codec_videos(tmp_path_factory):
    """A folder of the first videos: H.264, HEVC, HEVC of 10 bits, VP9, AV1 and H.264 of 10 bits."""
    folder = tmp_path_factory.mktemp("codecs")
    for spec in codec_specs()[:6]:
        write_numbered_video(replace(spec, path=folder / spec.path))
    return folder
