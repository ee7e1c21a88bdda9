"""Words -> d-dimensional word features: BERT + Linear, or a bidirectional GRU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from itm_harness.methods.config import TextConfig
from itm_harness.methods.encoders.gru import mean_of_directions
from itm_harness.methods.errors import MethodError


class BertEncoder(nn.Module):
    """BERT's last hidden state → Linear(hidden, d)."""

    def __init__(self, bert: nn.Module, embed_size: int) -> None:
        super().__init__()
        self.bert = bert
        self.linear = nn.Linear(bert.config.hidden_size, embed_size)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        """words: (B, L) word-piece ids, 0 = padding. Returns (B, L, d), also at padded positions."""
        return self.linear(self.hidden(words))

    def hidden(self, words: Tensor) -> Tensor:
        """BERT's last hidden state, (B, L, hidden)."""
        return self.bert(words, attention_mask=(words != 0).long()).last_hidden_state


class BiGRUEncoder(nn.Module):
    """Embedding → one-layer bidirectional GRU, the two directions averaged."""

    def __init__(self, vocabulary_size: int, word_dim: int, embed_size: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary_size, word_dim)
        self.rnn = nn.GRU(word_dim, embed_size, batch_first=True, bidirectional=True)
        nn.init.uniform_(self.embed.weight, -0.1, 0.1)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        """words: (B, L), lengths: (B,). Returns (B, L, d), zero behind each length."""
        return mean_of_directions(self.rnn, self.embed.weight, words, lengths)


def text_encoder(config: TextConfig, embed_size: int) -> BertEncoder | BiGRUEncoder:
    """The encoder that `config` names. Raises MethodError where BERT's weights cannot be had."""
    if config.bert:
        bert = bert_from_config(config.bert_sizes) if config.bert_sizes else load_bert(config.bert)
        return BertEncoder(bert, embed_size)
    if config.vocabulary_size is None:
        raise MethodError("text.vocabulary_size is not set: it comes with the data, or set text.vocabulary_size=N.")
    return BiGRUEncoder(config.vocabulary_size, config.word_dim, embed_size)


def load_bert(name: str) -> nn.Module:
    """A BertModel without its unused pooler, from a local folder or the hub (or its cache)."""
    from transformers import AutoModel  # heavy: only where BERT is used

    options = {"add_pooling_layer": False, "dtype": torch.float32}  # also where the file holds half precision
    try:
        return AutoModel.from_pretrained(name, **options, local_files_only=True)  # without asking the hub
    except (OSError, ValueError):
        pass
    try:
        return AutoModel.from_pretrained(name, **options)
    except (OSError, ValueError) as error:
        where = "is not a model folder" if Path(name).exists() else "was found neither as a folder nor in the hub cache"
        raise MethodError(
            f"BERT weights '{name}': the name {where}; download bert-base-uncased and pass its folder with "
            f"--set text.bert=PATH, or use the BiGRU with --set text.bert=null."
        ) from error


def bert_from_config(config: dict[str, Any]) -> nn.Module:
    """An untrained BertModel without its unused pooler. config: values of transformers' BertConfig."""
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig(**config), add_pooling_layer=False)


def valid_positions(lengths: Tensor, longest: int) -> Tensor:
    """(B, longest) bool: positions before each row's length."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]
