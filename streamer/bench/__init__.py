"""What measuring needs, whoever measures."""
