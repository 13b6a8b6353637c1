"""Speeds of the runtime: uploads and steps."""
