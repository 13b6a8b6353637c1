"""Where weights come from. Every source gives the same tensors by key, whatever the file."""
