"""Sentence vectors from the folder of a transformers model, such as bge-large-en-v1.5."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from itm_harness.datasets.errors import DataError
from itm_harness.datasets.pictures.batch_size import BatchSize
from itm_harness.datasets.pictures.model_files import files_print, revision
from itm_harness.datasets.pictures.pretrained import first_line, load_pretrained

BATCH = BatchSize(cpu=64, gpu=512)  # texts at a time
LONGEST = 512  # tokens; the rest of a text is cut
WHAT = "a sentence encoder (config.json, weights, tokenizer)"
ADVICE = "name another folder with --encoder, or use --encoder embedded."


class TransformersEncoder:
    """A model's word vectors, pooled.

    pooling: mean = their mean over the tokens, of length 1 (VSD's and VSSR's sentences); cls = that of the first token,
    as it is (VSSR's entities). folder: of the model. name: as records show it. batch: texts at a time on a GPU, None =
    as many as fit. bf16 on a GPU, float32 on the CPU.
    """

    weights = ""
    fitted = False

    def __init__(
        self,
        folder: Path,
        name: str | None = None,
        pooling: Literal["mean", "cls"] = "mean",
        batch: int | None = None,
    ) -> None:
        self.folder, self.name, self.pooling = folder, name or folder.resolve().name, pooling
        self._batch = replace(BATCH, asked=batch)

    @property
    def libraries(self) -> dict[str, str]:
        """Versions of torch and transformers."""
        return {name: metadata.version(name) for name in ("torch", "transformers")}

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self._loaded[1].config.hidden_size

    @property
    def batch(self) -> int:
        """Texts at a time, as long as memory suffices."""
        return self._batch.size(self._loaded[1].device)

    @property
    def state(self) -> str:
        """Fingerprint of the pooling and of the model's files."""
        return hashlib.sha256(f"{self.pooling} {self._files}".encode()).hexdigest()[:16]

    @property
    def revision(self) -> str:
        """The model's commit in its hub, "" where it is not known."""
        return revision(self.folder)

    def fit(self, texts: Sequence[str]) -> None:
        """Nothing: the model is taken as it is."""

    def for_entities(self) -> TransformersEncoder:
        """The same weights with the first token's vector."""
        other = TransformersEncoder(self.folder, self.name, "cls")
        other._loaded, other._files, other._batch = self._loaded, self._files, self._batch
        return other

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, width) float32."""
        vectors = np.zeros((len(texts), self.width), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # little padding
        device = self._loaded[1].device
        for rows, words in self._batch.over(order, device, lambda rows: self._encoded([texts[i] for i in rows])):
            vectors[rows] = words.cpu().numpy()
        return vectors

    @torch.no_grad()
    def _encoded(self, texts: list[str]) -> Tensor:
        words, valid = _words(*self._loaded, texts)
        if self.pooling == "cls":
            return words[:, 0]
        return torch.nn.functional.normalize((words * valid).sum(dim=1) / valid.sum(dim=1), dim=1)

    @cached_property
    def _files(self) -> str:
        return files_print(self.folder)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and model."""
        from transformers import AutoModel, AutoTokenizer  # heavy: only where a model is used

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        found = load_pretrained(self.folder, AutoTokenizer, AutoModel, device, WHAT, ADVICE)
        _require_words(self.folder, *found)
        return found


def _words(tokenizer: Any, model: Any, texts: list[str]) -> tuple[Tensor, Tensor]:
    """Word vectors (B, L, d) float32, and which of them are words (B, L, 1)."""
    longest = min(LONGEST, tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", LONGEST))
    tokens = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
    tokens = tokens.to(model.device)
    return model(**tokens).last_hidden_state.float(), tokens["attention_mask"][:, :, None]


@torch.no_grad()
def _require_words(folder: Path, tokenizer: Any, model: Any) -> None:
    """Raises DataError where a model gives no word vectors of texts, as one that translates or sees pictures."""
    try:
        words, _ = _words(tokenizer, model, ["a", "a a a"])  # of two lengths: they have to be padded
        if words.shape[2] != model.config.hidden_size:
            raise ValueError(f"{words.shape[2]} numbers a word, not {model.config.hidden_size}")
    except Exception as error:  # each kind of model fails in its own way
        raise DataError(
            f"{folder} holds a {type(model).__name__}, which gives no vectors of the words of a text "
            f"({first_line(error)}); {ADVICE}"
        ) from error
