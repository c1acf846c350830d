"""The command cache-bias."""

from frame_cache_tools.bias.cases import BiasCase, case_of_cache
from frame_cache_tools.bias.samplers import largest_divisor
from frame_cache_tools.bias.table import BiasTable

__all__ = ["BiasCase", "BiasTable", "case_of_cache", "largest_divisor"]
