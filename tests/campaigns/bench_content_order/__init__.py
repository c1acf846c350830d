"""What ordering by content costs and gives: `python -m tests.campaigns.bench_content_order`."""
