"""Small things that builder and loader both need, and that are no part of the format."""
