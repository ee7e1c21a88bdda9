"""What the page's viewer holds: captions, pictures and boxes of a data set, and the ranked lists of a run per row.

Numbers are packed small: 32-bit numbers as four planes of bytes (low bytes first, of all numbers), deflated, base64.
"""

from __future__ import annotations

import base64
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from itm_harness.benchmarks.analysis.retrieval import Gallery
from itm_harness.benchmarks.records.schema import Details
from itm_harness.datasets.pictures.folder import open_picture

SIDE = 240  # pixels; larger pictures are made smaller
QUALITY = 72  # of lossy pictures
STEPS = 1000  # scores are kept to this part of a run's range
NO_ITEM = -1  # in place of an item that does not belong to a list


def packed_gallery(gallery: Gallery) -> dict[str, Any]:
    """A data set for the viewer. boxes: bytes, (n_images, regions, 4), in 255ths of the picture."""
    boxes = gallery.boxes
    return {
        "captions": gallery.captions,
        "owners": gallery.image_of_text.tolist(),
        "names": [gallery.name_of(i) for i in range(len(gallery.image_ids))],
        "pictures": [_picture(path) for path in gallery.pictures] if gallery.pictures else None,
        "regions": 0 if boxes is None else boxes.shape[1],
        "boxes": "" if boxes is None else _base64(np.round(boxes.clip(0, 1) * 255).astype(np.uint8).tobytes()),
    }


def _picture(path: Path) -> str:
    """A picture as WebP, base64: without loss unless that takes much more, as it does with photos."""
    picture = open_picture(path)
    picture.thumbnail((SIDE, SIDE))
    exact, lossy = (_webp(picture, **options) for options in ({"lossless": True}, {"quality": QUALITY}))
    return _base64(exact if len(exact) < 2 * len(lossy) else lossy)


def _webp(picture: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "WEBP", method=4, **options)
    return file.getvalue()


def packed_run(details: Details) -> dict[str, Any]:
    """The ranks and ranked lists of a run.

    numbers: ranks (from 0), items and scores of i2t, then of t2i. A list of scores is its best and how much each next
    one is lower, in steps: score = low + step * number.
    """
    scores = details.i2t_scores, details.t2i_scores
    finite = np.concatenate([s[np.isfinite(s)] for s in scores])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    step = float(f"{(high - low) / STEPS or 1.0:.6g}")
    low = float(f"{low:.6g}")
    numbers = []
    for direction in ("i2t", "t2i"):
        ranks, top, values = (getattr(details, f"{direction}_{part}") for part in ("ranks", "top", "scores"))
        listed = np.isfinite(values)
        quantised = np.round((np.where(listed, values, low) - low) / step).astype(np.int64)
        drops = np.concatenate([quantised[:, :1], -np.diff(quantised, axis=1)], axis=1)
        numbers += [ranks, np.where(listed, top, NO_ITEM), drops]
    sizes = [int(array.shape[1]) for array in (details.i2t_top, details.t2i_top)]
    return {"low": low, "step": step, "steps": STEPS, "listed": sizes, "numbers": _packed(numbers)}


def _packed(arrays: Sequence[np.ndarray]) -> str:
    planes = [a.astype("<i4").reshape(-1, 1).view(np.uint8).T.tobytes() for a in arrays]
    return _base64(zlib.compress(b"".join(planes), 9))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
