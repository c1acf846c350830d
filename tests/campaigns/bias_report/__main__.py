"""Every number of `cache-bias`, for each kind of cache, over many epochs of the loader's orders.

    python -m tests.campaigns.bias_report --epochs 20000

1,200 epochs, as in `tests/tools/bias/test_every_number.py`, find an error of some 8% in a design effect; 20,000 find
one of some 2%. All checks of a run together fail by chance less than once in 10^6 runs.
"""

import argparse
import tempfile
import time
from pathlib import Path

from tests.tools.bias.test_every_number import KINDS, reported


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=20_000)
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    flags = parser.parse_args()
    for kind in flags.kinds:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found = reported(kind, Path(folder), num_epochs=flags.epochs)
            found.check()
        print(
            f"{kind}: {found.num_checks} checks, the largest {found.largest_z:.2f} standard errors off, "
            f"{time.monotonic() - started:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
