"""Columns of a batch: which ones, joined to a store at load time, and gathered by the threads that read. No torch."""

from loader.columns.choice import ColumnChoice, check_column_offsets, chosen_columns
from loader.columns.gather import ColumnGatherer
from loader.columns.join import join_columns

__all__ = ["ColumnChoice", "ColumnGatherer", "check_column_offsets", "chosen_columns", "join_columns"]
