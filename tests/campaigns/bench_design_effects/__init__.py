"""Predicted against measured design effects of `stratified`: `python -m tests.campaigns.bench_design_effects`."""
