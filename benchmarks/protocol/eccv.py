"""ECCV Caption and CxC (Chun et al., ECCV 2022) through the authors' eccv_caption library, an optional extra."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol.pair_scores import Streamed
from itm_harness.benchmarks.protocol.ranks import top_items
from itm_harness.benchmarks.protocol.streaming import best_items
from itm_harness.benchmarks.records.schema import ECCVCaption, Judged

REMEDY = "pip install -e '.[eccv]'"
LISTED = 1000  # ranked items handed to the library: enough for its recalls in folds of 1,000 images
ROWS = 500  # rows sorted at once
RECALLS = (1, 5, 10)
JUDGED = ("cxc_recalls", "eccv_r1", "eccv_map_at_r", "eccv_rprecision")  # those that no protocol of ours measures
METRICS = ("coco_1k_recalls", "coco_5k_recalls", *JUDGED)


@dataclass(frozen=True)
class CocoGallery:
    """COCO's 5,000 test images and 25,000 captions. image_of_caption: (25000,) position of each caption's image."""

    image_ids: np.ndarray
    caption_ids: np.ndarray
    image_of_caption: np.ndarray


def installed() -> bool:
    """Is the library there?"""
    return importlib.util.find_spec("eccv_caption") is not None


def coco_gallery() -> CocoGallery:
    """The gallery in the library's order of captions, images by first appearance."""
    metrics = _library()
    caption_ids = np.asarray(metrics.coco_ids)
    images = [metrics.coco_gts["t2i"][int(caption)][0] for caption in caption_ids]
    image_ids = list(dict.fromkeys(images))
    position = {image: i for i, image in enumerate(image_ids)}
    return CocoGallery(np.array(image_ids), caption_ids, np.array([position[image] for image in images]))


def eccv_metrics(similarity: Tensor, image_ids: np.ndarray, caption_ids: np.ndarray) -> dict[str, float]:
    """Every metric of the library as `name/i2t` and `name/t2i`, fractions from 0 to 1.

    similarity: (5000, 25000), rows as `image_ids`, columns as `caption_ids` (COCO's ids). Raises RunError where the
    library is missing or the ids are not those of COCO's test split.
    """
    metrics = _library()
    if set(caption_ids.tolist()) != set(np.asarray(metrics.coco_ids).tolist()):
        raise RunError("ECCV Caption needs COCO's 25,000 test captions (coco-5k); these caption ids are others.")
    return _compute(metrics, similarity, image_ids, caption_ids, METRICS, LISTED)


def judged(similarity: Tensor | Streamed, caption_ids: np.ndarray, image_of_text: np.ndarray) -> ECCVCaption:
    """ECCV Caption and CxC alone, which need short lists. similarity: (5000, 25000).

    caption_ids: (25000,) COCO's, in the order of the columns. image_of_text: (25000,) the row of each caption's image.
    Raises RunError where the library is missing, or the ids are not those of COCO's test split, image by image.
    """
    metrics = _library()
    image_ids = _image_ids(metrics, caption_ids, image_of_text)
    truths = [side for truth in (metrics.cxc_gts, metrics.eccv_gts) for side in truth.values()]
    listed = max(*RECALLS, *(len(right) for side in truths for right in side.values()))
    found = _compute(metrics, similarity, image_ids, caption_ids, JUDGED, listed)
    return ECCVCaption(**{side: _percent(found, side) for side in ("i2t", "t2i")})


def require_coco_ids(caption_ids: np.ndarray, image_of_text: np.ndarray) -> None:
    """Raises RunError where `judged` would refuse the ids, or the library is missing."""
    _image_ids(_library(), caption_ids, image_of_text)


def _percent(found: dict[str, float], side: str) -> Judged:
    names = {
        "map_at_r": "eccv_map_at_r", "r_precision": "eccv_rprecision", "r1": "eccv_r1",
        "cxc_r1": "cxc_r1", "cxc_r5": "cxc_r5", "cxc_r10": "cxc_r10",
    }  # fmt: skip
    return Judged(**{ours: 100 * found[f"{theirs}/{side}"] for ours, theirs in names.items()})


def _image_ids(metrics: Any, caption_ids: np.ndarray, image_of_text: np.ndarray) -> np.ndarray:
    """(n_images,) COCO's id of each row, by its captions. Raises RunError where they say different things."""
    if sorted(caption_ids.tolist()) != sorted(np.asarray(metrics.coco_ids).tolist()):
        raise RunError("these caption ids are not those of COCO's 25,000 test captions.")
    owner = np.array([metrics.coco_gts["t2i"][caption][0] for caption in caption_ids.tolist()])
    image_ids = np.zeros(int(image_of_text.max()) + 1, np.int64)
    image_ids[image_of_text] = owner
    mixed = np.flatnonzero(image_ids[image_of_text] != owner)
    if len(mixed) or len(set(image_ids.tolist())) < len(image_ids):
        where = f", as in line {mixed[0] + 1}" if len(mixed) else ""
        raise RunError(f"these caption ids do not stand in the order of the captions: they mix images{where}.")
    return image_ids


def _compute(
    metrics: Any,
    similarity: Tensor | Streamed,
    image_ids: np.ndarray,
    caption_ids: np.ndarray,
    names: Sequence[str],
    listed: int,
) -> dict[str, float]:
    i2t, t2i = _ranked(similarity, image_ids, caption_ids, listed)
    with contextlib.redirect_stderr(io.StringIO()):  # it shows progress bars whatever one asks for
        found = metrics.compute_all_metrics(i2t, t2i, target_metrics=names, Ks=RECALLS)
    return {f"{name}/{direction}": float(value) for name, both in found.items() for direction, value in both.items()}


def _library() -> Any:
    if not installed():
        raise RunError(f"ECCV Caption needs the eccv_caption library: {REMEDY}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that two optional accelerators are missing
        from eccv_caption import Metrics
    return Metrics()


def _ranked(
    similarity: Tensor | Streamed, image_ids: np.ndarray, caption_ids: np.ndarray, listed: int
) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Image id -> its best captions' ids and caption id -> its best images' ids; of equal ones the earlier first."""
    if isinstance(similarity, Tensor):
        i2t, t2i = top_items(similarity, listed, ROWS)[0], top_items(similarity.T, listed, ROWS)[0]
    else:
        i2t, t2i = best_items(similarity, listed)
    return _by_id(image_ids.tolist(), caption_ids.tolist(), i2t), _by_id(caption_ids.tolist(), image_ids.tolist(), t2i)


def _by_id(queries: list[int], items: list[int], ranked: Tensor) -> dict[int, list[int]]:
    """Each query's id -> the ids of its ranked items. ranked: (n, k) positions. However often it is listed, an id is
    one object: 30 million of them would take a gigabyte."""
    return {query: [items[i] for i in row.tolist()] for query, row in zip(queries, ranked, strict=True)}
