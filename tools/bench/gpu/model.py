"""The rows of `cache-bench` that train a ResNet-18 on the GPU, and how long the GPU waits for batches.

bf16, channels_last, SGD, on a stream of its own. The limit is the same training on batches that lie on the GPU
already. The GPU's idle time is measured in two ways:

- between steps: an event is recorded when the batch of a step has arrived, before the first kernel of the step, and
  another event after its last kernel. The time inside the pairs is busy; the rest, from the first event to the last,
  is idle.
- by kernels: the time in which no kernel runs, over some more steps under torch's profiler. This includes the gaps
  inside steps where the host launches kernels slowly, and the gaps that the profiler causes.

The host never runs more than a few steps ahead of the GPU.
"""

import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frame_cache_tools.bench.gpu.sources import Epochs, Feed, GpuDevice, synchronize
from frame_cache_tools.bench.gpu.trace import kernel_share, profile_gpu
from frame_cache_tools.bench.measure import KeepResult, Slice, SliceRule, measure_batches

if TYPE_CHECKING:
    import torch
    from torch import nn

IDLE = "GPU idle between steps %"
_STEPS_AHEAD = 3
_PROFILED_STEPS = 25
_RESIDENT_BATCHES = 4
_CLASSES = 1000


@dataclass(frozen=True, kw_only=True)
class Resident:
    """Batches of noise in the memory of the device, augmented there each time or not."""

    batch_size: int
    augmented: bool = False
    device: GpuDevice = "cuda"

    @contextmanager
    def open(self) -> Iterator[Epochs]:
        """Epochs of the same batches."""
        import torch

        from loader import exercise_augmentation

        shape = (self.batch_size, 3, 224, 224)
        noise = [
            torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device).contiguous(
                memory_format=torch.channels_last
            )
            for _ in range(_RESIDENT_BATCHES)
        ]
        augment, ids = exercise_augmentation(cached=True), list(range(self.batch_size))

        def epoch() -> "Generator[torch.Tensor, None, None]":
            for batch in noise:
                yield augment(batch, frame_ids=ids, epoch=0) if self.augmented else batch

        yield epoch


class Steps:
    """Begins and ends of training steps, on the GPU's clock; on the CPU, on the host's."""

    def __init__(self, device: GpuDevice) -> None:
        self._is_gpu = device == "cuda"
        self._pairs: list[tuple[Any, Any]] = []

    @contextmanager
    def step(self) -> Iterator[None]:
        """The work queued in the block is a step. At its end, wait until a step some steps earlier is done."""
        begin = self._mark()
        yield
        self._pairs.append((begin, self._mark()))
        if self._is_gpu and len(self._pairs) > _STEPS_AHEAD:
            self._pairs[-1 - _STEPS_AHEAD][1].synchronize()

    def idle_share(self, num_last: int) -> float:
        """The share of idle time in the last steps. Call it when the GPU is done."""
        pairs = self._pairs[-num_last:]
        busy = sum(self._seconds(begin, end) for begin, end in pairs)
        return max(0.0, 1 - busy / self._seconds(pairs[0][0], pairs[-1][1]))

    def _mark(self) -> Any:  # noqa: ANN401 - an event or a time
        if not self._is_gpu:
            return time.perf_counter()
        import torch

        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def _seconds(self, begin: Any, end: Any) -> float:  # noqa: ANN401 - as above
        return float(begin.elapsed_time(end)) / 1000 if self._is_gpu else float(end - begin)


class Training:
    """A network and its optimizer."""

    def __init__(self, model: "nn.Module", *, device: GpuDevice, batch_size: int) -> None:
        import torch

        self._dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self.model = model.to(device, self._dtype).to(memory_format=torch.channels_last)
        self._optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        self._labels = torch.randint(0, _CLASSES, (batch_size,), device=device)

    def step(self, frames: "torch.Tensor") -> None:
        """Forward, backward, update, without waiting for the GPU. Frames (B, 3, H, W): uint8, or floats in [0, 1]."""
        import torch

        images = frames.to(dtype=self._dtype, memory_format=torch.channels_last)
        if frames.dtype == torch.uint8:
            images = images / 255
        logits = self.model(images)
        loss = torch.nn.functional.cross_entropy(logits.float(), self._labels[: len(frames)])
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()


@dataclass(frozen=True, kw_only=True)
class TrainingSource:
    """A ResNet-18 that trains on the batches of a feed."""

    feed: Feed | Resident
    profiled: bool = True

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """See `ImageSource`."""
        import torch

        device = self.feed.device
        torch.backends.cudnn.benchmark = True
        training = Training(_make_model(device), device=device, batch_size=self.feed.batch_size)
        steps = Steps(device)

        def trained() -> Generator[int, None, None]:
            with closing(epoch()) as batches:
                for frames in batches:
                    with steps.step():
                        training.step(frames)
                    yield len(frames)

        opened_at = time.perf_counter()
        with _own_stream(device), self.feed.open() as epoch:
            measured = measure_batches(trained, rule, keep, opened_at=opened_at)
            synchronize(device)
            figures = {IDLE: 100 * steps.idle_share(measured.images // self.feed.batch_size)}
            if self.profiled and (share := _share_of_kernels(trained, rule.warm_batches)) is not None:
                figures["GPU idle by kernels %"] = 100 * (1 - share)
        return replace(measured, figures=figures)


@contextmanager
def _own_stream(device: GpuDevice) -> Iterator[None]:
    """Use a stream of its own: the decoder uses the default stream."""
    import torch

    if device == "cpu":
        yield
        return
    with torch.cuda.stream(torch.cuda.Stream()):  # type: ignore[no-untyped-call]
        yield


def _make_model(device: GpuDevice) -> "nn.Module":
    """A ResNet-18; on the CPU, where only the code is tested, a tiny network for the same images."""
    if device == "cpu":
        from torch import nn

        return nn.Sequential(nn.AdaptiveAvgPool2d(8), nn.Flatten(), nn.Linear(3 * 8 * 8, _CLASSES))
    from torchvision.models import resnet18

    model: nn.Module = resnet18(weights=None, num_classes=_CLASSES)
    return model


def _share_of_kernels(trained: Callable[[], Generator[int, None, None]], warm_steps: int) -> float | None:
    with closing(_endless(trained)) as steps, tempfile.TemporaryDirectory() as folder:
        for _ in islice(steps, warm_steps):
            pass
        events = profile_gpu(lambda: list(islice(steps, _PROFILED_STEPS)), Path(folder, "trace.json"))
    return kernel_share(events)


def _endless(epochs: Callable[[], Generator[int, None, None]]) -> Generator[int, None, None]:
    while True:
        yield from epochs()
