"""LeRobot's own reading, for the interpreter that has LeRobot: a script that imports nothing of this package.

`python peer.py REQUEST`, where REQUEST is JSON: `{}` asks what there is. With a data set it reads batches without end.
Every answer is a line of JSON: `{"facts": ...}`; or `{"ready": true}`, and `{"images": n}` for each batch;
`{"error": ...}` where something fails.
"""

import importlib
import json
import multiprocessing
import os
import platform
import signal
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

STAND_IN = "pyav stand-in"
"""LeRobot's `pyav` backend needs `torchvision.io.VideoReader`. Newer versions of torchvision have none, and LeRobot's
own code then runs on `_VideoReader`."""
_ANSWERS = 200
"""The descriptor of the answers. Workers of `DataLoader` have it, too, and do not use it."""
_PACKAGES = ("lerobot", "torch", "torchvision", "torchcodec", "av", "datasets")


def facts() -> dict[str, Any]:
    """Versions, the backends that load, and why others do not."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    if "lerobot" not in versions:  # on the path, not installed
        versions["lerobot"] = str(getattr(importlib.import_module("lerobot"), "__version__", "unknown"))
    backends: list[str] = []
    missing: dict[str, str] = {}
    utils = importlib.import_module("lerobot.datasets.video_utils")
    try:
        importlib.import_module("torchcodec.decoders")
        backends.append("torchcodec")
    except Exception as error:  # noqa: BLE001 - whatever keeps it from loading
        missing["torchcodec"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    is_own = hasattr(utils, "decode_video_frames_pyav")  # from 0.5 on
    backends.append("pyav" if is_own or _has_video_reader() else STAND_IN)
    return {"versions": versions, "backends": backends, "missing": missing}


def _has_video_reader() -> bool:
    return hasattr(importlib.import_module("torchvision.io"), "VideoReader")


def read(request: dict[str, Any]) -> None:
    """Print a line for each batch, until this process is ended."""
    from torch.utils.data import DataLoader
    from torchvision.transforms import v2

    lerobot_dataset = importlib.import_module("lerobot.datasets.lerobot_dataset")
    if request["backend"] == STAND_IN:
        _install_stand_in()
    _say({"ready": True})
    dataset = lerobot_dataset.LeRobotDataset(
        "local/bench",
        root=request["root"],
        delta_timestamps=request["delta_timestamps"] or None,
        image_transforms=v2.Resize(tuple(request["size"])),
        video_backend="pyav" if request["backend"] == STAND_IN else request["backend"],
    )
    cameras = dataset.meta.camera_keys
    batches = DataLoader(
        dataset,
        batch_size=request["batch_size"],
        sampler=_endless(len(dataset), seed=request["seed"]),
        num_workers=request["num_workers"],
    )
    for batch in batches:  # a picture is (B, 3, H, W), those of a window are (B, T, 3, H, W)
        _say({"images": sum(batch[camera].shape[:-3].numel() for camera in cameras)})


class _endless:  # noqa: N801 - used as a function
    """One permutation of all items after another, the same for all that are measured."""

    def __init__(self, num_items: int, *, seed: int) -> None:
        self._num_items, self._seed = num_items, seed

    def __iter__(self) -> Iterator[int]:
        import numpy as np

        draw = np.random.default_rng(self._seed)
        while True:
            yield from draw.permutation(self._num_items).tolist()


class _VideoReader:
    """`torchvision.io.VideoReader` with its `pyav` backend, as torchvision 0.22 had it."""

    def __init__(self, path: str, stream: str) -> None:
        import av

        self.container: Any = av.open(path, metadata_errors="ignore")
        self._frames = self.container.decode(video=0)

    def seek(self, seconds: float, *, keyframes_only: bool) -> None:
        stream: Any = self.container.streams.video[0]
        offset = round(seconds / float(stream.time_base))
        self.container.seek(offset, backward=True, any_frame=not keyframes_only, stream=stream)
        self._frames = self.container.decode(video=0)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        import torch

        for frame in self._frames:
            data = torch.as_tensor(frame.to_rgb().to_ndarray()).permute(2, 0, 1)
            yield {"data": data, "pts": frame.time}


def _install_stand_in() -> None:
    torchvision: Any = importlib.import_module("torchvision")
    torchvision.io.VideoReader = _VideoReader
    torchvision.set_video_backend = lambda backend: None


def _say(answer: dict[str, Any]) -> None:
    os.write(_ANSWERS, (json.dumps(answer) + "\n").encode())


def _end(*_: object) -> None:
    """End at once, with the workers."""
    for worker in multiprocessing.active_children():
        worker.kill()
    os._exit(0)


def main() -> None:
    """Carry out the request."""
    os.dup2(1, _ANSWERS)
    os.dup2(2, 1)  # what libraries print is no answer
    os.environ["HF_HUB_OFFLINE"] = "1"
    owner = os.getpid()
    signal.signal(signal.SIGTERM, lambda *_: _end() if os.getpid() == owner else os._exit(0))
    request = json.loads(sys.argv[1])
    try:
        if request:
            read(request)
        else:
            _say({"facts": facts()})
    except BrokenPipeError:
        _end()
    except Exception as error:  # noqa: BLE001 - told to the parent
        _say({"error": f"{type(error).__name__}: {error}"})
        _end()


if __name__ == "__main__":
    main()
