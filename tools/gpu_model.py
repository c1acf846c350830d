"""Step `model` of `gpu_acceptance`: training a ResNet-18 from the caches, and how long the GPU waits for its food.

bf16, channels_last, batches of 128, SGD, on a stream of its own. The bound is the same training on batches that lie on
the GPU already; with augmentation, on batches there that are augmented each time.

Idle share, in two ways:

- between steps: an event before the first kernel of each step, once its batch is there, and one behind its last. The
  time inside the pairs, over that from the first event to the last, is the busy share; the rest is waiting for food.
- by kernels: of some more steps under torch's profiler, the time in which no kernel runs at all, from the first to the
  last. The gaps inside steps, where the host is slow to launch, count here, too; so do the profiler's own.

The host never runs more than a few steps ahead of the GPU, as a training that looks at its loss does not.
"""

import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
from frame_cache_tools.bench.measure import Rounds, Slice, rotated_order
from frame_cache_tools.gpu_feeds import Feed, Feeds, endless, num_in_flight, synchronize
from frame_cache_tools.gpu_findings import Findings, Skip, StepContext, error_text
from frame_cache_tools.gpu_resnet import make_resnet18, make_tiny
from frame_cache_tools.gpu_samples import Samples
from frame_cache_tools.gpu_trace import kernel_share, profile_gpu
from torch import nn

from loader import Augmentation, exercise_augmentation

BATCH_SIZE: Final = 128
MOST_IDLE: Final = 0.05
_ROUNDS: Final = 3
_SLICE_S: Final = 1.5
_STEPS_AHEAD: Final = 3
_PROFILED_STEPS: Final = 25
_RESIDENT_BATCHES: Final = 4
_CLASSES: Final = 1000
BOUND, BOUND_AUGMENTED = "resident on the GPU", "resident on the GPU, augmented there"
CACHED = ("cached raw", "cached JPEG, decoded on the CPU", "cached JPEG, decoded on the GPU")


@dataclass(frozen=True, kw_only=True)
class Food:
    """Where batches come from."""

    name: str
    feed: Feed
    warm_steps: int
    """Not counted: they come from what was read while others were measured."""
    num_rounds: int = _ROUNDS


@dataclass(frozen=True, kw_only=True)
class Window:
    """Some steps of training."""

    num_images: int
    seconds: float
    busy_seconds: float
    """Inside steps."""
    span_seconds: float
    """From the first step's begin to the last one's end."""

    @property
    def idle_share(self) -> float:
        """Of the span, the part between steps."""
        return max(0.0, 1 - self.busy_seconds / self.span_seconds)


class Marks:
    """Begins and ends of steps, on the GPU's clock; on the CPU, on the host's."""

    def __init__(self, device: str) -> None:
        self._is_gpu = device == "cuda"
        self._pairs: list[tuple[Any, Any]] = []
        self._begin: Any = None

    def begin(self) -> None:
        """What is queued now waits for the batch; what follows is the step."""
        self._begin = self._mark()

    def end(self) -> None:
        """The step is queued. Wait for one some steps before it."""
        self._pairs.append((self._begin, self._mark()))
        if self._is_gpu and len(self._pairs) > _STEPS_AHEAD:
            self._pairs[-1 - _STEPS_AHEAD][1].synchronize()

    def spans(self) -> tuple[float, float]:
        """Seconds inside steps, and from the first begin to the last end. The GPU must be done."""
        busy = sum(self._seconds(begin, end) for begin, end in self._pairs)
        return busy, self._seconds(self._pairs[0][0], self._pairs[-1][1])

    def _mark(self) -> Any:  # noqa: ANN401 - an event or a time
        if not self._is_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _seconds(self, begin: Any, end: Any) -> float:  # noqa: ANN401 - as above
        return float(begin.elapsed_time(end)) / 1000 if self._is_gpu else float(end - begin)


class Training:
    """A network that learns something."""

    def __init__(self, model: nn.Module, *, device: str, batch_size: int) -> None:
        self._device = device
        self._dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self._model = model.to(device, dtype=self._dtype, memory_format=torch.channels_last)
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=0.01, momentum=0.9)
        self._labels = torch.randint(0, _CLASSES, (batch_size,), device=device)

    def step(self, frames: torch.Tensor) -> None:
        """Forward, backward, update; nothing is waited for. Frames (B, 3, H, W): uint8, or floats in [0, 1]."""
        images = frames.to(dtype=self._dtype, memory_format=torch.channels_last)
        if frames.dtype == torch.uint8:
            images = images / 255
        logits = self._model(images)
        loss = nn.functional.cross_entropy(logits.float(), self._labels[: len(frames)])
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()


def run(context: StepContext, findings: Findings) -> None:
    """Train from each kind of food in interleaved rounds, then some steps of each under the profiler."""
    device = context.device
    batch_size = 8 if device == "cpu" else BATCH_SIZE
    torch.backends.cudnn.benchmark = True
    model = make_tiny(_CLASSES) if device == "cpu" else make_resnet18(_CLASSES)
    training = Training(model, device=device, batch_size=batch_size)
    foods = make_foods(Samples(work=context.work), device=device, batch_size=batch_size)
    rounds, idle = Rounds(), dict[str, list[float]]()
    with ExitStack() as stack, own_stream(device):
        open_foods: dict[str, Iterator[Any]] = {}
        for food in foods:
            with findings.part(food.name):
                loader = stack.enter_context(food.feed())
                open_foods[food.name] = stack.enter_context(closing(endless(loader)))
        foods = [food for food in foods if food.name in open_foods]
        _train_from(training, open_foods[BOUND], steps=5, device=device)  # cudnn chooses its kernels
        for number in range(1 if context.quick else _ROUNDS):
            for food in rotated_order(foods, number, num_rounds=_ROUNDS):
                if food.name in rounds.failures or number >= food.num_rounds:
                    continue
                if context.seconds_left < 3 * _SLICE_S:
                    print(f"no time for round {number} of {food.name}")
                    continue
                try:
                    _train_from(training, open_foods[food.name], steps=food.warm_steps, device=device)
                    window = train(
                        training,
                        open_foods[food.name],
                        seconds=0.2 if context.quick else _SLICE_S,
                        device=device,
                    )
                except Exception as error:  # noqa: BLE001 - a finding; others go on
                    rounds.failures[food.name] = error_text(error)
                    findings.add(food.name, "error", detail=error_text(error))
                    continue
                rounds.slices.setdefault(food.name, {})[number] = Slice(
                    images=window.num_images, seconds=window.seconds, seconds_to_first_batch=None
                )
                idle.setdefault(food.name, []).append(window.idle_share)
                print(
                    f"round {number}, {food.name}: {window.num_images / window.seconds:.0f} images/s",
                    flush=True,
                )
        report(foods, rounds, idle, findings, judged=device == "cuda" and not context.quick)
        for food in foods:
            if food.name not in rounds.failures and food.num_rounds > 1:
                with findings.part(f"{food.name}: GPU idle by kernels"):
                    _profile(training, food, open_foods[food.name], context, findings)


def make_foods(samples: Samples, *, device: str, batch_size: int) -> list[Food]:
    """All kinds."""
    augment = exercise_augmentation(cached=True)
    feeds = Feeds(samples=samples, device=device, batch_size=batch_size, augment=augment)
    in_flight = num_in_flight()
    cached = (feeds.raw, feeds.jpeg_on_cpu, feeds.jpeg_on_gpu)
    return [
        Food(name=BOUND, feed=lambda: resident(device, batch_size, None), warm_steps=3),
        Food(name=BOUND_AUGMENTED, feed=lambda: resident(device, batch_size, augment), warm_steps=3),
        *(
            Food(name=name, feed=feed, warm_steps=in_flight)
            for name, feed in zip(CACHED, cached, strict=True)
        ),
        # Slow, so that reading what waits takes long.
        Food(name="live NVDEC", feed=feeds.live, warm_steps=in_flight, num_rounds=1),
    ]


def resident(
    device: str, batch_size: int, augment: Augmentation | None
) -> AbstractContextManager[Iterable[torch.Tensor]]:
    """Batches of noise that lie on the device."""
    batches = [
        torch.randint(0, 256, (batch_size, 3, 224, 224), dtype=torch.uint8, device=device).contiguous(
            memory_format=torch.channels_last
        )
        for _ in range(_RESIDENT_BATCHES)
    ]
    if augment is None:
        return nullcontext(batches)
    return nullcontext(_Augmented(batches, augment))


@dataclass(frozen=True)
class _Augmented:
    batches: list[torch.Tensor]
    augment: Augmentation

    def __iter__(self) -> Iterator[torch.Tensor]:
        for epoch in itertools.count():
            for number, batch in enumerate(self.batches):
                ids = range(number * len(batch), (number + 1) * len(batch))
                yield self.augment(batch, frame_ids=list(ids), epoch=epoch)


def train(training: Training, batches: Iterator[Any], *, seconds: float, device: str) -> Window:
    """Steps for about so many seconds."""
    synchronize(device)
    marks = Marks(device)
    started = time.perf_counter()
    num_images = 0
    while not num_images or time.perf_counter() - started < seconds:
        frames = _frames_of(next(batches))
        marks.begin()
        training.step(frames)
        marks.end()
        num_images += len(frames)
    synchronize(device)
    elapsed = time.perf_counter() - started
    busy, span = marks.spans()
    return Window(num_images=num_images, seconds=elapsed, busy_seconds=busy, span_seconds=span)


def report(
    foods: list[Food],
    rounds: Rounds,
    idle: dict[str, list[float]],
    findings: Findings,
    *,
    judged: bool,
) -> None:
    """Images a second, share of the bound, and idle share between steps, which has a target for the caches."""
    for food in foods:
        rate = rounds.rate(food.name)
        if rate is None:
            if food.name not in rounds.failures:
                findings.skipped(food.name, "the step's time was up")
            continue
        of_bound = rounds.ratio(food.name, BOUND)
        findings.measured(
            food.name,
            round(rate.median, 1),
            "images/s",
            detail="" if of_bound is None else f"{of_bound.median:.3f} of the bound",
            data={"rounds": list(rounds.rates(food.name).values()), "idle": idle[food.name]},
        )
        shares = sorted(idle[food.name])
        share = shares[len(shares) // 2]
        name = f"{food.name}: GPU idle between steps"
        if judged and food.name in CACHED:
            findings.check(name, share < MOST_IDLE, round(100 * share, 2), unit="%", target="under 5 %")
        else:
            findings.measured(name, round(100 * share, 2), "%")


@contextmanager
def own_stream(device: str) -> Iterator[None]:
    """Queue on a stream of its own: the default one is the decoder's."""
    if device != "cuda":
        yield
        return
    with torch.cuda.stream(torch.cuda.Stream()):
        yield
        torch.cuda.synchronize()


def _profile(
    training: Training, food: Food, batches: Iterator[Any], context: StepContext, findings: Findings
) -> None:
    context.check_time(8)
    steps = 2 if context.quick else _PROFILED_STEPS
    _train_from(training, batches, steps=food.warm_steps, device=context.device)
    events = profile_gpu(
        lambda: _train_from(training, batches, steps=steps, device=context.device),
        context.work / "trace.json",
    )
    share = kernel_share(events)
    if share is None:
        raise Skip("the profiler saw no kernels")
    findings.measured(
        f"{food.name}: GPU idle by kernels", round(100 * (1 - share), 2), "%", detail=f"{steps} steps"
    )


def _train_from(training: Training, batches: Iterator[Any], *, steps: int, device: str) -> None:
    marks = Marks(device)
    for _ in range(steps):
        frames = _frames_of(next(batches))
        marks.begin()
        training.step(frames)
        marks.end()
    synchronize(device)


def _frames_of(batch: Any) -> torch.Tensor:  # noqa: ANN401 - a FrameBatch or a tensor
    frames: torch.Tensor = batch if isinstance(batch, torch.Tensor) else batch.frames
    return frames
