"""Reads ahead for stores that decode: which frames of the next batches are decoded together."""
