"""One video: opened safely, scanned, decoded exactly."""
