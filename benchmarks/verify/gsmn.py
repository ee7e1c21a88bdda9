"""What our GSMN computes for a golden case, under the names of the recorded arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.optimiser import build_optimizer
from benchmarks.protocol import evaluate_matrix
from benchmarks.references.gsmn import textual_trace
from datasets.batch import Batch, ImageBatch, TextBatch
from methods.base import Encoded, Progress, Ragged, Terms
from methods.gsmn import GSMN
from methods.matching import Nodes, match_nodes
from methods.matching_graphs import dependency_adjacency, polar_coordinates
from methods.official import import_checkpoint
from methods.recipe import Optim

Arrays = dict[str, np.ndarray]
OTHER = {"dense": "sparse", "sparse": "dense"}
PHASES = {"sum": frozenset(), "max": frozenset({"max_violation"})}


def recompute(folder: Path) -> dict[str, Tensor]:
    """Every recorded array of a case, computed by the modules that users use.

    NaN where an official parameter has no counterpart (p_k, which cancels: one of the case's noise parameters).
    """
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    with np.load(folder / "inputs.npz", allow_pickle=False) as file:
        arrays = dict(file)
    model = import_checkpoint(folder / "checkpoint.pth", GSMN)
    return {
        **_gallery(model, arrays, "encode/img_emb", "encode/txt_emb", "scores/"),
        **_protocol(model, arrays),
        **_debug(model, arrays, case["config"]["debug_caption"]),
        **_training_batch(model, arrays),
        **_loss(model, arrays, "max", case["param_names"]),
        **_loss(model, arrays, "sum", case["param_names"]),
        **_steps(model, arrays, case),
    }


def _images(arrays: Arrays, name: str) -> ImageBatch:
    regions, boxes = (torch.from_numpy(arrays[f"{name}/{what}"]) for what in ("images", "bboxes"))
    n_images, n_regions, _ = regions.shape
    return ImageBatch(torch.arange(n_images), regions, torch.full((n_images,), n_regions), {"boxes": boxes})


def _texts(arrays: Arrays, name: str) -> TextBatch:
    words, lengths, depends = (
        torch.from_numpy(arrays[f"{name}/{what}"]) for what in ("captions", "caption_lengths", "depends")
    )
    ids = torch.arange(len(words))
    image_ids = torch.from_numpy(arrays[f"{name}/img_ids"]) if f"{name}/img_ids" in arrays else ids // 5
    return TextBatch(ids, image_ids, words, lengths, {"dependencies": depends})


def _batch(arrays: Arrays, name: str) -> Batch:
    return Batch(_images(arrays, name), _texts(arrays, name))


@torch.no_grad()
def _score(model: GSMN, arrays: Arrays, name: str) -> tuple[Encoded, Encoded, Terms]:
    images, texts = model.encode_images(_images(arrays, name)), model.encode_texts(_texts(arrays, name))
    return images, texts, model.score(images, texts)


def _gallery(model: GSMN, arrays: Arrays, images_as: str, texts_as: str, scores_as: str) -> dict[str, Tensor]:
    images, texts, terms = _score(model, arrays, "gallery")
    found = {
        images_as: images["regions"].padded(),
        texts_as: texts["words"].padded(),
        **{scores_as + term: values for term, values in terms.items()},
    }
    return found | ({} if scores_as != "scores/" else {"scores/total": model.combine(terms)})


def _protocol(model: GSMN, arrays: Arrays) -> dict[str, Tensor]:
    """Similarities, their ranks and metrics; with the boxes of image k//5, as released; with the other text graph."""
    total = model.combine(_score(model, arrays, "gallery")[2])
    boxes = arrays["gallery/bboxes"]
    wrong = {**arrays, "gallery/bboxes": boxes[np.arange(len(boxes)) // 5]}
    other = GSMN(model.config.model_copy(update={"text_graph": OTHER[model.config.text_graph]}))
    other.load_state_dict(model.state_dict())
    result = evaluate_matrix(total, _texts(arrays, "gallery").image_ids)
    metrics = {
        side: torch.tensor([d.r1, d.r5, d.r10, d.median, d.mean], dtype=torch.float64)
        for side, d in (("i2t", result.i2t), ("t2i", result.t2i))
    }
    return {
        "sims/sims": total,
        "sims/sims_bbox_not_subsampled": model.combine(_score(model, wrong, "gallery")[2]),
        "scores/textual_other_mode": _score(other, arrays, "gallery")[2]["textual"],
        "sims/i2t": metrics["i2t"],
        "sims/t2i": metrics["t2i"],
        "sims/i2t_ranks": result.ranks.i2t,
        "sims/t2i_ranks": result.ranks.t2i,
    }


@torch.no_grad()
def _debug(model: GSMN, arrays: Arrays, caption: int) -> dict[str, Tensor]:
    """What the graphs compute on their way, for one caption. Neighbour tensors only the long form has: they are its."""
    config, boxes = model.config, torch.from_numpy(arrays["gallery/bboxes"])
    images, texts, _ = _score(model, arrays, "gallery")
    rows = torch.tensor([caption])
    regions, words = Nodes.gather(images["regions"]), Nodes.gather(texts["words"], rows)
    visual, textual = match_nodes(regions, words, config.num_blocks, config.lambda_softmax)
    pairs = torch.from_numpy(arrays["gallery/depends"])
    pairs = pairs[pairs[:, 0] == caption, 1:]
    sparse = config.text_graph == "sparse"
    trace = textual_trace(model, regions.features, words.features[0], pairs if sparse else None)
    found = {
        "vnode_mvector": visual[:, 0].permute(2, 1, 0),
        "pseudo_coord": torch.stack(polar_coordinates(boxes), dim=-1),
        "gaussian_weights": model.visual.neighbour_weights(boxes, regions.valid),
        "visual_hidden": model.visual.convolve(visual, Ragged.padded(images["places"]))[:, 0].permute(2, 1, 0),
        "textual_hidden": model.textual.convolve(textual, None)[:, 0].permute(2, 1, 0),
        "tnode_mvector": trace.neighbours,
        "neighbor_weights": trace.edges,
        "text_kernel_weights": trace.kernels[0],
    }
    if sparse:
        joined = torch.ones(1, len(pairs), dtype=torch.bool)
        found["adjacency"] = dependency_adjacency(pairs[None], joined, words.valid)[0].byte()
    return {f"debug/{name}": values for name, values in found.items()}


def _training_batch(model: GSMN, arrays: Arrays) -> dict[str, Tensor]:
    terms = _score(model.train(), arrays, "batch0")[2]
    return {
        "train/scores_visual": terms["visual"],
        "train/scores_textual": terms["textual"],
        "train/scores": model.combine(terms),
    }


def _loss(model: GSMN, arrays: Arrays, kind: str, official_names: list[str]) -> dict[str, Tensor]:
    terms = model(_batch(arrays, "batch0"), Progress(phases=PHASES[kind]))
    model.zero_grad()
    terms["total"].backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    official = {name: gradients[model.official.our_name(name)] for name in official_names if _known(model, name)}
    found = {
        "total": terms["total"],
        "cost_s": terms["i2t"],
        "cost_im": terms["t2i"],
        "grad_norm": _in_order(official, official_names),
        "grad_total_norm": torch.stack([g.norm() for g in gradients.values()]).norm(),
        **{f"grad/{name}": gradient for name, gradient in official.items()},
    }
    return {f"loss_{kind}/{name}": values.detach() for name, values in found.items()}


def _known(model: GSMN, official_name: str) -> bool:
    return model.official.our_name(official_name) is not None


def _in_order(tensors: dict[str, Tensor], names: list[str]) -> Tensor:
    """Norms in the order of `names`, NaN where there is no such tensor."""
    return torch.stack([tensors[n].norm() if n in tensors else torch.tensor(torch.nan) for n in names]).detach()


def _steps(model: GSMN, arrays: Arrays, case: dict[str, Any]) -> dict[str, Tensor]:
    """Three training steps, and the gallery after them. Changes the model."""
    config, before = case["config"], {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = build_optimizer(model, Optim(name="adam", lr=config["learning_rate"], weight_decay=0))
    losses, norms, rates = [], [], []
    for number in (1, 2, 3):
        total = model(_batch(arrays, f"batch{number}"), Progress(phases=PHASES["max"]))["total"]
        optimizer.zero_grad()
        total.backward()
        losses.append(total.detach())
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), config["grad_clip"]))
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
    after = _gallery(model.eval(), arrays, "after/img_emb", "after/txt_emb", "after/")
    scores = after["after/visual"] + after["after/textual"]
    names = [name for name in case["param_names"] if _known(model, name)]
    parameters = {name: dict(model.named_parameters())[model.official.our_name(name)] for name in names}
    moved = {name: p - before[model.official.our_name(name)] for name, p in parameters.items()}
    return {
        **after,
        "steps/loss": torch.stack(losses),
        "steps/grad_total_norm": torch.stack(norms),
        "steps/lr": torch.tensor(rates, dtype=torch.float64),
        "after/scores": scores,
        "after/scores_centered": scores - scores.mean(),
        "after/param_norm": _in_order(parameters, case["param_names"]),
        "after/delta_norm": _in_order(moved, case["param_names"]),
    }
