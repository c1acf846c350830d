"""What a benchmark runs on: CPU, memory, disk, GPU, and the versions of the packages that do the work."""

from frame_cache_tools.bench.machine.describe import why_no_gpu
from frame_cache_tools.bench.machine.machine import Machine, read_machine, read_versions, versions_text
from frame_cache_tools.bench.machine.nvidia_smi import watching

__all__ = ["Machine", "read_machine", "read_versions", "versions_text", "watching", "why_no_gpu"]
