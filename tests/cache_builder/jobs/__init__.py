"""Tests of the room `cache_builder.jobs`."""
