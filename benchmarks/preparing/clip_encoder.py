"""CLIP image and text vectors: open_clip's encode_image and encode_text, batch by batch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from itm_harness.benchmarks.preparing.weight_revisions import clip_revision, clip_within_reach
from itm_harness.datasets.pictures.batch_size import BatchSize
from itm_harness.datasets.pictures.folder import open_picture
from itm_harness.methods.encoders.clip_weights import OpenCLIP, load_clip

BATCH = BatchSize(cpu=128, gpu=1024)  # pictures or texts at a time
MODEL = "ViT-B-32"
WEIGHTS = "laion2b_s34b_b79k"
T = TypeVar("T")


def model_label(model: str) -> str:
    """A model's name as it may stand in file names; of a configuration file its own, without ending."""
    name = Path(model).stem if model.endswith(".json") else model
    return re.sub(r"[^\w.-]+", "-", name)


class CLIPEncoder:
    """Vectors as the model gives them, not normalised; bf16 (autocast) on a GPU, float32 on the CPU.

    model: a name that open_clip knows, or a configuration path/to/config.json. weights: the name of weights in the hub,
    or a file. Pictures are transformed as for the validation of the weights, texts stay as they are written.
    """

    name = "CLIP"
    pooling = ""
    fitted = True  # image vectors only fit text vectors of the same weights

    def __init__(self, model: str = MODEL, weights: str = WEIGHTS, batch: int | None = None) -> None:
        self.weights = f"{model_label(model)}, {Path(weights).name}"
        self._model, self._weights, self._batch = model, weights, replace(BATCH, asked=batch)

    @property
    def libraries(self) -> dict[str, str]:
        """Versions of what reads pictures and computes."""
        return {name: metadata.version(name) for name in ("torch", "open_clip_torch", "torchvision", "pillow")}

    @property
    def batch(self) -> int:
        """Pictures or texts at a time, as long as memory suffices."""
        return self._batch.size(self._device)

    @cached_property
    def revision(self) -> str:
        """The commit of the weights in their hub, "" where they do not come from its cache."""
        return clip_revision(self._model, self._weights)

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return self._loaded.width

    @cached_property
    def state(self) -> str:
        """Fingerprint of the configuration and of the weights as they were loaded."""
        digest = hashlib.sha256(json.dumps(self._loaded.configuration, sort_keys=True).encode())
        for name, values in sorted(self._loaded.model.state_dict().items()):
            digest.update(name.encode() + values.float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def fit(self, texts: Sequence[str]) -> None:
        """Nothing: the model is taken as it is."""

    def for_entities(self) -> CLIPEncoder:
        """Itself."""
        return self

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, width) float32, of texts."""
        return self._batches(list(texts), self._loaded.tokens, self._loaded.model.encode_text)

    def encode_pictures(self, paths: Sequence[Path]) -> np.ndarray:
        """(n, width) float32, of picture files. Raises DataError where one cannot be decoded."""
        return self._batches(list(paths), self._pixels, self._loaded.model.encode_image)

    def _pixels(self, paths: list[Path]) -> Tensor:
        """(B, 3, H, W), decoded side by side: that takes longer than the model does."""
        transform = self._loaded.transform
        with ThreadPoolExecutor() as pool:
            return torch.stack(list(pool.map(lambda path: transform(open_picture(path)), paths)))

    @property
    def _device(self) -> torch.device:
        return next(self._loaded.model.parameters()).device

    @torch.no_grad()
    def _batches(
        self, items: list[T], read: Callable[[list[T]], Tensor], encode: Callable[[Tensor], Tensor]
    ) -> np.ndarray:
        device = self._device

        def compute(batch: Sequence[T]) -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                return encode(read(batch).to(device))  # (B, width)

        parts = [encoded.float().cpu().numpy() for _, encoded in self._batch.over(items, device, compute)]
        return np.concatenate(parts) if parts else np.zeros((0, self.width), np.float32)

    @cached_property
    def _loaded(self) -> OpenCLIP:
        with clip_within_reach(self._model, self._weights):
            loaded = load_clip(self._model, self._weights)
        loaded.model.to("cuda" if torch.cuda.is_available() else "cpu")
        return loaded
