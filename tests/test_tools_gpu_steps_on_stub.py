"""The steps of `gpu_acceptance` on the stub of the driver, as far as they need no torch.cuda."""

import json
from pathlib import Path

import pytest
from frame_cache_tools import gpu_fork_rows
from frame_cache_tools.gpu_caps import ASKED, ask_caps
from frame_cache_tools.gpu_commands import Done
from frame_cache_tools.gpu_fork import ROWS, answer_in
from frame_cache_tools.gpu_planes import (
    planes_on_cpu,
    planes_on_gpu,
)
from frame_cache_tools.gpu_subjects import (
    LoopedVideo,
    nvdec_subject,
)

from cache_builder.gpu.nvdec import NvdecDevice
from frame_store.shared.cuda_driver import NVDEC_LIBRARY, load_library
from tests.support.gpu.stub_planes import plane_tensor

# Called in a process on the stub.


def seen_on_the_stub(path):
    nvdec = NvdecDevice()
    answers = ask_caps(load_library(NVDEC_LIBRARY), nvdec.check())
    caps = {f"{answer.codec} {answer.bit_depth} {answer.chroma}": answer.text() for answer in answers}
    with nvdec_subject([Path(path)], 3, nvdec=nvdec) as measure:
        images = measure(0.05).images
    video = LoopedVideo(Path(path), nvdec)
    frames = [video.next_frame() for _ in range(45)]
    formats = sorted({frame.format.name for frame in frames})
    repeats = [frame.pts for frame in frames[:20]] == [frame.pts for frame in frames[20:40]]
    del frames
    video.close()
    planes = list(planes_on_gpu(Path(path), nvdec, plane_tensor))
    shapes = sorted({(plane.luma.shape, plane.chroma.shape, plane.luma.dtype.name) for plane in planes})
    same_pts = [plane.pts for plane in planes] == [plane.pts for plane in planes_on_cpu(Path(path))]
    return {
        "caps": caps,
        "images": images,
        "formats": formats,
        "repeats": repeats,
        "shapes": shapes,
        "same_pts": same_pts,
        "forked": gpu_fork_rows.forked_raw(Path(path).parent),
    }


@pytest.fixture(scope="module")
def seen(stub_driver, simple_folder):
    path = simple_folder.path / simple_folder.specs[0].path
    return stub_driver.call(seen_on_the_stub, path, unsupported=("vp9",)).value


def test_codecs_are_asked_of_the_driver(seen):
    assert len(seen["caps"]) == len(ASKED)
    assert seen["caps"]["h264 8 420"] == "yes, 7 engines, 16x16 to 8192x8192"
    assert seen["caps"]["vp9 8 420"] == seen["caps"]["h264 10 420"] == "no"


def test_threads_decode_on_the_driver_over_and_over(seen):
    assert seen["images"] > 0
    assert (seen["formats"], seen["repeats"]) == (["cuda"], True)


def test_planes_come_from_the_driver_with_their_pts(seen):
    assert seen["shapes"] == [[[96, 160], [48, 80, 2], "uint8"]]
    assert seen["same_pts"]


def test_the_first_row_of_the_fork_table_is_the_exercises_error(seen):
    assert ROWS[0].function == "forked_raw"
    assert ROWS[0].holds(seen["forked"]), seen["forked"]
    # As the step reads it from what a row's process printed.
    printed = ("a warning", json.dumps(seen["forked"]), "another")
    assert answer_in(Done(exit_code=0, lines=printed)) == seen["forked"]
