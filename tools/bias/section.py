"""A section of the output of `cache-bias`: one case, and a row for each sampler."""

from dataclasses import asdict
from typing import Any

import numpy as np
from frame_cache_tools.bias.grown import grown_text, growth_of_case
from frame_cache_tools.bias.plan import MeasuredSampler, measure_candidates
from frame_cache_tools.bias.samplers import candidates
from frame_cache_tools.bias.table import BiasTable
from frame_cache_tools.bias.text import table_text

from cache_builder.errors import ConfigError
from loader import SamplingError, SamplingSpec
from loader.bias import NOTHING_VARIES, BiasReport, LongRun, Target
from loader.bias.webdataset import WebDatasetSpec


class Section:
    """The reports on one case: of `spec`, or of all candidates if it is None.

    Raises:
        SamplingError: the loader would refuse `spec`, or every candidate.
    """

    def __init__(self, table: BiasTable, spec: SamplingSpec | WebDatasetSpec | None) -> None:
        specs = (
            candidates(table.case, batch_size=table.batch_size, weights=table.weights)
            if spec is None
            else [spec]
        )
        self.table = table
        self.rows: list[tuple[SamplingSpec | WebDatasetSpec, BiasReport]] = []
        self._refused: list[str] = []
        for each in specs:
            try:
                self.rows.append((each, table.report(each)))
            except SamplingError as error:
                if spec is not None:
                    raise
                self._refused.append(f"{each}: {error}")
        if not self.rows:
            raise SamplingError("\n".join(self._refused))
        self._grown = growth_of_case(table, self.rows)

    def measure(self) -> list[MeasuredSampler]:
        """Frames/s of each sampler of ours."""
        return measure_candidates(
            self.table, [(spec, report) for spec, report in self.rows if isinstance(spec, SamplingSpec)]
        )

    def text(self) -> str:
        """The table for a terminal."""
        lines = [table_text(self.table, self.rows, self.table.levels())]
        if self._grown is not None:
            lines += grown_text(self._grown)
        return "\n".join([*lines, *self._refused])

    def builtins(self) -> dict[str, Any]:
        """The case and its reports as plain JSON values."""
        case = self.table.case
        return {
            "name": case.name,
            "layout": case.layout,
            "num_frames": case.num_frames,
            "num_shards": len(case.shard_sizes),
            "world_size": self.table.world_size,
            "batch_size": self.table.batch_size,
            "global_batch_size": self.table.world_size * self.table.batch_size,
            "rho": [asdict(estimate) for estimate in self.table.levels()],
            "samplers": [self._row_builtins(spec, report) for spec, report in self.rows],
            "refused": self._refused,
            "grown": None if self._grown is None else self._grown.builtins(),
        }

    def broken_limits(
        self, *, max_chi2: float | None, target: Target | None, least_batch: float | None
    ) -> list[str]:
        """A line for each limit that a row breaks. `target` None is the target of each sampler.

        Raises:
            ConfigError: `least_batch` is given, and nothing certain is known of a sampler's effective batch.
        """
        lines = []
        for _, report in self.rows:
            where = f"{self.table.case.name}: {report.law.name}"
            judged = target or report.law.target
            chi2 = report.law.chi2_over(judged)
            if max_chi2 is not None and report.law.chi2_is_by_slots:
                lines.append(
                    f"{where}: no chi2 to judge: a worker's last batch is short, and a step like any other; "
                    f"take a --batch-size that fits the shards"
                )
            elif max_chi2 is not None and chi2 > max_chi2:
                lines.append(f"{where}: chi2 over {judged} is {chi2:.4g}, at most {max_chi2:g} is allowed")
            if least_batch is None:
                continue
            certain = report.least_effective_batch
            if certain is None:
                which = "that differ" if report.why_not_exact == NOTHING_VARIES else "of all frames"
                raise ConfigError(
                    f"{where}: --min-effective-batch judges what is certain, and nothing certain is known of this "
                    f"sampler here ({report.why_not_exact}); give --features {which}"
                )
            if certain < least_batch:
                lines.append(
                    f"{where}: the effective global batch may be only {certain:.1f} independent frames, "
                    f"at least {least_batch:g} are required"
                )
        return lines

    def _row_builtins(self, spec: SamplingSpec | WebDatasetSpec, report: BiasReport) -> dict[str, Any]:
        law, run = report.law, report.long_run
        values = asdict(report)
        values["law"] |= {
            "target": law.target,
            "short_videos": [video._asdict() for video in self.table.short_videos(spec)],
            "bias_at_most_in_sigma": float(np.sqrt(law.chi2)),
            "worst_design_effect": law.worst_design_effect,
            "effective_batch_floor": law.effective_batch_floor,
            "floor_is_proven": law.floor_is_proven,
        }
        del values["law"][
            "shard_probability"
        ]  # it has a number for each shard, and `--json` should stay small
        return values | {
            "is_exact": report.is_exact,
            "effective_batch": report.effective_batch,
            "effective_batch_low": report.effective_batch_low,
            "effective_batch_high": report.effective_batch_high,
            "long_run": None if run is None else _with_worth(run),
            "effective_batch_with_bias": report.effective_batch_with_bias,
            "least_effective_batch": report.least_effective_batch,
        }


def _with_worth(run: LongRun) -> dict[str, Any]:
    return {
        **asdict(run),
        "effective_batch": run.effective_batch,
        "effective_batch_low": run.effective_batch_low,
        "effective_batch_high": run.effective_batch_high,
    }
