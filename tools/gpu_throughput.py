"""Step `throughput` of `gpu_acceptance`: images a second to the GPU, live and cached, and what limits them.

Every row is measured for a slice of time in each of some interleaved rounds; figures are medians, and ratios are taken
within a round. All batches end in the GPU's memory (but for the live rows of the CPU), and a slice ends when the GPU
has done what was queued. Frames are 224 x 224; decoding alone leaves them as they are. Each slice is logged at once,
so that a step that is killed leaves something.
"""

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Final

from frame_cache_tools.bench.measure import Rounds, rotated_order
from frame_cache_tools.gpu_feeds import FRAME_BYTES, Feeds
from frame_cache_tools.gpu_findings import Findings, Skip, StepContext, error_text
from frame_cache_tools.gpu_probe import why_no_torch
from frame_cache_tools.gpu_samples import Samples
from frame_cache_tools.gpu_smi import DmonWatch, watching
from frame_cache_tools.gpu_subjects import (
    LiveStores,
    Measure,
    Subject,
    batches_subject,
    copy_limit,
    gather_limit,
    jpeg_limit,
    live_subject,
    nvdec_subject,
)

from cache_builder.gpu import NvdecDevice
from frame_store.shared import num_usable_cpus

_ROUNDS: Final = 3
_WATCH_S: Final = 4
_LIVE_BATCH: Final = 32
"""Of random live frames: each takes a GOP's decoding, and a slice is to hold some batches."""
_LEAST_OF_PINNED: Final = 0.75
_LEAST_TIMES_LIVE: Final = 5.0

RAW, JPEG_CPU, JPEG_GPU = "cached raw", "cached JPEG, decoded on the CPU", "cached JPEG, decoded on the GPU"
PINNED, PAGEABLE = "limit: pinned copy", "limit: pageable copy"
GATHERING = "limit: gathering raw batches on the host"
LIVE = "live NVDEC, 224, {} threads"
DECODE = "NVDEC, decoding alone, {} threads"


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """A row over another."""

    name: str
    ours: str
    others: tuple[str, ...]
    """The fastest of them counts."""
    target: float | None = None


def run(context: StepContext, findings: Findings) -> None:
    """Measure all rows in rounds, then how busy the engines are."""
    samples = Samples(work=context.work)
    nvdec = NvdecDevice() if context.device == "cuda" else None
    no_torch = why_no_torch() if context.device == "cuda" else None
    rounds = Rounds()
    with ExitStack() as stack:
        stores = LiveStores(samples, stack)
        subjects = make_subjects(samples, stores, device=context.device, nvdec=nvdec, quick=context.quick)
        for subject in subjects:
            if no_torch is not None and subject.needs_torch:
                findings.skipped(subject.name, no_torch)
        subjects = [subject for subject in subjects if no_torch is None or not subject.needs_torch]
        measures = _open_all(subjects, stack, rounds, findings)
        subjects = [
            subject for subject in subjects if subject.name in measures or subject.name in rounds.failures
        ]
        for number in range(1 if context.quick else _ROUNDS):
            for subject in rotated_order(subjects, number, num_rounds=_ROUNDS):
                if subject.name in rounds.failures:
                    continue
                if context.seconds_left < subject.seconds + subject.cost_s:
                    print(f"no time for round {number} of {subject.name}")
                    continue
                try:
                    piece = measures[subject.name](subject.seconds)
                except Exception as error:  # noqa: BLE001 - a finding; others go on
                    rounds.failures[subject.name] = error_text(error)
                    continue
                rounds.slices.setdefault(subject.name, {})[number] = piece
                print(f"round {number}, {subject.name}: {piece.images_per_second:.1f} images/s", flush=True)
        report_rows(subjects, rounds, findings)
        report_ratios(rounds, findings, quick=context.quick)
        for name, column in ((DECODE.format(7), "dec"), (f"{JPEG_GPU}, batch 256", "jpg")):
            with findings.part(f"engines busy: {name}"):
                _watch(name, column, measures, context, findings)


def make_subjects(
    samples: Samples, stores: LiveStores, *, device: str, nvdec: NvdecDevice | None, quick: bool
) -> list[Subject]:
    """All rows. Without `nvdec`, the CPU stands for the GPU."""
    short, long = (0.2, 0.3) if quick else (0.6, 1.2)
    cpus = num_usable_cpus()
    paths = samples.fast_paths()
    subjects = [
        Subject(
            name=f"live CPU, 224, {threads} threads",
            open=partial(live_subject, stores, threads, device="cpu", gops=1),
            seconds=short if quick else 1.0,
            needs_torch=False,
        )
        for threads in (1, 8, 16)
    ]
    for threads in (1, 4, 7, 14):
        subjects += [
            Subject(
                name=DECODE.format(threads),
                open=partial(nvdec_subject, paths, threads, nvdec=nvdec),
                seconds=short,
                needs_torch=False,
            ),
            Subject(
                name=LIVE.format(threads),
                open=partial(live_subject, stores, threads, device=device, gops=2),
                seconds=long,
            ),
        ]
    subjects.append(
        Subject(
            name=f"live NVDEC, random frames through FrameLoader, batch {_LIVE_BATCH}",
            open=partial(
                batches_subject,
                lambda: nullcontext(
                    Feeds(samples=samples, device=device, batch_size=_LIVE_BATCH).live_over(stores.on(device))
                ),
                device=device,
            ),
            seconds=short if quick else 2.0,
            cost_s=3.0,
        )
    )
    for batch_size in (256, 128):
        feeds = Feeds(samples=samples, device=device, batch_size=batch_size)
        rows = [(RAW, feeds.raw), (JPEG_CPU, feeds.jpeg_on_cpu), (JPEG_GPU, feeds.jpeg_on_gpu)]
        if batch_size == 256:
            rows.append(("cached raw as float32, converted on the host", feeds.float32))
        subjects += [
            Subject(
                name=f"{name}, batch {batch_size}",
                open=partial(batches_subject, feed, device=device),
                seconds=short,
            )
            for name, feed in rows
        ]
    subjects += [
        Subject(
            name=PINNED,
            open=partial(copy_limit, device=device, batch_size=256, pinned=True),
            seconds=short / 2,
        ),
        Subject(
            name=PAGEABLE,
            open=partial(copy_limit, device=device, batch_size=256, pinned=False),
            seconds=short / 2,
        ),
        Subject(
            name=f"{GATHERING}, {cpus} threads",
            open=partial(gather_limit, samples.raw_cache, cpus, batch_size=256),
            seconds=short,
            needs_torch=False,
        ),
        Subject(
            name="limit: bare decoder of JPEG on the GPU",
            open=partial(jpeg_limit, samples.jpeg_cache, device=device, batch_size=256),
            seconds=short,
        ),
    ]
    return subjects


def report_rows(subjects: Sequence[Subject], rounds: Rounds, findings: Findings) -> None:
    """A finding a row: the median, and what it means in bytes where it is bytes that limit it."""
    for subject in subjects:
        if subject.name in rounds.failures:
            findings.add(subject.name, "error", detail=rounds.failures[subject.name])
            continue
        rate = rounds.rate(subject.name)
        if rate is None:
            findings.skipped(subject.name, "the step's time was up")
            continue
        detail = f"{rate.smallest:.0f} to {rate.largest:.0f}"
        if subject.name.startswith((RAW, PINNED, PAGEABLE, GATHERING)):
            detail += f", {rate.median * FRAME_BYTES / 1e9:.1f} GB/s as uint8"
        findings.measured(
            subject.name,
            round(rate.median, 1),
            "images/s",
            detail=detail,
            data={"rounds": list(rounds.rates(subject.name).values())},
        )


def report_ratios(rounds: Rounds, findings: Findings, *, quick: bool) -> None:
    """The figures that have targets, and which way of decoding JPEG is the faster."""
    live = tuple(LIVE.format(threads) for threads in (1, 4, 7, 14))
    random_live = f"live NVDEC, random frames through FrameLoader, batch {_LIVE_BATCH}"
    for ratio in (
        Ratio(
            name="cached raw / pinned copy",
            ours=f"{RAW}, batch 256",
            others=(PINNED,),
            target=_LEAST_OF_PINNED,
        ),
        Ratio(
            name="cached raw / fastest live NVDEC at 224, in order",
            ours=f"{RAW}, batch 256",
            others=live,
            target=_LEAST_TIMES_LIVE,
        ),
        Ratio(name="cached raw / random live NVDEC", ours=f"{RAW}, batch 256", others=(random_live,)),
        Ratio(
            name="JPEG on the GPU / JPEG on the CPU",
            ours=f"{JPEG_GPU}, batch 256",
            others=(f"{JPEG_CPU}, batch 256",),
        ),
        Ratio(
            name="cached raw / float32 converted on the host",
            ours=f"{RAW}, batch 256",
            others=("cached raw as float32, converted on the host, batch 256",),
        ),
        Ratio(name="7 NVDEC threads / 1", ours=DECODE.format(7), others=(DECODE.format(1),)),
    ):
        rates = {name: rate.median for name in ratio.others if (rate := rounds.rate(name)) is not None}
        if not rates or rounds.rate(ratio.ours) is None:
            findings.skipped(ratio.name, "one of its rows was not measured")
            continue
        spread = rounds.ratio(ratio.ours, max(rates, key=lambda name: rates[name]))
        if spread is None:
            findings.skipped(ratio.name, "its rows were not measured in the same round")
            continue
        value, detail = round(spread.median, 3), f"{spread.smallest:.3g} to {spread.largest:.3g}"
        if ratio.target is None or quick:
            findings.measured(ratio.name, value, detail=detail)
        else:
            findings.check(
                ratio.name,
                value >= ratio.target,
                value,
                target=f"at least {ratio.target:g}",
                detail=detail,
            )


def _open_all(
    subjects: Sequence[Subject], stack: ExitStack, rounds: Rounds, findings: Findings
) -> dict[str, Measure]:
    """What each measures with; what cannot be opened is a failure, or a skip."""
    measures = {}
    for subject in subjects:
        try:
            measures[subject.name] = stack.enter_context(subject.open())
        except Skip as skip:
            findings.skipped(subject.name, str(skip))
        except Exception as error:  # noqa: BLE001 - a finding; others go on
            rounds.failures[subject.name] = error_text(error)
    return measures


def _watch(
    name: str, column: str, measures: dict[str, Measure], context: StepContext, findings: Findings
) -> None:
    seconds = 1 if context.quick else _WATCH_S
    context.check_time(seconds + 4)
    if name not in measures:
        raise Skip("that row was not measured")
    watch: DmonWatch
    with watching(seconds + 1) as watch:
        measures[name](seconds)
    busy = watch.busy(column)
    if busy is None:
        raise Skip(watch.reason or f"nvidia-smi dmon shows nothing in its column {column}")
    findings.measured(
        f"engines busy: {name}",
        busy.median,
        f"% in dmon's column {column}",
        detail=f"largest {busy.largest:.0f} %",
        data={"columns": watch.columns},
    )
