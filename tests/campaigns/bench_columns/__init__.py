"""What columns cost: `python -m tests.campaigns.bench_columns`."""
