"""A split as a loaded method encodes it, in numpy arrays."""

from __future__ import annotations

import numpy as np
from accelerate import Accelerator
from torch import Tensor

from itm_harness.benchmarks.protocol.evaluate import encode_gallery
from itm_harness.benchmarks.runs.checkpoint_loading import LoadedMethod
from itm_harness.datasets.split import Split
from itm_harness.methods.parts.encoded import Encoded, Ragged
from itm_harness.methods.recipe import Train

Arrays = np.ndarray | dict[str, np.ndarray | list[np.ndarray]]


def encode_split(loaded: LoadedMethod, split: Split, accelerator: Accelerator) -> tuple[Arrays, Arrays]:
    """All images and all captions of a split, in file order, float32: see `as_arrays`."""
    method, device = loaded.method.to(accelerator.device), accelerator.device
    images, texts = encode_gallery(method, split, Train().eval_batch_size, device, accelerator.mixed_precision)
    return as_arrays(images), as_arrays(texts)


def as_arrays(encoded: Encoded) -> Arrays:
    """One tensor with a row per item: that array, (n, ...). Else each by its name; rows of variable length as a list.

    A list holds an array (length, ...) per item.
    """
    arrays = {name: _rows(value) for name, value in encoded.tensors.items()}
    first, *others = arrays.values()
    return first if isinstance(first, np.ndarray) and not others else arrays


def _rows(value: Tensor | Ragged) -> np.ndarray | list[np.ndarray]:
    if isinstance(value, Ragged):
        return np.split(value.values.cpu().numpy(), value.offsets[1:-1].tolist())
    return value.cpu().numpy()
