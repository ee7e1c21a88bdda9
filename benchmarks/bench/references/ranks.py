"""Ranks by sorting every row and column whole, as released evaluations do it; one query after the other."""

from __future__ import annotations

import numpy as np


def reference_ranks(similarity: np.ndarray, image_of_text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks from 0 of each image's best caption, (n_images,), and of each caption's image, (n_texts,); without ties."""
    i2t = []
    for image, scores in enumerate(similarity):
        order = np.argsort(scores)[::-1]
        i2t.append(np.flatnonzero(image_of_text[order] == image)[0])
    t2i = []
    for text, scores in enumerate(similarity.T):
        order = np.argsort(scores)[::-1]
        t2i.append(np.flatnonzero(order == image_of_text[text])[0])
    return np.array(i2t), np.array(t2i)
