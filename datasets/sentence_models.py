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

from datasets.batch_size import BatchSize
from datasets.errors import DataError
from datasets.model_files import files_print, revision

BATCH = BatchSize(cpu=64, gpu=512)  # texts at a time
LONGEST = 512  # tokens; the rest of a text is cut


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
        other = TransformersEncoder(self.folder, self.name, "cls", self._batch.asked)
        other._loaded, other._files = self._loaded, self._files
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
        tokenizer, model = self._loaded
        longest = min(LONGEST, tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", LONGEST))
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        tokens = tokens.to(model.device)
        words = model(**tokens).last_hidden_state.float()  # (B, L, d)
        if self.pooling == "cls":
            return words[:, 0]
        valid = tokens["attention_mask"][:, :, None]
        return torch.nn.functional.normalize((words * valid).sum(dim=1) / valid.sum(dim=1), dim=1)

    @cached_property
    def _files(self) -> str:
        return files_print(self.folder)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and model."""
        from transformers import AutoModel, AutoTokenizer  # heavy: only where a model is used

        device = "cuda" if torch.cuda.is_available() else "cpu"
        kind = torch.bfloat16 if device == "cuda" else torch.float32
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.folder, local_files_only=True)
            model = AutoModel.from_pretrained(self.folder, local_files_only=True, dtype=kind)
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"{self.folder} does not hold a sentence encoder of transformers (config.json, weights, tokenizer): "
                f"{_first_line(error)}; name another folder with --encoder, or use --encoder embedded."
            ) from error
        return tokenizer, model.to(device).eval()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
