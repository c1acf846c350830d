"""The command cache-bias."""

from frame_cache_tools.bias.cases import BiasCase, case_of_cache, case_of_store
from frame_cache_tools.bias.plan import MeasuredSampler, pick_sampler
from frame_cache_tools.bias.samplers import candidates, largest_divisor
from frame_cache_tools.bias.table import HORIZON, MAX_FRAMES_READ, BiasTable
from frame_cache_tools.bias.text import (
    cells_of,
    notes_of,
    short_name,
)

__all__ = [
    "HORIZON",
    "MAX_FRAMES_READ",
    "BiasCase",
    "BiasTable",
    "MeasuredSampler",
    "candidates",
    "case_of_cache",
    "case_of_store",
    "cells_of",
    "largest_divisor",
    "notes_of",
    "pick_sampler",
    "short_name",
]
