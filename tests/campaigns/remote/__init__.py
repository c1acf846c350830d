"""Campaigns over object stores with latency: run by hand, one module each."""
