"""Bias and variance of each way to sample, computed before training (SAMPLING.md). No torch."""
