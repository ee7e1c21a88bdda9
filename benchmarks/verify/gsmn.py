"""Golden cases of GSMN: encodings, scores, what the graphs compute on their way, losses, gradients, training steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from itm_harness.benchmarks.bench.references.gsmn import textual_trace
from itm_harness.benchmarks.protocol.evaluate import similarity_matrix
from itm_harness.benchmarks.protocol.ranks import evaluate_matrix
from itm_harness.benchmarks.verify.case import Case
from itm_harness.benchmarks.verify.models import Model, compare_gradients, compare_steps, load_model
from itm_harness.benchmarks.verify.protocol import compare_evaluation
from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods.base import Progress, Terms
from itm_harness.methods.graphs.matching import Nodes, match_nodes
from itm_harness.methods.graphs.matching_graphs import dependency_adjacency, polar_coordinates
from itm_harness.methods.gsmn import GSMN
from itm_harness.methods.parts.encoded import Encoded
from itm_harness.methods.recipe import Optim

CAPTIONS_PER_IMAGE = 5
OTHER = {"dense": "sparse", "sparse": "dense"}
HARDEST = Progress(phases=frozenset({"max_violation"}))


def check(case: Case) -> None:
    """Every recorded array of the case."""
    model = load_model(case, GSMN)
    compare_gallery(model)
    compare_faults(model)
    compare_graphs(model)
    compare_training_batch(model)
    compare_loss(model, "loss_max", HARDEST)
    compare_loss(model, "loss_sum", Progress())
    compare_trained(model)


def image_batch(case: Case, name: str) -> ImageBatch:
    """`<name>/images`, all of one number of regions, with their boxes."""
    regions, boxes = case.input(f"{name}/images"), case.input(f"{name}/bboxes")
    n_images, n_regions, _ = regions.shape
    return ImageBatch(torch.arange(n_images), regions, torch.full((n_images,), n_regions), {"boxes": boxes})


def text_batch(case: Case, name: str) -> TextBatch:
    """`<name>/captions` with their dependencies; five captions per image of the gallery."""
    words, lengths = case.input(f"{name}/captions"), case.input(f"{name}/caption_lengths")
    ids = torch.arange(len(words))
    image_ids = ids // CAPTIONS_PER_IMAGE if name == "gallery" else case.input(f"{name}/img_ids")
    return TextBatch(ids, image_ids, words, lengths, {"dependencies": case.input(f"{name}/depends")})


def training_batch(case: Case, name: str) -> Batch:
    """The pairs `<name>`."""
    return Batch(image_batch(case, name), text_batch(case, name))


@torch.no_grad()
def encode_and_score(method: GSMN, case: Case, name: str) -> tuple[Encoded, Encoded, Terms]:
    """Encoded images, encoded captions, score terms."""
    images, texts = method.encode_images(image_batch(case, name)), method.encode_texts(text_batch(case, name))
    return images, texts, method.score(images, texts)


def compare_gallery(model: Model) -> None:
    """encode/*, scores/*, and sims/* by way of the evaluation that users run."""
    case, method = model.case, model.method
    images, texts, terms = encode_and_score(method, case, "gallery")
    case.compare("encode/img_emb", images["regions"].padded())
    case.compare("encode/txt_emb", texts["words"].padded())
    for name, values in terms.items():
        case.compare(f"scores/{name}", values)
    case.compare("scores/total", method.combine(terms))
    similarity = similarity_matrix(method, images, texts)
    case.compare("sims/sims", similarity)
    compare_evaluation(case, "sims/", evaluate_matrix(similarity, text_batch(case, "gallery").image_ids))


def compare_faults(model: Model) -> None:
    """What the released code also computes: boxes of image k//5, and the other text graph with the same weights."""
    case, method = model.case, model.method
    boxes = case.inputs["gallery/bboxes"]
    shifted = boxes[np.arange(len(boxes)) // CAPTIONS_PER_IMAGE]
    faulty = replace(case, inputs={**case.inputs, "gallery/bboxes": shifted})
    case.compare("sims/sims_bbox_not_subsampled", method.combine(encode_and_score(method, faulty, "gallery")[2]))
    other = GSMN(method.config.model_copy(update={"text_graph": OTHER[method.config.text_graph]}))
    other.load_state_dict(method.state_dict())
    case.compare("scores/textual_other_mode", encode_and_score(other, case, "gallery")[2]["textual"])


@torch.no_grad()
def compare_graphs(model: Model) -> None:
    """debug/*: all images with one caption. Neighbour tensors exist in the written-out form only: these are its."""
    case, method, config = model.case, model.method, model.method.config
    images, texts, _ = encode_and_score(method, case, "gallery")
    caption, boxes = case.setting("debug_caption"), case.input("gallery/bboxes")
    regions, words = Nodes.gather(images["regions"]), Nodes.gather(texts["words"], torch.tensor([caption]))
    visual, textual = match_nodes(regions, words, config.num_blocks, config.lambda_softmax)
    case.compare("debug/vnode_mvector", _image_first(visual))
    case.compare("debug/pseudo_coord", torch.stack(polar_coordinates(boxes), dim=-1))
    case.compare("debug/gaussian_weights", method.visual.neighbour_weights(boxes, regions.valid))
    case.compare("debug/visual_hidden", _image_first(method.visual.convolve(visual, images["places"].padded())))
    case.compare("debug/textual_hidden", _image_first(method.textual.convolve(textual, None)))
    pairs = case.input("gallery/depends")
    pairs = pairs[pairs[:, 0] == caption, 1:]
    adjacency = dependency_adjacency(pairs[None], torch.ones(1, len(pairs), dtype=torch.bool), words.valid)[0]
    case.compare("debug/adjacency", adjacency.byte())
    sparse = config.text_graph == "sparse"
    trace = textual_trace(method, regions.features, words.features[0], pairs if sparse else None)
    case.compare("debug/tnode_mvector", trace.neighbours)
    case.compare("debug/neighbor_weights", trace.edges)
    case.compare("debug/text_kernel_weights", trace.kernels[0])


def _image_first(nodes: Tensor) -> Tensor:
    """(c, 1, n, I) of one caption -> (I, n, c)."""
    return nodes[:, 0].permute(2, 1, 0)


def compare_training_batch(model: Model) -> None:
    """train/*: scores of batch0 in train mode."""
    case, method = model.case, model.fresh().method.train()
    terms = encode_and_score(method, case, "batch0")[2]
    for name, values in terms.items():
        case.compare(f"train/scores_{name}", values)
    case.compare("train/scores", method.combine(terms))


def compare_loss(model: Model, phase: str, progress: Progress) -> None:
    """`<phase>/*`: the loss of batch0 and its gradients."""
    case, trained = model.case, model.fresh()
    terms = trained.method.train()(training_batch(case, "batch0"), progress)
    for official, ours in (("total", "total"), ("cost_s", "i2t"), ("cost_im", "t2i")):
        case.compare(f"{phase}/{official}", terms[ours])
    terms["total"].backward()
    compare_gradients(trained, phase)


def compare_trained(model: Model) -> None:
    """steps/* and after/*: three steps of Adam, and the gallery after them."""
    case = model.case
    optim = Optim(name="adam", lr=case.setting("learning_rate"), weight_decay=0, grad_clip=case.setting("grad_clip"))
    trained = compare_steps(model, optim, [HARDEST] * 3, training_batch).method
    images, texts, terms = encode_and_score(trained, case, "gallery")
    scores = trained.combine(terms)
    case.compare("after/img_emb", images["regions"].padded())
    case.compare("after/txt_emb", texts["words"].padded())
    for name, values in terms.items():
        case.compare(f"after/{name}", values)
    case.compare("after/scores", scores)
    case.compare("after/scores_centered", scores - scores.mean())
