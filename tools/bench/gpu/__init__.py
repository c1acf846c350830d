"""The rows of cache-bench that need a GPU."""

from frame_cache_tools.bench.gpu.cases import CACHE_ROWS, gpu_cases, why_no_gpu_rows

__all__ = ["CACHE_ROWS", "gpu_cases", "why_no_gpu_rows"]
