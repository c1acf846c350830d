"""Rows of cache-bench that need a GPU, and what they read of the machine."""

from frame_cache_tools.bench.gpu.cases import gpu_cases, why_no_gpu_rows

__all__ = ["gpu_cases", "why_no_gpu_rows"]
