"""Which models can be streamed, and how: their blocks, their files, their pipeline."""
