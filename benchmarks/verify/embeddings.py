"""What golden cases record of methods with one embedding per item: each is compared in one place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from itm_harness.benchmarks.protocol.evaluate import similarity_matrix
from itm_harness.benchmarks.verify.case import Case
from itm_harness.benchmarks.verify.models import CAPTIONS_PER_IMAGE, Model, images, pairs, texts
from itm_harness.datasets.batch import ImageBatch, TextBatch
from itm_harness.methods.parts.encoded import Encoded
from itm_harness.methods.parts.normalise import l2norm


def compare_embeddings(case: Case, prefix: str, image: Tensor, text: Tensor) -> None:
    """`<prefix>/img_emb` and `<prefix>/txt_emb`."""
    case.compare(f"{prefix}/img_emb", image)
    case.compare(f"{prefix}/txt_emb", text)


def compare_pooling(case: Case, side: str, pool: nn.Module, local: Tensor, lengths: Tensor) -> Tensor:
    """Features before pooling, θ, pooled features. Returns the embedding."""
    pooled = pool(local, lengths)
    case.compare(f"{side}_local", local)
    case.compare(f"{side}_pool_weights", pool.weights(lengths, int(lengths.max()))[:, :, None])
    case.compare(f"{side}_pooled", pooled)
    return l2norm(pooled)


@torch.no_grad()
def compare_trained(trained: Model) -> None:
    """after/*: embeddings in both modes, and the running statistics. Train mode last: it changes the statistics."""
    case, method = trained.case, trained.method
    image, text = method.embed_images(images(case, "gallery")), method.embed_texts(texts(case, "gallery"))
    compare_embeddings(case, "after", image, text)
    case.compare("after/sims", image.double() @ text.double().T)
    norm = method.regions.mlp.norm
    case.compare("after/bn0_running_mean", norm.running_mean)
    case.compare("after/bn0_running_var", norm.running_var)
    case.compare("after/bn0_num_batches", norm.num_batches_tracked)
    features = method.train().features(pairs(case, "batch0"))
    case.compare("after/train_img_emb", features["image"])
    case.compare("after/train_txt_emb", features["text"])


@torch.no_grad()
def compare_evaluation(
    model: Model,
    images_of: Callable[[Case, str, slice], ImageBatch],
    texts_of: Callable[[Case, str, slice], TextBatch],
) -> None:
    """ev/*: the gallery in the two batches of the official evaluation; an image is taken from its first caption's.

    images_of, texts_of: how the case's batches are read: (case, name, rows).
    """
    case, method, split = model.case, model.method, int(model.case.input("ev/split"))
    parts = (slice(0, split), slice(split, None))
    encoded_images = Encoded.concatenate([method.encode_images(images_of(case, "ev", rows)) for rows in parts])
    encoded_texts = Encoded.concatenate([method.encode_texts(texts_of(case, "ev", rows)) for rows in parts])
    encoded_images = Encoded({"embedding": encoded_images["embedding"][::CAPTIONS_PER_IMAGE]})
    case.compare("ev/img_embs", encoded_images["embedding"])
    case.compare("ev/cap_embs", encoded_texts["embedding"])
    case.compare("ev/sims", similarity_matrix(method, encoded_images, encoded_texts))
    if case.expects("ev/npts"):
        case.compare("ev/npts", np.array(len(encoded_images)))
