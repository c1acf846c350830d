"""Bias and variance of each way to sample, computed before training (SAMPLING.md). No torch."""

from loader.bias.checks import Reals
from loader.bias.design_effect import least_correlation
from loader.bias.distributions import SamplingLaw, Target, WindowsOfVideos, offsets_of, sampling_law
from loader.bias.estimates import estimate_for, rho_level, units_of_batches
from loader.bias.long_run import Draws, LongRun, long_run_effect
from loader.bias.pixels import ReadFeatures, camera_of_pixels, store_of_pixels, thumbnails
from loader.bias.report import NOTHING_VARIES, BiasReport, make_report
from loader.bias.rho import (
    DRAWS,
    Level,
    RhoEstimate,
    Units,
    estimate_rho,
    load_features,
    rho_of_all,
    rho_of_shuffled_frames,
    scaled_features,
    units_of,
)

__all__ = [
    "DRAWS",
    "NOTHING_VARIES",
    "BiasReport",
    "Draws",
    "Level",
    "LongRun",
    "ReadFeatures",
    "Reals",
    "RhoEstimate",
    "SamplingLaw",
    "Target",
    "Units",
    "WindowsOfVideos",
    "camera_of_pixels",
    "estimate_for",
    "estimate_rho",
    "least_correlation",
    "load_features",
    "long_run_effect",
    "make_report",
    "offsets_of",
    "rho_level",
    "rho_of_all",
    "rho_of_shuffled_frames",
    "sampling_law",
    "scaled_features",
    "store_of_pixels",
    "thumbnails",
    "units_of",
    "units_of_batches",
]
