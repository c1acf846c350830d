"""HTML that is safe by construction: every text is escaped, and nothing outside of the page is referred to."""

from frame_store.html.elements import Child, Html, element, joined, name_of, shown_text
from frame_store.html.inline import InlineScript, InlineStyle
from frame_store.html.pictures import Picture, picture_of, shrunk

__all__ = [
    "Child",
    "Html",
    "InlineScript",
    "InlineStyle",
    "Picture",
    "element",
    "joined",
    "name_of",
    "picture_of",
    "shown_text",
    "shrunk",
]
