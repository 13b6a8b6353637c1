"""The tokenizers: byte-level BPE learned from the captions, in CLIP's format."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from .checkpoints import save_directory
from .shapes import LENGTH, VOCABULARY

BEGIN, END, UNPADDED = "<|startoftext|>", "<|endoftext|>", "!"
_WORD_END = "</w>"


def learn(captions: Iterable[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Tokens with their numbers, and merges in their order. Begin and end of a text are the last two of 2,000.

    Args:
        captions: to learn from.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    clip = CLIPTokenizer().backend_tokenizer
    whole = Tokenizer(models.BPE(end_of_word_suffix=_WORD_END, continuing_subword_prefix=""))
    whole.normalizer, whole.pre_tokenizer = clip.normalizer, clip.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - 2,
        min_frequency=1,
        initial_alphabet=letters,
        end_of_word_suffix=_WORD_END,
        continuing_subword_prefix="",
        show_progress=False,
    )
    whole.train_from_iterator(captions, trainer)
    model = json.loads(whole.to_str())["model"]
    merges = [(first, second) for first, second in model["merges"]]
    # CLIP's order: single bytes, single bytes that end a word, then what merges make.
    tokens = ["!", *(letter for letter in letters if letter != "!")]
    tokens += [letter + _WORD_END for letter in tokens]
    for first, second in merges:
        if first + second not in tokens:
            tokens.append(first + second)
    tokens = tokens[: VOCABULARY - 2]
    known = set(tokens)
    merges = [(first, second) for first, second in merges if {first, second, first + second} <= known]
    tokens += [f"<|unused{i}|>" for i in range(VOCABULARY - 2 - len(tokens))]
    tokens += [BEGIN, END]
    return {token: number for number, token in enumerate(tokens)}, merges


def save_tokenizers(captions: Iterable[str], folder: Path) -> None:
    """Writes ``tokenizer`` and ``tokenizer_2``, which differ in what they pad with, into a folder.

    Args:
        captions: to learn from.
        folder: where.
    """
    from transformers import CLIPTokenizer

    vocabulary, merges = learn(captions)
    for name, pad in (("tokenizer", END), ("tokenizer_2", UNPADDED)):
        tokenizer = CLIPTokenizer(
            vocab=vocabulary,
            merges=merges,
            unk_token=END,
            bos_token=BEGIN,
            eos_token=END,
            pad_token=pad,
            model_max_length=LENGTH,
        )

        def write(path: Path, tokenizer: CLIPTokenizer = tokenizer) -> None:
            tokenizer.save_pretrained(path)
            # The two files that older libraries read.
            (path / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
            lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
            (path / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")

        save_directory(write, folder / name)
