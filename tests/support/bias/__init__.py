"""What `cache-bias` prints, and how to check it."""
