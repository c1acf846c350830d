"""The order of a complete cache's frames by content: made from its payloads, published as a new manifest."""

from cache_builder.content_order.making import MadeOrder, made_order
from cache_builder.content_order.report import ContentOrderReport, content_order_lines, content_order_text
from cache_builder.content_order.restoring import repaired_content_order
from cache_builder.content_order.writing import write_content_order

__all__ = [
    "ContentOrderReport",
    "MadeOrder",
    "content_order_lines",
    "content_order_text",
    "made_order",
    "repaired_content_order",
    "write_content_order",
]
