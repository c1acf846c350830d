"""Makes damaged files of a cache again from the videos."""
