"""Orders of an epoch: pure functions from (seed, epoch, position) to frame ids."""
