"""Sources at URLs: a folder of an object store, one video, or a list of videos."""

from cache_builder.sources.remote.lists import look_into_url_list
from cache_builder.sources.remote.look import look_into_url

__all__ = ["look_into_url", "look_into_url_list"]
