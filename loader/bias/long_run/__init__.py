"""How much the noise of many batches together is: the long-run design effect (S43)."""

from loader.bias.long_run.closed import permutation_long_run
from loader.bias.long_run.draws import Draws
from loader.bias.long_run.effect import LongRun, long_run_effect
from loader.bias.long_run.simulated import num_orders_of, simulated_long_run

__all__ = [
    "Draws",
    "LongRun",
    "long_run_effect",
    "num_orders_of",
    "permutation_long_run",
    "simulated_long_run",
]
