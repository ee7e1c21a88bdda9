"""What configurations of methods are made of: parts that several share, and the names that they choose from.

Nothing here imports torch: a recipe is resolved, and what a method reads is known, before anything is loaded.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from itm_harness.datasets.batch import WordPieces, Words

PoolingName = Literal["gpo", "mean", "max", "kmax", "cls"]
CodingName = Literal["vha", "tha", "vsa"]
CodingPooling = Literal["max", "mean", "sum", "softmax", "lse"]
Fusion = Literal["gate", "sum"]


class TextConfig(BaseModel):
    """Which text encoder.

    bert: a BERT's folder or hub name; None = the BiGRU. bert_sizes: transformers' BertConfig values; the BERT is then
    built in these sizes and untrained, for checkpoints that bring its weights along.
    word_dim: width of the BiGRU's word embeddings. min_count: how often a training caption must hold a word of the
    vocabulary. mask_token: append `<mask>` to it. vocabulary_size: None = as in the data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bert: str | None = None
    bert_sizes: dict[str, Any] | None = None
    word_dim: int = 300
    min_count: int = 4
    mask_token: bool = True
    vocabulary_size: int | None = None

    def inputs(self) -> WordPieces | Words:
        """The word ids that the encoder reads."""
        return WordPieces(self.bert) if self.bert else Words(self.min_count, self.mask_token)


class MethodConfig(BaseModel):
    """What every method's configuration holds; a method adds its own fields in a subclass.

    region_dim: width of a region feature; None = as in the data.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    region_dim: int | None = None
    text: TextConfig = TextConfig()
