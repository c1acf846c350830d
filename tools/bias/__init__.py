"""The command cache-bias."""
