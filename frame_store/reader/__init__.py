"""Reads frames out of a cache: files kept open or mapped into memory."""
