"""What `cache-bias` says of a cache that has grown: what its separate shuffles and content orders cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from frame_cache_tools.bias.cases import BiasCase
from frame_cache_tools.bias.table import MAX_FRAMES_READ, BiasTable
from frame_cache_tools.bias.text import effect_text_of, short_name, wrapped

from frame_store import CameraGroup, base_of
from frame_store.content_order import bisected, ids_in_order, read_coordinates
from frame_store.growth import generation_frames_of, num_content_orders
from frame_store.manifest import many_generations_hint
from frame_store.shared import counted, counted_in_groups, num_usable_cpus
from loader import SamplingSpec
from loader.bias import BiasReport
from loader.bias.webdataset import WebDatasetSpec


@dataclass(frozen=True, kw_only=True)
class Alternatives:
    """A sampler on a grown cache, and what it would be on the cache after other commands."""

    name: str
    here: BiasReport
    joined: BiasReport | None = None
    """`shards` and `block`: after `cache-compact --all`; None where there is nothing to join, or too few shards."""
    shuffled: BiasReport | None = None
    """`shards` and `block`: after a build of all videos, which shuffles them as one."""
    one_order: BiasReport | None = None
    """`stratified` by content: after `--write-order`; None where not all frames are read."""


@dataclass(frozen=True, kw_only=True)
class GrownCase:
    """A case whose cache has grown."""

    generation_frames: tuple[int, ...]
    num_content_orders: int
    rows: list[Alternatives]

    def builtins(self) -> dict[str, Any]:
        """As plain JSON values: effective batches, None where they are not known."""
        return {
            "generation_frames": list(self.generation_frames),
            "num_content_orders": self.num_content_orders,
            "samplers": [
                {
                    "name": row.name,
                    "effective_batch": row.here.effective_batch,
                    "if_joined": None if row.joined is None else row.joined.effective_batch,
                    "if_shuffled_as_one": None if row.shuffled is None else row.shuffled.effective_batch,
                    "if_ordered_as_one": None if row.one_order is None else row.one_order.effective_batch,
                }
                for row in self.rows
            ],
        }


def growth_of_case(
    table: BiasTable, rows: Sequence[tuple[SamplingSpec | WebDatasetSpec, BiasReport]]
) -> GrownCase | None:
    """What growing costs the samplers in `rows`; None for a case that has not grown.

    Windows, weights and an assumed rho have no such figures: their rows are of the cache as it is.
    """
    case = table.case
    if not case.has_grown or case.store is None:
        return None
    num_orders = num_content_orders(case.store)
    found: list[Alternatives] = []
    if table.windows is None and table.weights is None and table.proxy:
        for spec, report in rows:
            if isinstance(spec, WebDatasetSpec):
                continue
            name = short_name(spec, report.law)
            if spec.uses_shards and spec.shard_choice == "proportional" and case.layout == "shuffled":
                found.append(
                    Alternatives(
                        name=name,
                        here=report,
                        joined=table.report_if_joined(spec),
                        shuffled=table.report_if_shuffled(spec),
                    )
                )
            elif spec.strata != "time" and num_orders > 1:
                order = _order_over_all(case)
                one = None if order is None else table.report_by_content(spec, order)
                found.append(Alternatives(name=name, here=report, one_order=one))
    return GrownCase(
        generation_frames=generation_frames_of(case.store), num_content_orders=num_orders, rows=found
    )


def _order_over_all(case: BiasCase) -> npt.NDArray[np.int64] | None:
    """Frame ids in the content order that `--write-order` would write; None where not all frames are read."""
    store = case.store
    if store is None or isinstance(base_of(store), CameraGroup) or case.num_frames > MAX_FRAMES_READ:
        return None
    coordinates = read_coordinates(store, num_threads=num_usable_cpus())
    return ids_in_order(store, bisected(coordinates)).astype(np.int64)


def grown_text(grown: GrownCase) -> list[str]:
    """Lines below the table."""
    frames = grown.generation_frames
    sizes = f"{min(frames):,}" if min(frames) == max(frames) else f"{min(frames):,} to {max(frames):,}"
    of_frames = counted_in_groups(max(frames), "frame").partition(" ")[2]
    lines = wrapped(
        f"the cache has grown: {counted(len(frames), 'generation')} of {sizes} {of_frames}, and each build was "
        "shuffled by itself, so frames of a shard are more alike than in one shuffle of all (S71); samplers that draw "
        "single frames do not depend on it",
        indent=2,
    )
    if (hint := many_generations_hint(len(frames))) is not None:
        lines += wrapped(f"  {hint}", indent=4)
    for row in grown.rows:
        parts = [f"B_eff {effect_text_of(row.here)}"]
        if row.joined is not None:
            parts.append(f"after cache-compact --all {effect_text_of(row.joined)} (S73)")
        if row.shuffled is not None:
            parts.append(f"after a build of all videos, shuffled as one, {effect_text_of(row.shuffled)}")
        if row.shuffled is None:
            parts[0] += f" by {counted(grown.num_content_orders, 'order')} of the appends, joined"
            by_one = "" if row.one_order is None else f": {effect_text_of(row.one_order)}"
            parts.append(f"--write-order orders all frames as one{by_one}")
        lines += wrapped(f"  {row.name}: {'; '.join(parts)}", indent=4)
    return lines
