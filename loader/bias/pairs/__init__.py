"""How often two frames of a batch come from one shard or video."""
