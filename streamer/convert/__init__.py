"""Whole weight files from one format into another, a few tensors in memory at a time."""
