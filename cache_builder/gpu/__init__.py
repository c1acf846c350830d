"""Decoding on the GPU (NVDEC). No other room knows it."""
