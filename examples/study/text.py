"""The study as text: tables, then the claims."""

from typing import Any

import numpy as np

from study.claims import REFERENCE, half_interval, noise_claims, shrinking_claims, training_claims, verdict


def study_text(results: dict[str, Any]) -> str:
    """Everything that was found."""
    return "\n".join(
        [
            *_noise_lines(results),
            *_short_lines(results["short_videos"]),
            *_long_run_lines(results["mean_picture"]),
            *_training_lines(results["training"]),
            "",
            "What these figures say",
            *_bulleted(noise_claims(results["noise"], batch_size=results["batch_size"])),
            *_bulleted(shrinking_claims(results["noise"], results["tasks"])),
            *_bulleted(training_claims(results["training"])),
        ]
    )


def _bulleted(lines: list[str]) -> list[str]:
    return [f"- {line}" for line in lines]


def _noise_lines(results: dict[str, Any]) -> list[str]:
    lines = [
        f"(a) The mean of a batch of {results['batch_size']}: {results['clips']['name']}, "
        f"{results['clips']['num_frames']:,} frames. noise: variance over that of independent, uniform frames;",
        "    bias: over sigma, the standard deviation of a frame. In brackets: predicted by loader.bias.",
        f"    {results['identity']['batches']:,} batches read through FrameLoader had the ids of its orders.",
    ]
    for features, rows in results["noise"].items():
        lines += ["", f"{features:<24}{'noise':>10}  (predicted)  std. error      bias  (predicted)"]
        for sampler, row in rows.items():
            predicted, bias = row["predicted"], row["predicted_bias"]
            lines.append(
                f"  {sampler:<22}{row['design_effect']:>10.4f}  {_bracket(predicted)}  {row['standard_error']:>10.4f}"
                f"  {row['bias']:>8.4f}  {_bracket(bias)}"
            )
    return lines


def _bracket(value: float | None) -> str:
    return f"{'(none)' if value is None else f'({value:.4f})':>11}"


def _short_lines(short: dict[str, Any]) -> list[str]:
    lines = [
        "",
        f"(b) {short['num_pieces']} pieces of {short['piece_frames']} frames in random order: noise (predicted)",
    ]
    for name in ("by time", "by content"):
        if name in short:
            figures = "  ".join(
                f"B={size}: {row['design_effect']:.4f} {_bracket(row['predicted']).strip()}"
                for size, row in zip(short["batch_sizes"], short[name], strict=True)
            )
            lines.append(f"  stratified, {name:<12}{figures}")
    return lines


def _long_run_lines(found: dict[str, Any]) -> list[str]:
    lines = [
        "",
        f"(c) One mean picture, trained by SGD with batches of {found['batch_size']}: noise in the long run, over that",
        "    of independent frames (predicted by S43). Last column: for the smallest step, the error with the bias.",
        "  " + f"{'step size':<24}" + "".join(f"{size:>20g}" for size in found["step_sizes"]),
    ]
    for sampler, rows in found["samplers"].items():
        cells = "".join(f"{row['effect']:>9.3f} {_bracket(row['predicted'])[1:]}" for row in rows)
        lines.append(f"  {sampler:<24}{cells}  {rows[-1]['with_bias']:>10.3f}")
    return lines


MARKS = {"lower": "<", "higher": ">", "no difference seen": " "}


def _training_lines(training: dict[str, Any]) -> list[str]:
    lines = [
        "",
        "(c) An autoencoder. Loss at the end, mean over seeds and half a 95% interval. < lower, > higher than i.i.d.",
        "    frames: the 95% interval of the difference does not hold 0. By chance, about one mark in 20 is wrong.",
    ]
    for start, run in training.items():
        lines += ["", f"{start}: {run['text']}"]
        for part, samplers in run["last"].items():
            lines.append(f"  {part:<24}" + "".join(f"{f'step {size:g}':>24}" for size in run["step_sizes"]))
            whole = run["whole"]
            for sampler, losses in samplers.items():
                cells = ""
                for number, (row, reference) in enumerate(zip(losses, samplers[REFERENCE], strict=True)):
                    excess = np.asarray(row) - (0.0 if whole is None else whole[part][number])
                    mark = MARKS[verdict([a - b for a, b in zip(row, reference, strict=True)])]
                    cells += f"{mark:>3}{excess.mean():>10.4f} +- {half_interval(excess):>7.4f}"
                lines.append(f"    {sampler:<22}{cells}")
    return lines
