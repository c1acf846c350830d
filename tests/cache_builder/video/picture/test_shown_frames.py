"""Frames of whole videos, on the CPU and, by the same code on tensors of the CPU, on a GPU: cut, turned and widened."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from cache_builder.gpu.convert import FrameKind, YuvConverters
from cache_builder.gpu.yuv_format import YuvFormat
from cache_builder.video.picture.convert import FrameConverter
from cache_builder.video.picture.geometry import WHOLE_PICTURE, ContainerCrop, FrameGeometry, with_aspect
from tests.support.videos.presentations import presentation
from tests.support.videos.yuv_reference import make_frame, random_yuv, through_filter


@settings(max_examples=60, deadline=None)
@given(
    crop=st.tuples(*[st.integers(0, 9)] * 4),
    is_mirrored=st.booleans(),
    rotation=st.sampled_from([0, 90, 180, 270]),
    resize=st.sampled_from(["crop", "stretch", "pad"]),
    subsampling=st.sampled_from([(2, 2), (1, 1)]),
)
def test_what_the_container_cuts_off_is_as_if_it_had_never_been(
    *, crop, is_mirrored, rotation, resize, subsampling
):
    left, right, top, bottom = crop
    pixel_format = {(2, 2): "yuv420p", (1, 1): "yuv444p"}[subsampling]
    planes = random_yuv(np.random.default_rng(31), 48, 64, subsampling)
    geometry = FrameGeometry(height=20, width=28, resize=resize)
    container_crop = ContainerCrop(left=left, right=right, top=top, bottom=bottom)
    shown = presentation(rotation, is_mirrored=is_mirrored, crop=container_crop)
    got = FrameConverter(geometry, shown).convert(make_frame(pixel_format, planes))

    # FFmpeg's crop filter rounds offset and size down to whole chroma samples, where it cuts at all.
    rows = cut(48, top, bottom, subsampling[0])
    columns = cut(64, left, right, subsampling[1])
    kept = [
        plane[rows.start // down : rows.stop // down, columns.start // across : columns.stop // across]
        for plane, (down, across) in zip(planes, ((1, 1), subsampling, subsampling), strict=True)
    ]
    whole = presentation(rotation, is_mirrored=is_mirrored)
    want = FrameConverter(geometry, whole).convert(make_frame(pixel_format, kept))
    np.testing.assert_array_equal(got, want)


def cut(size: int, before: int, after: int, step: int) -> slice:
    if not before and not after:
        return slice(0, size)
    first = before - before % step
    left = size - before - after
    return slice(first, first + left - left % step)


def test_a_crop_that_leaves_nothing_is_refused():
    shown = presentation(crop=ContainerCrop(top=30, bottom=18))
    with pytest.raises(
        ValueError, match="30 rows at the top, 18 rows at the bottom off frames of 64x48: nothing"
    ):
        FrameConverter(FrameGeometry(), shown).convert(av.VideoFrame(64, 48, "yuv420p"))


def test_frames_whose_pixels_are_of_their_own_shape_are_scaled_by_it():
    frame = av.VideoFrame.from_ndarray(np.full((50, 50, 3), 200, np.uint8), "rgb24")
    converter = FrameConverter(FrameGeometry(height=64, width=64, resize="pad"), presentation())
    rows = [
        int(converter.convert(frame, sample_aspect_ratio=aspect).any(axis=(1, 2)).sum())
        for aspect in (None, Fraction(2), Fraction(1), Fraction(4), None)
    ]
    assert rows == [64, 32, 64, 16, 64]


@pytest.mark.parametrize("shown_as", ["mirrored", "cut", "wide"])
def test_planes_of_a_gpu_are_shown_as_frames_of_the_cpu(shown_as):
    crop = ContainerCrop(left=7, right=2, top=5, bottom=4) if shown_as == "cut" else WHOLE_PICTURE
    video = presentation(90, is_mirrored=shown_as == "mirrored", crop=crop)
    own_aspect = Fraction(2) if shown_as == "wide" else None
    y, u, v = random_yuv(np.random.default_rng(33), 48, 64)
    geometry = FrameGeometry(height=20, width=28, resize="pad")
    frame = through_filter(make_frame("yuv420p", [y, u, v]), "setparams", "chroma_location=left")
    want = FrameConverter(geometry, video).convert(frame, sample_aspect_ratio=own_aspect)
    device = torch.device("cpu")
    kind = FrameKind(
        width=64,
        height=48,
        presentation=with_aspect(video, own_aspect),
        yuv_format=YuvFormat(colour_matrix=2, is_full_range=False),
        device=device,
    )
    luma, chroma = torch.from_numpy(y), torch.from_numpy(np.stack([u, v], axis=2))
    got = YuvConverters(geometry).find(kind)(luma, chroma, torch.empty((20, 28, 3), dtype=torch.uint8))
    assert np.abs(got.numpy().astype(int) - want).max() <= 1
