"""The rows of step `fork`, each in a process of its own: `python -m frame_cache_tools.gpu_fork_rows NAME FOLDER`.

Prints one line of JSON: `error`, `text` and `log` of what failed, or `result`, what came.
"""

import json
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import av
import av.logging
import numpy as np
import torch
from av.codec.hwaccel import HWAccel
from torch.utils.data import DataLoader, Dataset

from cache_builder import LiveStore, open_videos
from frame_store.shared import check_cuda_usable_here
from loader import FrameDataset, frame_batch_collate

_FRAMES: Final = 8
_THREADS: Final = 4

Answer = dict[str, Any]


class RawVideo(Dataset[Answer]):
    """PyAV with hardware decoding as anyone writes it: a worker opens the video when it is asked for a frame."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: int) -> Answer:
        return attempt(lambda: raw_format(self._path))


def raw_format(path: Path, **options: str) -> str:
    """Format of the first frame, decoded in a context of FFmpeg's own or as `options` say."""
    hwaccel = HWAccel("cuda", device="0", is_hw_owned=True, allow_software_fallback=False, options=options)
    with av.open(str(path), hwaccel=hwaccel) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            return str(frame.format.name)
    return "no frame"


def attempt(action: Callable[[], str]) -> Answer:
    """What came, or what was raised and what FFmpeg logged."""
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as messages:
            try:
                return {"result": action()}
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told
                failure = described(error)
        return failure | {"log": "".join(text for _, _, text in messages)}
    finally:
        av.logging.set_level(None)


def described(error: Exception) -> Answer:
    """Class and text of an exception."""
    return {
        "error": f"{type(error).__module__}.{type(error).__name__}",
        "errno": getattr(error, "errno", None),
        "text": str(error),
    }


def start_cuda() -> None:
    """As a training does; by the driver alone where torch cannot."""
    if torch.cuda.is_available():
        torch.zeros(1).cuda()
    else:
        check_cuda_usable_here().bind_primary_context(0)


def first_of(dataset: Dataset[Any], **options: Any) -> Any:  # noqa: ANN401 - DataLoader's, and an item
    """The first item that a worker process gives.

    Raises:
        Exception: what the worker raised.
    """
    options = {"num_workers": 1, "multiprocessing_context": "fork", "batch_size": None} | options
    batches = iter(DataLoader(dataset, **options))
    try:
        return next(batches)
    except Exception as error:  # noqa: BLE001 - its trace would keep the workers
        raise error.with_traceback(None) from None
    finally:
        del batches


def init_torch(_: int) -> None:
    """`worker_init_fn=torch.cuda.init`, which is called with the worker's number."""
    torch.cuda.init()


def one_video(folder: Path) -> Path:
    """The video of a folder that holds one."""
    return next(path for path in sorted(folder.iterdir()) if path.suffix == ".mp4")


def forked_raw(folder: Path) -> Answer:
    """Row 1."""
    start_cuda()
    return dict(first_of(RawVideo(one_video(folder))))


def forked_store(folder: Path) -> Answer:
    """Row 2."""
    store = _on_cuda(folder)
    start_cuda()
    return attempt(lambda: _first_frames(store, multiprocessing_context="fork"))


def forked_with_init(folder: Path) -> Answer:
    """Row 3."""
    start_cuda()
    try:
        return dict(first_of(RawVideo(one_video(folder)), worker_init_fn=init_torch))
    except Exception as error:  # noqa: BLE001 - told
        return described(error)


def forked_under_pinning(folder: Path) -> Answer:
    """Row 4: nothing here has touched CUDA but `DataLoader` itself."""
    return dict(first_of(RawVideo(one_video(folder)), pin_memory=True))


def spawned_raw(folder: Path) -> Answer:
    """Row 5."""
    start_cuda()
    return dict(first_of(RawVideo(one_video(folder)), multiprocessing_context="spawn"))


def spawned_store(folder: Path) -> Answer:
    """Row 5, and the frames are those that the parent decodes."""
    store = _on_cuda(folder)
    start_cuda()
    return attempt(lambda: _first_frames(store, multiprocessing_context="spawn"))


def threads_raw(folder: Path) -> Answer:
    """Row 6: each thread in the context that torch uses, which is made current there."""
    start_cuda()
    path = one_video(folder)

    def decode(_: int) -> str:
        check_cuda_usable_here().bind_primary_context(0)
        return raw_format(path, primary_ctx="0", current_ctx="1")

    def all_of_them() -> str:
        with ThreadPoolExecutor(_THREADS) as threads:
            formats = set(threads.map(decode, range(_THREADS)))
        return ", ".join(sorted(formats))

    return attempt(all_of_them)


def threads_store(folder: Path) -> Answer:
    """Row 6, and the frames are those of one thread."""
    store = _on_cuda(folder)
    start_cuda()

    def all_of_them() -> str:
        ids = np.arange(_FRAMES)
        expected = store.read_frames(ids)
        with ThreadPoolExecutor(_THREADS) as threads:
            parts = list(threads.map(store.read_frames, [ids[start::_THREADS] for start in range(_THREADS)]))
        same = all(np.array_equal(expected[start::_THREADS], part) for start, part in enumerate(parts))
        return "cuda" if same else "other frames than in one thread"

    return attempt(all_of_them)


def _on_cuda(folder: Path) -> LiveStore:
    return open_videos(folder, device="cuda", workers=1)


def _first_frames(store: LiveStore, **options: str) -> str:
    ids = list(range(_FRAMES))
    batch = first_of(
        FrameDataset(store),
        batch_sampler=[ids],
        batch_size=1,
        collate_fn=frame_batch_collate,
        **options,
    )
    frames = batch.frames.permute(0, 2, 3, 1).numpy()
    return "cuda" if np.array_equal(frames, store.read_frames(ids)) else "other frames than the parent's"


def main(arguments: Sequence[str]) -> None:
    """Run a row and print its answer."""
    name, folder = arguments
    try:
        answer = globals()[name](Path(folder))
    except Exception as error:  # noqa: BLE001 - told
        answer = described(error)
    print(json.dumps(answer, default=str))


if __name__ == "__main__":
    main(sys.argv[1:])
