"""The settings of a build: their names and types, their values, files and presets."""

from cache_builder.settings.build_settings import (
    SETTINGS,
    BuildSettings,
    DeviceName,
    ErrorPolicy,
    Setting,
    checked_settings,
    read_settings,
)
from cache_builder.settings.config import BuildConfig, RunOptions, default_text, resolve
from cache_builder.settings.frame_times import LONGEST_TICKS, FrameTimes, fit_frame_times

__all__ = [
    "LONGEST_TICKS",
    "SETTINGS",
    "BuildConfig",
    "BuildSettings",
    "DeviceName",
    "ErrorPolicy",
    "FrameTimes",
    "RunOptions",
    "Setting",
    "checked_settings",
    "default_text",
    "fit_frame_times",
    "read_settings",
    "resolve",
]
