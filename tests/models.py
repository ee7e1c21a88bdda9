"""Small models with the real file formats, for tests that load weights."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.trees import ADJECTIVES, NOUNS, PLACES, VERBS

WORDS = ["a", "near", "the", ".", *ADJECTIVES, *NOUNS, *VERBS, *PLACES]


def save_tiny_bert(folder: Path) -> Path:
    """A random BERT of two layers with a word-piece tokenizer, saved as transformers saves the real one."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(WORDS)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    sizes = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=32,
    )
    BertModel(sizes).save_pretrained(folder)
    return folder
