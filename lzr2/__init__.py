"""LZR2 weight files: read, write, check."""
