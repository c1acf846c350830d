"""The settings of a build: their values, files and presets."""

from cache_builder.settings.config import (
    BuildConfig,
    BuildSettings,
    DeviceName,
    ErrorPolicy,
    RunOptions,
    checked_settings,
    differences,
    read_settings,
    resolve,
)
from cache_builder.settings.frame_times import LONGEST_TICKS, FrameTimes, fit_frame_times

__all__ = [
    "LONGEST_TICKS",
    "BuildConfig",
    "BuildSettings",
    "DeviceName",
    "ErrorPolicy",
    "FrameTimes",
    "RunOptions",
    "checked_settings",
    "differences",
    "fit_frame_times",
    "read_settings",
    "resolve",
]
