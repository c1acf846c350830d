"""The command cache-bench."""
