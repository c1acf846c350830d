"""Torch's own `DataLoader` over a store: data set, batch sampler and worker processes."""
