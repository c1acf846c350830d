"""The stub driver behaves like a driver as far as FFmpeg and our guards see, and PyAV takes its CUDA path on it."""

import ctypes
import multiprocessing

import av
import numpy as np
import pytest
from av.codec.hwaccel import HWAccel

from tests.support.gpu.raw_nvdec import (
    bind_primary_context,
    decode_tagged,
    failure_of,
    first_frame_format,
    load_cuda,
    nvdec_hwaccel,
    open_nvdec,
)
from tests.support.gpu.stub_planes import expected_planes, plane_array
from tests.support.videos.tiny_videos import tiny_video

H264 = {"num_frames": 26, "num_b_frames": 2, "gop_size": 12}


@pytest.fixture(scope="module")
def h264(tmp_path_factory):
    return tiny_video(tmp_path_factory.mktemp("h264"), **H264)


@pytest.fixture(scope="module")
def hevc_10bit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hevc")
    return tiny_video(folder, codec="hevc", pixel_format="yuv420p10le", num_frames=24, num_b_frames=3)


# Called in processes on the stub; what they return comes back by way of JSON.


def in_forked_child(function):
    """What `function` returns in a forked child of this process."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(function()))
    child.start()
    answer = receiver.recv()
    child.join()
    return answer


def basic_calls():
    """Results of initialising, counting devices, and retaining a context; and the version."""
    cuda, count, version = load_cuda(), ctypes.c_int(-1), ctypes.c_int()
    context = ctypes.c_void_p()
    results = [
        cuda.cuInit(0),
        cuda.cuDeviceGetCount(ctypes.byref(count)),
        cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0),
    ]
    return [*results, count.value, cuda.cuDriverGetVersion(ctypes.byref(version)), version.value]


def names_of_errors(*codes):
    cuda, text = load_cuda(), ctypes.c_char_p()
    names = []
    for code in codes:
        for function in (cuda.cuGetErrorName, cuda.cuGetErrorString):
            assert function(code, ctypes.byref(text)) == 0
            names.append(text.value.decode())
    return names


def calls_before_and_after_initialising():
    cuda, count = load_cuda(), ctypes.c_int(-1)
    before = cuda.cuDeviceGetCount(ctypes.byref(count))
    child_first = in_forked_child(basic_calls)
    parent = basic_calls()
    forked = in_forked_child(lambda: [basic_calls(), names_of_errors(3)])
    return [before, child_first, parent, forked, basic_calls()]


def contexts_by_thread():
    """Codes of calls that need a current context, and what is current, as contexts come and go."""
    cuda, current, pointer, flags = load_cuda(), ctypes.c_void_p(), ctypes.c_uint64(), ctypes.c_uint()
    primary, own, is_active = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_int()
    cuda.cuInit(0)

    def is_current(context):
        cuda.cuCtxGetCurrent(ctypes.byref(current))
        return current.value == context.value

    def primary_state():
        cuda.cuDevicePrimaryCtxGetState(0, ctypes.byref(flags), ctypes.byref(is_active))
        return [flags.value, is_active.value]

    states = [primary_state()]
    cuda.cuDevicePrimaryCtxSetFlags(0, 4)
    cuda.cuDevicePrimaryCtxRetain(ctypes.byref(primary), 0)
    cuda.cuDevicePrimaryCtxRetain(ctypes.byref(primary), 0)
    codes = [cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(10))]
    codes.append(cuda.cuCtxPushCurrent_v2(None))
    cuda.cuCtxSetCurrent(primary)
    cuda.cuCtxCreate_v2(ctypes.byref(own), 0, 0)
    currents = [is_current(own)]
    cuda.cuCtxPopCurrent_v2(ctypes.byref(own))
    currents.append(is_current(primary))
    codes.append(cuda.cuMemAlloc_v2(ctypes.byref(pointer), ctypes.c_size_t(10)))
    codes.append(pointer.value % 512)
    codes.append(cuda.cuMemFree_v2(pointer))
    cuda.cuCtxSetCurrent(None)
    codes.append(cuda.cuCtxPopCurrent_v2(ctypes.byref(current)))
    codes.append(cuda.cuCtxDestroy_v2(own))
    states.append(primary_state())
    for _ in range(2):
        codes.append(cuda.cuDevicePrimaryCtxRelease(0))
        states.append(primary_state())
    codes.append(cuda.cuDevicePrimaryCtxRelease(0))
    return {"states": states, "codes": codes, "currents": currents}


def walk(path, gop_size, bit_depth):
    """Decode a video on the stub: whole, and with pictures left out after a seek; see that planes are right.

    Numbers of pictures start again with each closed GOP.
    """
    bind_primary_context()
    container, stream = open_nvdec(path)
    report = {"orders": [], "num_wrong_planes": 0}
    for skip_others_of in (1, 16):
        order, pts = [], []
        for number, (ordinal, frame) in enumerate(
            decode_tagged(container, stream, skip_others_of=skip_others_of)
        ):
            order.append(ordinal)
            pts.append(frame.pts)
            if skip_others_of == 1:
                expected = expected_planes(
                    number % int(gop_size), frame.width, frame.height, bit_depth=int(bit_depth)
                )
                planes = [plane_array(plane) for plane in frame.planes]
                report["num_wrong_planes"] += [*map(np.array_equal, planes, expected)] != [True, True]
        report["orders"].append([order, pts])
        container.seek(0, stream=stream)
    report["formats"] = [frame.format.name, frame.sw_format.name]
    report["strides"] = [list(plane.strides) for plane in planes]
    # Planes taken out of a frame stay, whatever is closed and decoded meanwhile.
    kept = next(container.decode(stream))
    kept_planes = [plane_array(plane) for plane in kept.planes]
    del kept, frame, planes
    sum(1 for _ in container.decode(stream))
    container.close()
    first = expected_planes(0, kept_planes[0].shape[1], kept_planes[0].shape[0], bit_depth=int(bit_depth))
    report["kept"] = [*map(np.array_equal, kept_planes, first)]
    return report


def decode_by_name(path, is_told_format):
    """What FFmpeg's h264_cuvid makes of a video: timestamps, key frames and whether the planes are right."""
    bind_primary_context()
    pts, key_frames, num_wrong_planes = [], [], 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        decoder = av.CodecContext.create("h264_cuvid", "r", hwaccel=nvdec_hwaccel())
        decoder.extradata = stream.codec_context.extradata
        if is_told_format:
            decoder.width, decoder.height = stream.codec_context.width, stream.codec_context.height
            decoder.pix_fmt = stream.codec_context.pix_fmt
        for packet in container.demux(stream):
            for frame in decoder.decode(packet if packet.size else None):
                expected = expected_planes(len(pts) % H264["gop_size"], frame.width, frame.height)
                planes = [plane_array(plane) for plane in frame.planes]
                num_wrong_planes += [*map(np.array_equal, planes, expected)] != [True, True]
                pts.append(frame.pts)
                key_frames.append(frame.key_frame)
    return {"pts": pts, "key_frames": key_frames, "num_wrong_planes": num_wrong_planes}


def decode_by_name_with_and_without_format(path):
    return [decode_by_name(path, True), failure_of(lambda: decode_by_name(path, False))]


def software_orders(path):
    orders = []
    for skip_others_of in (1, 16):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.codec_context.thread_type = "NONE"
            frames = list(decode_tagged(container, stream, skip_others_of=skip_others_of))
            orders.append([[ordinal for ordinal, _ in frames], [frame.pts for _, frame in frames]])
    return orders


def open_in_forked_child_of_initialised_parent(path):
    bind_primary_context()
    parent = first_frame_format(path)
    return [parent, in_forked_child(lambda: failure_of(lambda: first_frame_format(path)))]


def open_with_default_options_after_torch(path):
    """As `HWAccel("cuda", is_hw_owned=True)` fails where the context is active with other flags, torch's."""
    bind_primary_context()
    return failure_of(lambda: av.open(path, hwaccel=HWAccel("cuda", is_hw_owned=True)))


def first_frame_without_a_context(path):
    load_cuda().cuInit(0)
    return failure_of(lambda: first_frame_format(path))


def failure_of_first_frame(path):
    def act():
        bind_primary_context()
        first_frame_format(path)

    return failure_of(act)


def failure_of_opening(path):
    return failure_of(lambda: first_frame_format(path))


def initialise_twice_and_fork():
    load_cuda().cuInit(0)
    load_cuda().cuInit(0)
    in_forked_child(lambda: load_cuda().cuInit(0))


def nothing():
    return None


def test_state_of_the_driver_belongs_to_the_process_that_initialised_it(stub_driver):
    usable, refused = [0, 0, 0, 1, 0, 13000], [3, 3, 3, -1, 0, 13000]
    before, child_first, parent, (forked, names), parent_again = stub_driver.call(
        calls_before_and_after_initialising
    ).value
    assert before == 3
    assert child_first == parent == parent_again == usable
    assert forked == refused
    assert names == ["CUDA_ERROR_NOT_INITIALIZED", "initialization error"]


def test_contexts_are_counted_and_current_by_thread(stub_driver):
    report = stub_driver.call(contexts_by_thread).value
    assert report["states"] == [[0, 0], [4, 1], [4, 1], [4, 0]]
    assert report["codes"] == [201, 201, 0, 0, 0, 201, 0, 0, 0, 201]
    assert report["currents"] == [True, True]


@pytest.mark.parametrize(
    ("video", "bit_depth", "sw_format"), [("h264", 8, "nv12"), ("hevc_10bit", 10, "p010le")]
)
def test_pyav_decodes_on_the_stub_in_the_order_and_with_the_tags_of_software(
    stub_driver, request, video, bit_depth, sw_format
):
    spec = request.getfixturevalue(video)
    path = spec.path
    run = stub_driver.call(walk, path, str(spec.gop_size), str(bit_depth))
    whole, sparse = run.value["orders"]
    assert run.value["formats"] == ["cuda", sw_format]
    assert run.value["num_wrong_planes"] == 0
    assert [whole, sparse] == software_orders(path)
    assert whole[0] != sorted(whole[0]), "no B-frames: the test shows nothing"
    assert 0 < len(sparse[0]) < len(whole[0])
    bytes_each = 1 if bit_depth == 8 else 2
    assert run.value["strides"] == [[512, bytes_each], [512, 2 * bytes_each, bytes_each]]
    assert run.value["kept"] == [True, True]
    calls = run.num_calls
    assert calls["cuvidCreateDecoder"] == calls["cuvidDestroyDecoder"] > 0
    assert calls["cuvidMapVideoFrame64"] == calls["cuvidUnmapVideoFrame64"] > 0
    assert calls["cuMemcpy2DAsync_v2"] == 2 * calls["cuvidMapVideoFrame64"]


def test_pyav_decodes_on_the_stub_by_the_name_of_a_decoder(stub_driver, h264):
    decoded, failure = stub_driver.call(decode_by_name_with_and_without_format, h264.path).value
    with av.open(str(h264.path)) as container:
        frames = list(container.decode(video=0))
    assert decoded["num_wrong_planes"] == 0
    assert decoded["pts"] == [frame.pts for frame in frames]
    # FFmpeg 8.1 marks others, too, among the first: it does not clear the flags of its surfaces.
    assert all(found for found, frame in zip(decoded["key_frames"], frames, strict=True) if frame.key_frame)
    # Without the pixel format, FFmpeg asks whether the chip does 4:4:4.
    assert "h264_cuvid is not supported with this chroma format" in failure["log"] + failure["text"]


def test_pyav_in_a_forked_child_of_an_initialised_parent_fails_as_in_the_exercise(stub_driver, h264):
    parent, child = stub_driver.call(open_in_forked_child_of_initialised_parent, h264.path).value
    assert parent == "cuda"
    assert child["error"] == "av.error.ExternalError" and child["errno"] == 542398533
    assert "cu->cuInit(0) failed" in child["log"]
    assert "-> CUDA_ERROR_NOT_INITIALIZED: initialization error" in child["log"]


def test_pyav_refuses_an_active_primary_context_of_other_flags(stub_driver, h264):
    failure = stub_driver.call(open_with_default_options_after_torch, h264.path).value
    assert failure["error"] == "av.error.OSError"
    assert "Primary context already active with incompatible flags" in failure["log"]


def test_pyav_without_a_current_context_fails_with_the_first_frame(stub_driver, h264):
    failure = stub_driver.call(first_frame_without_a_context, h264.path).value
    assert "CUDA_ERROR_INVALID_CONTEXT" in failure["log"]


def test_pyav_names_the_library_that_is_missing(stub_driver, no_real_driver, h264):
    def log_of(function, **options):
        failure = stub_driver.call(function, h264.path, **options).value
        assert failure["error"] is not None
        return failure["log"]

    assert "Cannot load libcuda.so.1" in log_of(failure_of_opening, folder=stub_driver.without_driver)
    assert "Cannot load libnvcuvid.so.1" in log_of(failure_of_first_frame, folder=stub_driver.without_nvcuvid)


def test_log_has_a_line_for_each_call_and_none_without_calls(stub_driver):
    calls = stub_driver.call(initialise_twice_and_fork).calls
    assert [call.function for call in calls] == ["cuInit"] * 3
    assert calls[0].pid == calls[1].pid != calls[2].pid
    assert stub_driver.call(nothing).calls == ()
