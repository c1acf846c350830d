"""The error `cu->cuInit(0) failed` of worker processes: its cause, which workers meet it, and what does not help.

A parent has started CUDA and its DataLoader starts workers. Six rows, all on the stub driver, in one process:

1. forked, PyAV used as it comes        the error
2. forked, a store that decodes on CUDA CudaForkError, before FFmpeg is asked; names the cure
3. forked, worker_init_fn starts CUDA   the error: it comes after the fork
4. forked, parent only started CUDA     the error; torch's own flag sees nothing
5. spawned                              decodes
6. threads                              decode
"""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader, Dataset

from cache_builder import open_videos
from frame_store.shared.cuda_guard import check_cuda_usable_here
from loader import FrameDataset, frame_batch_collate
from tests.support.gpu.host_nvdec import open_on_stub
from tests.support.gpu.raw_nvdec import bind_primary_context, failure_of, first_frame_format, load_cuda
from tests.support.videos.tiny_videos import simple_specs, tiny_folder

# Called in a process on the stub.


class RawVideos(Dataset):
    """The exercise's dataset with decoding on the GPU: a worker opens the video at the first frame."""

    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 1

    def __getitem__(self, _):
        return failure_of(lambda: first_frame_format(self.path))


def take_one(samples):
    return samples[0]


def start_cuda_in_worker(_):
    """The effect of `worker_init_fn=torch.cuda.init`."""
    load_cuda().cuInit(0)


def first_of_forked_worker(dataset, **options):
    options = {"collate_fn": take_one, "num_workers": 1, "multiprocessing_context": "fork"} | options
    batches = iter(DataLoader(dataset, **options))
    try:
        return next(batches)
    except Exception as error:  # noqa: BLE001 - its trace would keep `batches`, and torch wait 5 s in the collector
        raise error.with_traceback(None) from None
    finally:
        del batches


def answer_of_forked(function, *arguments):
    """The result of `function(*arguments)` in a forked child."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(function(*arguments)))
    child.start()
    answer = receiver.recv()
    child.join()
    return answer


def start_cuda_alone_and_fork(path):
    """Start CUDA as `pin_memory=True` or another library does, nothing else, and report from a forked child."""
    assert load_cuda().cuInit(0) == 0
    return answer_of_forked(
        lambda: {
            "raw": failure_of(lambda: first_frame_format(path)),
            "guarded": failure_of(check_cuda_usable_here),
            "torch_sees_it": torch.cuda._is_in_bad_fork(),
        }
    )


def fork_table(folder, path, driver="stub"):
    """The result of each row; for the parent, the video of which it decoded a frame. `driver` is `stub` or `real`."""
    rows = {"only started": answer_of_forked(start_cuda_alone_and_fork, path)}
    # From now on this process is the parent that has started CUDA.
    store = open_videos(folder, device="cuda", size=64)
    bind_primary_context()
    rows["parent"] = first_frame_format(path)
    rows["raw"] = first_of_forked_worker(RawVideos(path))
    rows["initialised in worker"] = first_of_forked_worker(
        RawVideos(path), worker_init_fn=start_cuda_in_worker
    )
    rows["guarded"] = failure_of(
        lambda: first_of_forked_worker(FrameDataset(store), collate_fn=frame_batch_collate)
    )

    decoding = open_on_stub(folder) if driver == "stub" else store
    ids = np.arange(len(decoding))[::-3]
    expected = decoding.read_frames(ids)
    batch = first_of_forked_worker(
        FrameDataset(decoding),
        batch_sampler=[ids.tolist()],
        collate_fn=frame_batch_collate,
        multiprocessing_context="spawn",
    )
    frames = batch.frames.permute(0, 2, 3, 1).numpy()
    rows["spawned"] = {"is_same": np.array_equal(frames, expected), "num_distinct": num_distinct(frames)}

    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(decoding.read_frames, [ids[start::4] for start in range(4)]))
    rows["threads"] = [np.array_equal(expected[start::4], part) for start, part in enumerate(parts)]
    decoding.close()
    return rows


def num_distinct(frames):
    return len({frame.tobytes() for frame in frames})


def check_is_the_exercises_error(failure):
    assert (failure["error"], failure["errno"]) == ("av.error.ExternalError", 542398533)
    assert "cu->cuInit(0) failed" in failure["log"]
    assert "-> CUDA_ERROR_NOT_INITIALIZED: initialization error" in failure["log"]


def check_says_cause_and_cure(failure):
    assert failure["error"] == "frame_store.errors.CudaForkError"
    for words in ("started in the parent", "fork", "threads", "multiprocessing_context='spawn'", "too late"):
        assert words in failure["text"]


def check_row_1_pyav_in_a_forked_worker_fails_with_the_exercises_error(rows):
    assert rows["parent"] == "cuda"
    check_is_the_exercises_error(rows["raw"])


def check_row_2_our_store_says_cause_and_cure_in_a_forked_worker(rows):
    check_says_cause_and_cure(rows["guarded"])


def check_row_3_initialising_cuda_in_the_worker_does_not_help(rows):
    check_is_the_exercises_error(rows["initialised in worker"])


def check_row_4_a_parent_that_only_started_cuda_is_enough_and_torchs_flag_does_not_know(rows):
    row = rows["only started"]
    check_is_the_exercises_error(row["raw"])
    check_says_cause_and_cure(row["guarded"])
    assert row["torch_sees_it"] is False


def check_row_5_spawned_workers_decode(rows, calls):
    assert rows["spawned"] == {"is_same": True, "num_distinct": 8}  # pictures of a GOP
    assert len({call.pid for call in calls if call.function == "cuvidDecodePicture"}) == 2


def check_row_6_threads_decode(rows):
    assert rows["threads"] == [True] * 4


def test_fork_table(stub_driver, tmp_path):
    folder = tiny_folder(tmp_path, simple_specs(2))
    run = stub_driver.call(fork_table, folder.path, folder.specs[0].path)
    rows = run.value
    # One test, not six: in a parallel run each worker would repeat the whole table.
    check_row_1_pyav_in_a_forked_worker_fails_with_the_exercises_error(rows)
    check_row_2_our_store_says_cause_and_cure_in_a_forked_worker(rows)
    check_row_3_initialising_cuda_in_the_worker_does_not_help(rows)
    check_row_4_a_parent_that_only_started_cuda_is_enough_and_torchs_flag_does_not_know(rows)
    check_row_5_spawned_workers_decode(rows, run.calls)
    check_row_6_threads_decode(rows)
