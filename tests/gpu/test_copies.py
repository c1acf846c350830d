"""Bytes copied for each image, to the GPU and from it, counted by torch's profiler.

tests/gpu/test_loader.py counts the bytes of a raw cache. The profiler does not see the packets that the driver uploads
for NVDEC.
"""

from contextlib import closing

import av
import pytest
import torch
from av.codec.hwaccel import HWAccel

from cache_builder import open_videos
from frame_store import open_store
from frame_store.errors import CudaUnavailableError
from frame_store.manifest import Encoding
from loader import FrameLoader
from loader.gpu.jpeg import find_jpeg_decoder
from tests.gpu.copies import FRAME_BYTES, copies_of, smooth_frames
from tests.support.caches.golden_stores import write_store

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore")]  # the profiler has a few of its own

NUM_FRAMES = 48
MOST_LIVE_BYTES = 1024
"""Limit per image: its row of the index, without pixels."""


def test_floats_made_on_the_host_are_four_times_the_bytes(tmp_path, record_property):
    write_store(tmp_path / "raw", "wds", Encoding(name="raw"), smooth_frames(NUM_FRAMES))

    def upload():
        for batch in FrameLoader(open_store(tmp_path / "raw"), batch_size=16, pin_memory=False):
            (batch.frames.float() / 255).to("cuda")

    copies = copies_of(upload, tmp_path, num_images=NUM_FRAMES, record=record_property)
    assert 4 * FRAME_BYTES <= copies["HtoD"] <= 4 * FRAME_BYTES * 1.01


def test_jpeg_decoded_by_the_gpu_brings_nothing_down(tmp_path, record_property):
    try:
        find_jpeg_decoder()
    except CudaUnavailableError as error:
        pytest.skip(str(error))
    encoding = Encoding(name="jpeg", quality=90, chroma="444")
    write_store(tmp_path / "jpeg", "wds", encoding, smooth_frames(NUM_FRAMES))
    loader = FrameLoader(open_store(tmp_path / "jpeg"), batch_size=16, device="cuda", jpeg_decode="gpu")
    list(loader)
    copies = copies_of(lambda: list(loader), tmp_path, num_images=NUM_FRAMES, record=record_property)
    assert copies["DtoH"] == 0


def test_live_frames_stay_on_the_gpu(codec_videos, tmp_path, record_property):
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "a.mp4").symlink_to(codec_videos / "00_h264.mp4")
    with closing(open_videos(tmp_path / "live", device="cuda", size=224)) as store:
        loader = FrameLoader(store, batch_size=16, sampling="sequential")
        list(loader)
        copies = copies_of(lambda: list(loader), tmp_path, num_images=len(store), record=record_property)
    assert copies["DtoH"] == 0
    assert copies["HtoD"] <= MOST_LIVE_BYTES


def test_pyavs_frames_as_they_come_go_through_the_host(codec_videos, tmp_path, record_property):
    """For comparison: each frame is copied to the host, converted to RGB there and uploaded."""
    hwaccel = HWAccel("cuda", device="0", is_hw_owned=False, allow_software_fallback=False)

    def decode():
        with av.open(f"file:{codec_videos / '00_h264.mp4'}", hwaccel=hwaccel) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"
            for frame in container.decode(stream):
                torch.from_numpy(frame.to_ndarray(format="rgb24", width=224, height=224)).to("cuda")

    copies = copies_of(decode, tmp_path, num_images=60, record=record_property)
    assert copies["HtoD"] >= FRAME_BYTES
