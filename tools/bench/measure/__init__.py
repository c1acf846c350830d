"""How a speed is measured: processes, rounds, slices of time and the budget of a run."""
