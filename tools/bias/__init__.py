"""The command cache-bias."""

from frame_cache_tools.bias.cases import BiasSubject, subject_of_cache
from frame_cache_tools.bias.table import BiasTable, largest_divisor

__all__ = ["BiasSubject", "BiasTable", "largest_divisor", "subject_of_cache"]
