"""The eccv_caption library with COCO's first test images alone, for galleries that fit a test."""

from __future__ import annotations

from typing import Any

import numpy as np

from itm_harness.benchmarks.protocol import eccv


def small_library(monkeypatch: Any, n_images: int = 20) -> Any:
    """Make protocol/eccv.py see only so many images, five captions each; returns the library's cut-down Metrics.

    A judged pair whose other half is cut away is dropped; in its place each image also matches a caption of its
    neighbour, and that caption the image.
    """
    metrics = eccv._library()
    captions = np.asarray(metrics.coco_ids)[: 5 * n_images]
    image_of = {int(c): metrics.coco_gts["t2i"][int(c)][0] for c in captions}
    images = list(dict.fromkeys(image_of.values()))
    own = {image: [c for c in image_of if image_of[c] == image] for image in images}
    metrics.coco_ids = captions
    metrics.coco_gts = {"i2t": own, "t2i": {c: [image] for c, image in image_of.items()}}
    more = {image: own[image] + own[images[i - 1]][:2] for i, image in enumerate(images)}
    metrics.cxc_gts = metrics.eccv_gts = {
        "i2t": more,
        "t2i": {c: [image for image in images if c in more[image]] for c in image_of},
    }
    monkeypatch.setattr(eccv, "_library", lambda: metrics)
    return metrics
