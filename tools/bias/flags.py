"""Turns the flags of `cache-bias` into cases, a sampler and tables, and refuses flags that do not fit together."""

import math
from typing import Any

from frame_cache_tools.bias.cases import BiasCase, case_of_sizes, case_of_store, cases_of_videos
from frame_cache_tools.bias.gradients import gradient_features
from frame_cache_tools.bias.table import BiasTable
from frame_cache_tools.bias.views import check_views, is_one_cache, stores_of_flags, weights_of_flag

from cache_builder.errors import ConfigError
from loader import SamplingSpec
from loader.bias import least_correlation, load_features, scaled_features
from loader.bias.webdataset import WebDatasetSpec
from loader.sampling import frames_of_visit
from loader.windows import WindowSpec, window_spec


def cases_of_flags(flags: dict[str, Any]) -> list[BiasCase]:
    """The caches, the folder or the file to describe."""
    given = [bool(flags[name]) for name in ("caches", "videos", "shard_sizes")]
    if sum(given) != 1:
        raise ConfigError("say what to look at: one or more CACHE, or --videos DIR, or --shard-sizes FILE")
    check_views(flags)
    if flags["videos"] is not None:
        cases = cases_of_videos(flags["videos"])
        if windows_of_flags(flags) is None:
            return cases
        # Where the frames of a shuffled cache lie is known when it is built.
        return [case for case in cases if case.layout == "video"]
    if flags["shard_sizes"] is not None:
        return [case_of_sizes(flags["shard_sizes"])]
    return [case_of_store(name, store, camera=flags["camera"]) for name, store in stores_of_flags(flags)]


def spec_of_flags(flags: dict[str, Any]) -> SamplingSpec | WebDatasetSpec | None:
    """The sampler to describe; None for all candidates."""
    if flags["sampling"] == "webdataset":
        return WebDatasetSpec(shuffle_buffer=flags["shuffle_buffer"], num_workers=flags["num_workers"])
    if flags["sampling"] is None and windows_of_flags(flags) is None:
        return None
    frames_per_visit = flags["frames_per_visit"]
    if flags["shards_per_batch"] is not None:
        frames_per_visit = frames_of_visit(
            batch_size=flags["batch_size"],
            shards_per_batch=flags["shards_per_batch"],
            frames_per_visit=frames_per_visit,
        )
    return SamplingSpec(
        sampling=flags["sampling"] or "permutation",
        frames_per_visit=frames_per_visit,
        **{
            name: flags[name]
            for name in (
                "shard_choice",
                "frames_with_replacement",
                "shards_per_block",
                "strata",
            )
        },
    )


def windows_of_flags(flags: dict[str, Any]) -> WindowSpec | None:
    """The windows to describe; None for single frames."""
    offsets = None
    if flags["frame_offsets"] is not None:
        try:
            offsets = [int(word) for word in flags["frame_offsets"].replace(",", " ").split()]
        except ValueError:
            raise ConfigError(
                f"--frame-offsets takes whole numbers such as -1,0, found {flags['frame_offsets']!r}"
            ) from None
    windows = window_spec(
        frame_offsets=offsets,
        edges=flags["edges"],
        clip_frames=flags["clip_frames"],
        clip_stride=flags["clip_stride"],
    )
    return windows if windows.has_windows else None


def check_together(
    flags: dict[str, Any], cases: list[BiasCase], spec: SamplingSpec | WebDatasetSpec | None
) -> None:
    """Refuse flags that contradict each other.

    Raises:
        ConfigError: they do.
    """
    if spec is None and (flags["max_chi2"] is not None or flags["min_effective_batch"] is not None):
        raise ConfigError("--max-chi2 and --min-effective-batch judge one sampler: give --sampling")
    has_windows = windows_of_flags(flags) is not None
    if has_windows and isinstance(spec, WebDatasetSpec):
        raise ConfigError("webdataset has no windows: leave --clip-frames and --frame-offsets out")
    if isinstance(spec, WebDatasetSpec) and not all(is_one_cache(case.store) for case in cases if case.store):
        raise ConfigError(
            "webdataset reads whole shards of one cache, and neither views nor caches of cameras: leave --concat and "
            "--split out"
        )
    if flags["target"] == "weights" and flags["weights"] is None:
        raise ConfigError("--target weights needs --weights")
    if flags["target"] == "windows" and not has_windows:
        raise ConfigError("--target windows needs windows: give --clip-frames or --frame-offsets")
    if flags["target"] is not None and flags["max_chi2"] is None and not flags["plans"]:
        raise ConfigError("--target applies to --max-chi2 or --plan: give one of them")
    if flags["plans"] != (flags["demand"] is not None):
        raise ConfigError("--plan and --demand FRAMES_PER_SECOND belong together")
    if wants_speed(flags) and (cases[0].store is None or isinstance(spec, WebDatasetSpec)):
        raise ConfigError("--plan and --plot measure FrameLoader on caches: give CACHE, and no webdataset")
    if flags["features"] is not None and (cases[0].store is None or len(cases) > 1):
        raise ConfigError("--features has a row for each frame of one cache: give one CACHE")
    if flags["gradients"] is not None and cases[0].store is None:
        raise ConfigError("--gradients looks at the frames of caches: give CACHE")
    of_rho = [f"--{name}" for name in ("features", "gradients", "rho") if flags[name] is not None]
    if len(of_rho) > 1:
        raise ConfigError(f"{' and '.join(of_rho)} both determine rho: give one of them")
    if flags["strata"] != "time" and flags["sampling"] != "stratified":
        raise ConfigError("--strata belongs to --sampling stratified: give both, or none")


def check_numbers(flags: dict[str, Any]) -> None:
    """Refuse numbers that no computation can use.

    Raises:
        ConfigError: there is one.
    """
    for name in ("max_chi2", "min_effective_batch"):
        if flags[name] is not None and math.isnan(flags[name]):  # a comparison with nan is always false
            raise ConfigError(f"--{name.replace('_', '-')} is a number, found nan")
    if flags["demand"] is not None and not 0 < flags["demand"] < math.inf:
        raise ConfigError(f"--demand is a number of frames/s above 0, found {flags['demand']:g}")
    for name in ("batch_size", "world_size"):
        if flags[name] < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be 1 or more, found {flags[name]}")
    if not 1 <= flags["horizon"] < math.inf:
        raise ConfigError(f"--horizon is a number of steps, 1 or more, found {flags['horizon']:g}")
    if flags["draws"] < 3:
        raise ConfigError(f"--draws must be 3 or more, found {flags['draws']}")


def wants_speed(flags: dict[str, Any]) -> bool:
    """Whether frames/s are to be measured."""
    return flags["plans"] or flags["plot"] is not None


def table_of_flags(case: BiasCase, flags: dict[str, Any]) -> BiasTable:
    """The table that makes the reports on `case`."""
    features, name = None, str(flags["features"])
    if flags["gradients"] is not None:
        assert case.store is not None  # the flags were checked
        features, name = gradient_features(flags["gradients"], case.store, camera=case.camera)
        features = scaled_features(features)
    if flags["features"] is not None:
        features = scaled_features(load_features(flags["features"], num_frames=case.num_frames))
    if flags["rho"] is not None:
        _check_rho(flags["rho"], case)
    return BiasTable(
        case,
        batch_size=flags["batch_size"],
        windows=windows_of_flags(flags),
        weights=weights_of_flag(flags["weights"]),
        world_size=flags["world_size"],
        remainder=flags["remainder"],
        features=features,
        features_name=name,
        assumed_rho=flags["rho"],
        draws=flags["draws"],
        seed=flags["seed"],
        horizon=flags["horizon"],
    )


def _check_rho(rho: float, case: BiasCase) -> None:
    """Refuse a rho that no frames can have (S22)."""
    least = least_correlation(case.shard_sizes)
    if not least <= rho <= 1:
        raise ConfigError(
            f"--rho is how alike two frames of one shard are, from {least:.4g} to 1 for shards of these sizes "
            f"({case.name}), found {rho:g}"
        )
