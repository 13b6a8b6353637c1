"""Token embeddings that programs add to, as textual inversion does: they stop streaming before."""

from __future__ import annotations

from typing import Any

from torch import nn

from streamer.runtime.attach import StreamHandle


def release_before_resizing(module: nn.Module, handle: StreamHandle) -> None:
    """From now on ``resize_token_embeddings`` of this module finds, and leaves, an embedding with all its weights.

    New tokens' vectors are written into the embedding afterwards, so it stays in memory from then on.

    Args:
        module: a text encoder of transformers; others stay as they are.
        handle: with which it streams.
    """
    resizing: Any = getattr(type(module), "resize_token_embeddings", None)
    embedding_of: Any = getattr(module, "get_input_embeddings", None)
    if resizing is None or embedding_of is None:
        return

    def resize_token_embeddings(*args: Any, **kwargs: Any) -> Any:
        handle.release(embedding_of())
        return resizing(module, *args, **kwargs)

    # Of the instance, so that other modules of its class stay as they are.
    module.__dict__["resize_token_embeddings"] = resize_token_embeddings
