"""Golden cases of GPO: the pooling operator alone, and whole models with BERT and BiGRU."""

from __future__ import annotations

import torch

from itm_harness.benchmarks.verify.case import Case
from itm_harness.benchmarks.verify.embeddings import compare_embeddings, compare_pooling, compare_trained
from itm_harness.benchmarks.verify.models import (
    Model,
    compare_gallery,
    compare_loss,
    compare_steps,
    images,
    load_model,
    texts,
)
from itm_harness.methods.base import Progress
from itm_harness.methods.encoders.pooling import GPOPooling, rank_codes
from itm_harness.methods.gpo import GPO
from itm_harness.methods.recipe import Optim

BEFORE, AFTER = Progress(), Progress(phases=frozenset({"max_violation"}))
TERMS = {"total": "total", "cost_s": "i2t", "cost_im": "t2i"}


def check(case: Case) -> None:
    """A case with a checkpoint is a whole model."""
    if case.checkpoint.exists():
        check_model(case)
    else:
        for name in case.setting("sets"):
            check_operator(case, name)


def check_operator(case: Case, name: str) -> None:
    """Pooled features, θ, position codes and gradients of one input."""
    pool = GPOPooling(case.setting("d_pe"), case.setting("d_hidden"), case.setting("temperature"))
    pool.load_state_dict(case.inputs_below("weights/"))
    features, lengths = case.input(f"{name}/features").requires_grad_(), case.input(f"{name}/lengths")
    longest = int(lengths.max())
    pooled = pool(features, lengths)
    (pooled * case.input(f"{name}/cotangent")).sum().backward()
    case.compare(f"{name}/pooled", pooled)
    case.compare(f"{name}/pool_weights", pool.weights(lengths, longest)[:, :, None])
    case.compare(f"{name}/pe", rank_codes(longest, pool.code_size))
    case.compare(f"{name}/grad_features", features.grad)
    for parameter, value in pool.named_parameters():
        case.compare(f"{name}/grad/{parameter}", value.grad)


def check_model(case: Case) -> None:
    """Encodings, similarities, both losses with gradients, three training steps."""
    model = load_model(case, GPO, margin=case.setting("margin"))
    compare_encodings(model)
    compare_gallery(model, images(case, "gallery"), texts(case, "gallery"))
    compare_loss(model, "loss_sum", BEFORE, TERMS)
    features = compare_loss(model, "loss_max", AFTER, TERMS)
    compare_embeddings(case, "train", features["image"], features["text"])
    case.compare("train/scores", features["image"] @ features["text"].T)
    optim = Optim(
        lr=case.setting("learning_rate"), weight_decay=case.setting("weight_decay"), grad_clip=case.setting("grad_clip")
    )
    compare_trained(
        compare_steps(model, optim, [AFTER if on else BEFORE for on in case.setting("steps_max_violation")])
    )


@torch.no_grad()
def compare_encodings(model: Model) -> None:
    """encode/*: each side before pooling, pooled and normalised."""
    case, method = model.case, model.method
    image_batch, text_batch = images(case, "gallery"), texts(case, "gallery")
    if case.expects("encode/bert_hidden"):
        case.compare("encode/bert_hidden", method.words.hidden(text_batch.words))
    regions, words = method.regions(image_batch.regions), method.words(text_batch.words, text_batch.lengths)
    image = compare_pooling(case, "encode/img", method.image_pool, regions, image_batch.lengths)
    text = compare_pooling(case, "encode/txt", method.text_pool, words, text_batch.lengths)
    compare_embeddings(case, "encode", image, text)
