"""Sentence vectors from a transformers model, such as bge-large-en-v1.5: in a folder, or by its name in the hub."""

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

BATCH = BatchSize(cpu=64, gpu=512)  # texts at a time
LONGEST = 512  # tokens; the rest of a text is cut


class TransformersEncoder:
    """A model's word vectors, pooled.

    pooling: mean = their mean over the tokens, of length 1 (VSD's and VSSR's sentences); cls = that of the first token,
    as it is (VSSR's entities). model: a folder or a name in the hub. bf16 on a GPU, float32 on the CPU.
    """

    weights = ""
    fitted = False

    def __init__(self, model: str, pooling: Literal["mean", "cls"] = "mean", batch: int | None = None) -> None:
        self.model, self.pooling, self._batch = model, pooling, replace(BATCH, asked=batch)

    @property
    def name(self) -> str:
        """The model's name; of a folder its last part."""
        return Path(self.model).resolve().name if Path(self.model).is_dir() else self.model

    @property
    def libraries(self) -> dict[str, str]:
        """Versions of torch and transformers."""
        return {name: metadata.version(name) for name in ("torch", "transformers")}

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self._loaded[1].config.hidden_size

    @cached_property
    def state(self) -> str:
        """Fingerprint of the weights as they were loaded."""
        digest = hashlib.sha256(self.pooling.encode())
        for name, values in sorted(self._loaded[1].state_dict().items()):
            digest.update(name.encode() + values.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def fit(self, texts: Sequence[str]) -> None:
        """Nothing: the model is taken as it is."""

    def for_entities(self) -> TransformersEncoder:
        """The same weights with the first token's vector."""
        other = TransformersEncoder(self.model, "cls", self._batch.asked)
        other._loaded = self._loaded
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
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and model."""
        from transformers import AutoModel, AutoTokenizer  # heavy: only where a model is used

        device = "cuda" if torch.cuda.is_available() else "cpu"
        kind = torch.bfloat16 if device == "cuda" else torch.float32
        for local in (True, False):  # the cache first: no waiting for a network
            try:
                tokenizer = AutoTokenizer.from_pretrained(self.model, local_files_only=local)
                model = AutoModel.from_pretrained(self.model, local_files_only=local, dtype=kind)
                return tokenizer, model.to(device).eval()
            except (OSError, ValueError) as error:
                reason = error
        raise DataError(
            f"sentence encoder '{self.model}' cannot be loaded from a folder or the hub; download the model "
            f"(bge-large-en-v1.5, say: config.json, weights, tokenizer) and give its folder with --encoder FOLDER, "
            f"or use --encoder embedded, which needs no download."
        ) from reason
