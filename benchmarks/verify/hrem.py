"""Golden cases of HREM: poolings, the triplet loss, and a whole model with its instance graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from itm_harness.benchmarks.verify.case import Case
from itm_harness.benchmarks.verify.embeddings import compare_embeddings, compare_trained
from itm_harness.benchmarks.verify.models import (
    Model,
    compare_gallery,
    compare_loss,
    compare_steps,
    images,
    load_model,
    pairs,
    texts,
)
from itm_harness.methods.base import Progress, Terms, dot_products
from itm_harness.methods.encoders.fragments import FragmentEncoder
from itm_harness.methods.encoders.pooling import kmax_pool, mean_pool
from itm_harness.methods.encoders.text_encoders import valid_positions
from itm_harness.methods.hrem import CUTOFFS, HREM
from itm_harness.methods.losses.hinge import diagonal, hinge_loss, same_image
from itm_harness.methods.losses.triplet import Choice, largest_weights, triplet_loss
from itm_harness.methods.parts.normalise import l2norm
from itm_harness.methods.recipe import Optim

WARM_UP = Progress(phases=frozenset({"max_violation"}))
GRAPH = Progress(phases=frozenset({"max_violation", "graph"}))
TERMS = {"total": "total", "base": "base", "gnn1": "graph_text", "gnn2": "graph_image", "gnn3": "graph_both"}
BLOCKS = {"i2i": (0, 0), "i2t": (0, 1), "t2i": (1, 0), "t2t": (1, 1)}


def check(case: Case) -> None:
    """A case with a checkpoint is a whole model; the others hold one operator."""
    if case.checkpoint.exists():
        check_model(case)
    elif "cutoff" in case.config:
        check_triplet(case)
    else:
        check_poolings(case)


def check_poolings(case: Case) -> None:
    """Mean of the k largest, as released (k shrinks along the batch), mean, and their gradients."""
    for name in case.setting("sets"):
        features, lengths = case.input(f"{name}/features"), case.input(f"{name}/lengths")
        poolings = {f"maxk{k}": lambda f, n, k=k: kmax_pool(f, n, k, shrinking=True) for k in case.setting("k")}
        for pooling, pool in {**poolings, "avg": mean_pool}.items():
            leaf = features.clone().requires_grad_()
            pooled = pool(leaf, lengths)
            (pooled * case.input(f"{name}/cotangent")).sum().backward()
            case.compare(f"{name}/{pooling}", pooled)
            case.compare(f"{name}/{pooling}_grad", leaf.grad)
        case.compare(f"{name}/padding_mask", ~valid_positions(lengths, features.shape[1]))


def check_triplet(case: Case) -> None:
    """The triplet loss alone, on given embeddings and for the cutoffs of both data sets."""
    for name in case.setting("sets"):
        features = {"image": case.input(f"{name}/img_emb"), "text": case.input(f"{name}/txt_emb")}
        for dataset, cutoff in case.setting("cutoff").items():
            compare_triplet(case, f"{name}/{dataset}", features, case.input(f"{name}/img_ids"), cutoff)


def compare_triplet(case: Case, prefix: str, features: Terms, ids: Tensor, cutoff: float) -> None:
    """Loss, gradients of both sides, and the weights and choices of each direction."""
    draws = Draws()
    image, text = (features[side].detach().requires_grad_() for side in ("image", "text"))
    loss = triplet_loss(dot_products(image, text), same_image(ids), cutoff, draws.choice())
    compare_pair_loss(case, prefix, loss, image, text)
    draws.compare(case, prefix)


def compare_pair_loss(case: Case, prefix: str, loss: Tensor, image: Tensor, text: Tensor) -> None:
    """`<prefix>/loss`, `grad_img` and `grad_txt`. image, text: the leaves of the loss."""
    loss.backward()
    case.compare(f"{prefix}/loss", loss)
    case.compare(f"{prefix}/grad_img", image.grad)
    case.compare(f"{prefix}/grad_txt", text.grad)


@dataclass
class Draws:
    """Each call for negatives: the weights it was given and the columns it chose."""

    weights: list[Tensor] = field(default_factory=list)
    chosen: list[Tensor] = field(default_factory=list)

    def choice(self) -> Choice:
        """A choice of the largest weights that notes every call. A function, so that copied models share it."""

        def choose(weights: Tensor) -> Tensor:
            self.weights.append(weights)
            self.chosen.append(largest_weights(weights))
            return self.chosen[-1]

        return choose

    def compare(self, case: Case, phase: str) -> None:
        """`<phase>/weight0`, `neg0`, … in the order of the calls."""
        for k, (weights, chosen) in enumerate(zip(self.weights, self.chosen, strict=True)):
            case.compare(f"{phase}/weight{k}", weights)
            case.compare(f"{phase}/neg{k}", chosen)


def check_model(case: Case) -> None:
    """Encodings, similarities, losses with gradients in each phase and setting, the graph, three training steps."""
    model = load_model(case, HREM, {f"criterion.{n}": t for n, t in case.inputs_below("criterion/").items()})
    model.method.choose = largest_weights
    compare_encodings(model)
    compare_gallery(model, images(case, "gallery"), texts(case, "gallery"))
    features = compare_traced_loss(model, "loss_warmup", WARM_UP)
    compare_train(case, features)
    compare_alone(case, features)
    compare_adjacency(model)
    compare_traced_loss(model, "loss_full", GRAPH)
    coco = {"cutoff": CUTOFFS["coco"], "mask_weight": case.setting("coco_mask_weight")}
    compare_traced_loss(configured(model, **coco), "loss_full_coco", GRAPH)
    compare_traced_loss(configured(model, base_loss="hinge", graph_loss="hinge"), "loss_full_vse", GRAPH)
    compare_trained(compare_traced_steps(model))


def configured(model: Model, **config: Any) -> Model:
    """The same weights under other settings."""
    method = HREM(model.method.config.model_copy(update=config))
    method.load_state_dict(model.method.state_dict())
    return Model(model.case, method, model.start)


@torch.no_grad()
def compare_encodings(model: Model) -> None:
    """encode/*: each side before its relations, with them, pooled and normalised."""
    case, method = model.case, model.method
    image_batch, text_batch = images(case, "gallery"), texts(case, "gallery")
    case.compare("encode/bert_hidden", method.words.hidden(text_batch.words))
    regions, words = method.regions(image_batch.regions), method.words(text_batch.words, text_batch.lengths)
    compare_side(case, "encode/img", method.image_fragments, regions, image_batch.lengths)
    compare_side(case, "encode/txt", method.text_fragments, words, text_batch.lengths)


def compare_side(case: Case, side: str, encoder: FragmentEncoder, local: Tensor, lengths: Tensor) -> None:
    """Every stage of one side's encoder."""
    related, embedding = encoder.related(local, lengths), encoder(local, lengths)
    case.compare(f"{side}_local", local)
    case.compare(f"{side}_aggr", related)
    case.compare(f"{side}_maxk", encoder.strongest(local, lengths))
    case.compare(f"{side}_avg", mean_pool(related, lengths))
    case.compare(f"{side}_emb_notnorm", embedding)
    case.compare(f"{side}_emb", l2norm(embedding))


def compare_train(case: Case, features: Terms) -> None:
    """train/*: embeddings and local features of batch0 in train mode."""
    compare_embeddings(case, "train", features["image"], features["text"])
    case.compare("train/scores", dot_products(features["image"], features["text"]))
    case.compare("train/img_local", features["image_local"])
    case.compare("train/txt_local", features["text_local"])


def compare_alone(case: Case, features: Terms) -> None:
    """triplet_* and contrastive_*: the losses alone, on these embeddings."""
    ids = case.input("batch0/img_ids")
    for dataset, cutoff in CUTOFFS.items():
        compare_triplet(case, f"triplet_{dataset}", features, ids, cutoff)
    for mask, positives in {"mask": same_image(ids), "nomask": diagonal(ids)}.items():
        for kind in ("sum", "max"):
            image, text = (features[side].detach().requires_grad_() for side in ("image", "text"))
            loss = hinge_loss(dot_products(image, text), positives, case.setting("margin"), hardest=kind == "max")
            compare_pair_loss(case, f"contrastive_{mask}_{kind}", loss, image, text)


@torch.no_grad()
def compare_adjacency(model: Model) -> None:
    """adj/*: the four blocks of connection and relevance, and the regularisation."""
    case, method = model.case, model.fresh().method.train()
    features = method.features(pairs(case, "batch0"))
    names = ("image", "text", "image_local", "text_local", "text_lengths")
    adjacency = method.graph.adjacency(*(features[name] for name in names))
    n = len(features["image"])
    for block, (row, column) in BLOCKS.items():
        place = slice(row * n, row * n + n), slice(column * n, column * n + n)
        case.compare(f"adj/connect_{block}", adjacency.connected[place])
        case.compare(f"adj/relevance_{block}", adjacency.relevance[place])
    case.compare("adj/reg_loss", adjacency.regularisation)


def compare_traced_loss(model: Model, phase: str, progress: Progress) -> Terms:
    """`<phase>/*` of batch0: terms, gradients, draws, and what the instance layer was given and gave."""
    graph, draws = progress.reached("graph"), Draws()
    model.method.choose = draws.choice()
    layer, calls = model.method.graph.layers[0], []
    hook = layer.register_forward_hook(lambda *call: calls.append((call[2]["src_mask"], call[3])), with_kwargs=True)
    terms = TERMS | {"reg": "reg"} if graph else {"total": "total", "base": "base"}
    features = compare_loss(model, phase, progress, terms)
    hook.remove()
    draws.compare(model.case, phase)
    for mask, output in calls:
        model.case.compare(f"{phase}/attn_mask_finite", mask.isfinite())
        model.case.compare(f"{phase}/attn_mask", mask.masked_fill(mask.isinf(), 0))
        model.case.compare(f"{phase}/gnn_out", output[0])
    return features


def compare_traced_steps(model: Model) -> Model:
    """Three training steps, the first within the warm-up: steps/* with every term and draw. Returns the model."""
    case, draws, terms = model.case, Draws(), []
    model.method.choose = draws.choice()
    hook = model.method.register_forward_hook(lambda method, batch, found: terms.append(found))
    trained = compare_steps(model, recipe(case), [WARM_UP, GRAPH, GRAPH])
    hook.remove()
    case.compare("steps/base", [found["base"].item() for found in terms])
    names = ("graph_text", "graph_image", "graph_both")
    case.compare("steps/gnn", torch.tensor([[found[name].item() for name in names] for found in terms[1:]]))
    case.compare("steps/reg", [found["reg"].item() for found in terms[1:]])
    calls = [(1, k) for k in range(2)] + [(step, k) for step in (2, 3) for k in range(8)]
    for (step, k), chosen in zip(calls, draws.chosen, strict=True):
        case.compare(f"steps/neg{step}_{k}", chosen)
    return trained


def recipe(case: Case) -> Optim:
    """The case's optimiser."""
    return Optim(
        lr=case.setting("learning_rate"), weight_decay=case.setting("weight_decay"), grad_clip=case.setting("grad_clip")
    )
