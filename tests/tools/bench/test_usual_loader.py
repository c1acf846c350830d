"""The usual loader finds the right frames, and `unservable` names the videos in which it would not."""

import builtins
from pathlib import Path

import numpy as np
import pytest
import torch
from frame_cache_tools.bench.usual_loader import (
    INSTALL_HINT,
    UsualLoaderError,
    UsualVideo,
    UsualVideos,
    unservable,
    usual_transforms,
)
from frame_cache_tools.samples.numbered_videos import read_frame

from tests.support.videos.tiny_videos import tiny_video

pytest.importorskip("PIL.Image", reason="the usual loader needs pillow")


def spelled(image):
    return read_frame(np.asarray(image))


@pytest.mark.parametrize("overrides", [{}, {"num_b_frames": 2}, {"path": "a.mov"}])
def test_an_index_gives_its_frame_as_a_pil_image(tmp_path, overrides):
    overrides = {name: Path(value) if name == "path" else value for name, value in overrides.items()}
    video = tiny_video(tmp_path, num_frames=30, video_number=5, gop_size=8, **overrides)
    assert unservable(video.path) is None
    frames = UsualVideo(video.path, lambda image: image)
    assert len(frames) == 30
    for index in (29, 0, 13, 12, 7, 8):
        image = frames[index]
        assert type(image).__module__.startswith("PIL.")
        assert image.size == (video.width, video.height)
        assert spelled(image) == (5, index)
    frames.close()


def test_many_videos_are_one_row_of_frames(tmp_path):
    videos = [
        tiny_video(tmp_path, path=Path(f"{number}.mp4"), num_frames=num_frames, video_number=number)
        for number, num_frames in enumerate((5, 1, 9))
    ]
    frames = UsualVideos([video.path for video in videos], lambda image: image)
    found = [spelled(frames[index]) for index in range(len(frames))]
    assert found == [(number, index) for number, size in enumerate((5, 1, 9)) for index in range(size)]


def test_the_transforms_make_what_a_model_is_fed(tmp_path):
    pytest.importorskip("torchvision")
    video = tiny_video(tmp_path, num_frames=3)
    image = UsualVideo(video.path, usual_transforms())[1]
    assert image.dtype == torch.float32
    assert image.shape == (3, 224, 224)
    assert 0 <= image.min() < image.max() <= 1
    names = [type(step).__name__ for step in usual_transforms().transforms]
    assert names == ["RandomResizedCrop", "ToTensor", "ColorJitter"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"path": "a.mkv"}, "does not state duration and number of frames"),
        ({"path": "a.mp4", "variable_rate": True}, "frames have another pts"),
        ({"path": "a.ts"}, "does not state"),
    ],
)
def test_what_it_cannot_serve_is_known_from_the_packets(tmp_path, overrides, said):
    video = tiny_video(tmp_path, **{**overrides, "path": Path(overrides["path"])})
    assert said in unservable(video.path)
    if "does not state" in said:
        with pytest.raises(UsualLoaderError, match="does not state"):
            UsualVideo(video.path, lambda image: image)
    else:
        frames = UsualVideo(video.path, lambda image: image)
        with pytest.raises(UsualLoaderError, match="no frame has pts"):
            [frames[index] for index in range(len(frames))]
        frames.close()


def test_what_is_no_video_is_told(tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    assert "Invalid data" in unservable(tmp_path / "a.mp4")


def test_without_torchvision_it_says_how_to_install_it(monkeypatch):
    real_import = builtins.__import__

    def without_torchvision(name, *arguments, **keywords):
        if name.startswith("torchvision"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_torchvision)
    with pytest.raises(ModuleNotFoundError) as raised:
        usual_transforms()
    assert str(raised.value) == INSTALL_HINT
    assert "pip install torchvision pillow" in INSTALL_HINT
