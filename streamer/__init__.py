"""Runs SDXL where it does not fit: weights stream block by block under one budget."""
