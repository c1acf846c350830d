"""Videos whose pictures are to be shown in ways of their own: built in both formats as they are decoded live."""

from fractions import Fraction

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext

from cache_builder import open_videos
from cache_builder.build.pipeline import run_build
from cache_builder.settings import BuildConfig, RunOptions
from cache_builder.video.picture.geometry import FrameGeometry
from frame_store import open_store
from frame_store.manifest import Encoding
from tests.support.videos.presentations import SYMMETRIES, matrix_of, show_by_matrix

NUM_FRAMES = (170, 40)
"""Before and after the change: so many that the first unit ends before it."""

SIZE = 64
"""Of stored frames, which are 64 x 64."""

SQUARE, WIDE = Fraction(1), Fraction(2)

# Four colours in 48 rows of 64.
PICTURE = np.zeros((48, 64, 3), np.uint8)
PICTURE[:24, :32], PICTURE[:24, 32:] = (230, 20, 20), (20, 230, 20)
PICTURE[24:, :32], PICTURE[24:, 32:] = (20, 20, 230), (230, 230, 230)


def encode(
    codec: str, *, num_frames: int, aspect: Fraction = SQUARE, metadata: str = "", gop_size: int = 10
) -> list[bytes]:
    """Packets of a bare stream, with B-frames."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.height, encoder.width, _ = PICTURE.shape
    encoder.pix_fmt, encoder.time_base, encoder.framerate = "yuv420p", Fraction(1, 25), Fraction(25)
    encoder.sample_aspect_ratio = aspect
    encoder.options = {"g": str(gop_size), "bf": "2"}
    packets = []
    for number in range(num_frames):
        frame = av.VideoFrame.from_ndarray(PICTURE, "rgb24").reformat(format=encoder.pix_fmt)
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode()
    if metadata:
        added = BitStreamFilterContext(f"h264_metadata={metadata}", "h264")
        packets = [changed for packet in packets for changed in added.filter(packet)]
    return list(map(bytes, packets))


def bare_stream(*parts: list[bytes]) -> bytes:
    return b"".join(packet for part in parts for packet in part)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One video a kind."""
    folder = tmp_path_factory.mktemp("pictures")
    # MPEG-2 states the shape of the screen: 4:3, and 16:9 after the change.
    shapes = {SQUARE: Fraction(1), WIDE: Fraction(4, 3)}
    (folder / "aspect.m2v").write_bytes(
        bare_stream(
            *(
                encode("mpeg2video", num_frames=count, aspect=aspect)
                for count, aspect in zip(NUM_FRAMES, shapes.values(), strict=True)
            )
        )
    )
    (folder / "aspect.h264").write_bytes(
        bare_stream(
            *(
                encode("libx264", num_frames=count, aspect=aspect)
                for count, aspect in zip(NUM_FRAMES, (SQUARE, WIDE), strict=True)
            )
        )
    )
    mirrored = encode(
        "libx264", num_frames=9, gop_size=9, metadata="display_orientation=insert:flip=horizontal"
    )
    (folder / "mirrored_later.h264").write_bytes(bare_stream(encode("libx264", num_frames=8), mirrored))
    with av.open(str(folder / "hlg_mirrored.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, _ = PICTURE.shape
        stream.pix_fmt = "yuv420p10le"
        stream.codec_context.color_trc = 18
        stream.set_display_matrix(matrix_of(*SYMMETRIES["left and right exchanged"]))
        for _ in range(6):
            frame = av.VideoFrame.from_ndarray(PICTURE, "rgb24").reformat(format="yuv420p10le")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return folder


@pytest.fixture(scope="module", params=["wds", "zarr"])
def cache(request, folder, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "cache"
    config = BuildConfig(
        format=request.param,
        encoding=Encoding(name="raw"),
        geometry=FrameGeometry(height=SIZE, width=SIZE, resize="pad"),
    )
    run_build(folder, path, config, RunOptions(workers=2))
    return path


def frames_by_path(store, paths: list[str]) -> dict[str, np.ndarray]:
    index = store.index
    frames = {}
    for video_id, path in enumerate(paths):
        rows = np.flatnonzero(index["video_id"] == video_id)
        rows = rows[np.argsort(index["frame_in_video"][rows])]
        frames[path] = store.read_frames(rows)
    return frames


@pytest.fixture(scope="module")
def built(cache):
    store = open_store(cache)
    return frames_by_path(store, [video.path for video in store.video_entries])


def num_rows_filled(frame: np.ndarray) -> int:
    return int((frame.max(axis=(1, 2)) > 8).sum())


@pytest.mark.parametrize(("path", "later"), [("aspect.m2v", 36), ("aspect.h264", 24)])
def test_pixels_change_their_shape_at_the_frame_that_says_so(built, path, later):
    rows = [num_rows_filled(frame) for frame in built[path]]
    assert rows == [48] * NUM_FRAMES[0] + [later] * NUM_FRAMES[1]


def test_a_mirrored_picture_is_stored_as_seen(built):
    shown = show_by_matrix(PICTURE, *SYMMETRIES["left and right exchanged"])
    frame = built["hlg_mirrored.mp4"][0][8:56].astype(int)
    for row, column in ((4, 4), (4, -5), (-5, 4), (-5, -5)):
        assert np.abs(frame[row, column] - shown[row, column]).max() < 40


def test_look_ups_in_any_order_give_what_was_built(folder, built):
    store = open_videos(folder, size=SIZE, resize="pad")
    paths = [facts.path for facts in store.videos]
    first = np.cumsum(store.shard_sizes) - store.shard_sizes
    ids = np.random.default_rng(2).permutation(len(store))[:150]
    for frame_id, frame in zip(ids, store.read_frames(ids), strict=True):
        video_id = int(store.index["video_id"][frame_id])
        np.testing.assert_array_equal(frame, built[paths[video_id]][frame_id - first[video_id]])


def test_what_is_to_be_known_is_told(cache, folder):
    videos = {video.path: video for video in open_store(cache).video_entries}
    notes = {path: video.notes for path, video in videos.items()}
    change = "1 change of picture format, the first at frame 170: sample_aspect_ratio"
    assert f"{change} 1:1 to 4:3" in notes["aspect.m2v"]
    assert f"{change} 1:1 to 2:1" in notes["aspect.h264"]
    assert notes["mirrored_later.h264"] == [
        "its display matrix changes at frame 8 (as stored to mirrored); "
        "the first matrix is used for all its frames"
    ]
    # The message comes with the keyframe alone, and holds for the pictures after it.
    assert videos["mirrored_later.h264"].findings.num_format_changes == 1
    hdr = [
        "HDR (HLG, arib-std-b67): its colours are stored as they are coded, not tone-mapped",
        "10 bits a sample stored as 8 (yuv420p10le)",
    ]
    assert notes["hlg_mirrored.mp4"] == hdr
    live = {facts.path: facts.notes for facts in open_videos(folder, size=SIZE).facts_of_videos}
    assert live["hlg_mirrored.mp4"] == hdr
