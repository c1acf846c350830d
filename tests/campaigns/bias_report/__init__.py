"""Every number of `cache-bias`, over many epochs."""
