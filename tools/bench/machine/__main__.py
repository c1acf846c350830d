"""`python -m frame_cache_tools.bench.machine` prints the machine of a GPU acceptance as JSON.

The acceptance runs it in a process of its own, because it calls the driver, which starts CUDA.
"""

import json
from pathlib import Path

from frame_cache_tools.bench.machine.describe import describe_machine

if __name__ == "__main__":
    print(json.dumps(describe_machine(Path.cwd())))
