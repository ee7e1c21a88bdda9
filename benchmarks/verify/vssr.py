"""Golden cases of VSSR: codings and poolings alone, and a whole model with its entity graph and four losses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from itm_harness.benchmarks.training.optimiser import build_optimizer
from itm_harness.benchmarks.verify.case import Case
from itm_harness.benchmarks.verify.hrem import Draws
from itm_harness.benchmarks.verify.models import CAPTIONS_PER_IMAGE, Model, in_parts, load_model
from itm_harness.benchmarks.verify.probes import probe
from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods.base import Progress, Terms, dot_products
from itm_harness.methods.defaults import MARGIN
from itm_harness.methods.encoders.text_encoders import valid_positions
from itm_harness.methods.graphs.codings import MASKED, coded, pooled
from itm_harness.methods.losses.contrastive import (
    CANDIDATE_EPSILON,
    IMAGE_EPSILON,
    joint_contrastive_loss,
    own_candidates,
    positive_losses,
    row_losses,
    specificity_loss,
)
from itm_harness.methods.losses.hinge import diagonal, hinge_loss, same_image
from itm_harness.methods.losses.triplet import largest_weights, triplet_loss
from itm_harness.methods.parts.encoded import Encoded
from itm_harness.methods.parts.normalise import l2norm
from itm_harness.methods.recipe import Optim
from itm_harness.methods.vssr import VSSR, single_entities

HARDEST, SUM = Progress(phases=frozenset({"max_violation"})), Progress()
CODINGS = {"VHACoding": "vha", "THACoding": "tha", "VSACoding": "vsa"}
POOLINGS = {"Max": "max", "Mean": "mean", "Sum": "sum", "LSE": "lse", "Softmax": "softmax"}
TERMS = {"trip": "pairs", "entity_hinge": "entity_hinge", "specificity": "specificity", "total": "total"}
EMBEDDINGS = {"img_emb": "image", "txt_emb": "text", "ent_emb": "entity"}
STEPS = 3
UNUSED_NORM = "img_enc.mlp.bns.1."


def check(case: Case) -> None:
    """A case with settings of the training script is a whole model."""
    if "opt" in case.config:
        check_model(case)
    else:
        for name in ("var", "full"):
            check_codings(case, name)


def check_codings(case: Case, name: str) -> None:
    """Each coding, and each pooling of it."""
    region_lengths, word_lengths = case.input(f"{name}/img_lens"), case.input(f"{name}/cap_lens")
    longest = int(region_lengths.max()), int(word_lengths.max())  # what stands beyond them is cut
    regions, words = case.input(f"{name}/imgs")[:, : longest[0]], case.input(f"{name}/caps")[:, : longest[1]]
    valid = valid_positions(region_lengths, longest[0]), valid_positions(word_lengths, longest[1])
    for official, coding in CODINGS.items():
        codes, counted = coded(regions, words, *valid, coding, case.setting("alpha"))
        case.compare(f"{name}/{official}", codes.masked_fill(~counted, MASKED))
        for pool, ours in POOLINGS.items():
            similarity = pooled(codes, counted, ours, case.setting("belta"))
            if pool == "Softmax":  # 0 · −inf in the released code
                similarity = similarity.masked_fill((codes == MASKED).any(dim=2), torch.nan)
            case.compare(f"{name}/{official}/{pool}Pooling", similarity)


def check_model(case: Case) -> None:
    """Encodings, the released score, losses with gradients under both hinges, each loss alone, three steps."""
    model = load_model(case, VSSR, graph_dropout=case.setting("graph_attention")["dropout"])
    case.compare("e_criterion_margin", model.method.config.entity_margin)
    case.compare("criterion_margin", MARGIN)
    compare_encodings(model)
    compare_gallery(model)
    features = compare_loss(model, "loss", HARDEST)
    compare_flat(case, features)
    compare_alone(model, features)
    compare_loss(model, "loss_sum_hinge", SUM)
    compare_trained(compare_steps(model))


def pairs(case: Case, name: str) -> Batch:
    """The batch `<name>` with its vectors, entities and relations."""
    ids = case.input(f"{name}/img_ids")
    images = ImageBatch(
        ids,
        case.input(f"{name}/images"),
        case.input(f"{name}/image_lengths"),
        {"factual_descriptions": case.input(f"{name}/desc")},
    )
    vectors = {
        "factual_captions": case.input(f"{name}/cap_vec"),
        "factual_entities": case.input(f"{name}/entities"),
        "factual_relations": case.input(f"{name}/relations"),
    }
    texts = TextBatch(
        torch.arange(len(ids)), ids, case.input(f"{name}/captions"), case.input(f"{name}/lengths"), vectors
    )
    return Batch(images, texts)


@torch.no_grad()
def compare_encodings(model: Model) -> None:
    """enc/*: every stage of both sides and of the entities."""
    case, method, batch = model.case, model.method, pairs(model.case, "b0")
    images, texts = batch.images, batch.texts
    case.compare("enc/bert_last_hidden", method.words.hidden(texts.words))
    compare_pooling(case, "img", method.image_pool, method.regions(images.regions), images.lengths)
    compare_pooling(case, "txt", method.text_pool, method.words(texts.words, texts.lengths), texts.lengths)
    slots = every_slot(method, texts)
    sizes = method.entity_graphs(texts).sizes
    case.compare("enc/entities", slots)
    case.compare("enc/ent_lengths_used", sizes)
    case.compare("enc/ent_pooled", method.entity_pool(slots, sizes))
    case.compare("enc/ent_pool_weights", method.entity_pool.weights(sizes, slots.shape[1])[:, :, None])
    compare_embeddings(case, "enc", method.features(batch))


def compare_pooling(case: Case, side: str, pool: nn.Module, local: Tensor, lengths: Tensor) -> None:
    """Features before pooling, θ, pooled features."""
    case.compare(f"enc/{side}_local", local)
    case.compare(f"enc/{side}_pool_weights", pool.weights(lengths, local.shape[1])[:, :, None])
    case.compare(f"enc/{side}_pooled", pool(local, lengths))


def every_slot(method: VSSR, texts: TextBatch) -> Tensor:
    """(B, n, d): what the released graph attention gives for all slots; an empty one attends evenly to its caption."""
    vectors, graph = texts.sidecars["factual_entities"], method.graph
    even = graph.value(vectors).mean(dim=1, keepdim=True)  # (B, 1, d)
    slots = l2norm(graph.norm(graph.target(vectors) + even).relu())
    graphs = method.entity_graphs(texts)
    filled = valid_positions(graphs.sizes, slots.shape[1])
    slots[filled] = l2norm(graph(graphs))
    return slots


def compare_embeddings(case: Case, prefix: str, features: Terms, suffix: str = "") -> None:
    """`<prefix>/img_emb`, `txt_emb` and `ent_emb`."""
    for official, ours in EMBEDDINGS.items():
        case.compare(f"{prefix}/{official}{suffix}", features[ours])


@torch.no_grad()
def compare_gallery(model: Model) -> None:
    """ev/*: embeddings in the released batches, both score terms, and the released score."""
    case, method, batch = model.case, model.method, pairs(model.case, "ev")
    size = int(case.input("ev/split"))
    images = Encoded.concatenate([method.encode_images(part) for part in in_parts(batch.images, size)])
    texts = Encoded.concatenate([method.encode_texts(part) for part in in_parts(batch.texts, size)])
    images = Encoded({"image": images["image"][::CAPTIONS_PER_IMAGE]})
    case.compare("ev/img_embs", images["image"])
    case.compare("ev/cap_embs", texts["text"])
    case.compare("ev/ent_embs", texts["entity"])
    terms = method.score(images, texts)
    case.compare("ev/sims_raw", terms["caption"])
    case.compare("ev/entity_sims_raw", terms["entity"])
    released = VSSR.bare(method.config.model_copy(update={"score": "gallery_softmax"}))
    case.compare("ev/score", released.combine(terms))


def compare_loss(model: Model, phase: str, progress: Progress) -> Terms:
    """`<phase>/*` of b0 in train mode: terms, draws, embeddings, gradients. Returns the features."""
    trained, case = model.fresh(), model.case
    trained.method.train()
    features = compare_step(trained, phase, "b0", progress)
    gradients = [None if p is None else p.grad for p in map(trained.parameter, case.about["param_names"])]
    found = [torch.zeros(()) if g is None else g for g in gradients]
    case.compare(f"{phase}/grad_none", np.array([g is None for g in gradients]))
    case.compare(f"{phase}/grad_norm", [g.double().norm().item() for g in found])
    case.compare(f"{phase}/grad_probe", [probe(g) for g in found])
    case.compare(f"{phase}/grad_total_norm", torch.stack([g.double().norm() for g in found]).norm())
    return features


def compare_step(trained: Model, phase: str, name: str, progress: Progress) -> Terms:
    """Loss terms, draws and embeddings of the batch `name`; gradients are left on the parameters."""
    case, method, draws = trained.case, trained.method, Draws()
    method.choose = draws.choice()
    batch = pairs(case, name)
    features = method.features(batch)
    terms = method.objective(features, batch.texts.image_ids, progress)
    terms["total"].backward()
    for official, ours in TERMS.items():
        case.compare(f"{phase}/{official}", terms[ours])
    compare_contrastive(trained, phase, features, terms["contrastive"])
    for direction, weights, chosen in zip(("i2t", "t2i"), draws.weights, draws.chosen, strict=True):
        case.compare(f"{phase}/trip_weight_{direction}", weights)
        case.compare(f"{phase}/trip_neg_{direction}", chosen)
    compare_embeddings(case, phase, features, "_train")
    return features


@torch.no_grad()
def compare_contrastive(model: Model, phase: str, features: Terms, total: Tensor) -> None:
    """`<phase>/supcon_*`: the loss, and what captions and entities have in it."""
    entities, owner = single_entities(features)
    n = len(features["image"])
    logits = features["image"] @ torch.cat([features["text"], entities]).T / model.method.config.temperature
    positives = own_candidates(n, owner)
    of_images = positive_losses(logits, positives, IMAGE_EPSILON)
    of_candidates = row_losses(logits.T, positives.T, CANDIDATE_EPSILON)
    own = positives[:, n:]
    counts = own.sum(dim=1)  # captions without entities are left out of the mean, as released
    parts = {
        "total": total,
        "image_to_caption": of_images[:, :n].diagonal().mean(),
        "image_to_entity": ((of_images[:, n:] * own).sum(dim=1) / counts)[counts > 0].mean(),
        "caption_to_image": of_candidates[:n].mean(),
        "entity_to_image": of_candidates[n:].mean(),
    }
    for name, value in parts.items():
        model.case.compare(f"{phase}/supcon_{name}_loss", value)


def compare_flat(case: Case, features: Terms) -> None:
    """loss/flat_*: the single entities and their rows."""
    entities, owner = single_entities(features)
    case.compare("loss/flat_entities", entities)
    case.compare("loss/flat_entity_owner", owner)


def compare_alone(model: Model, features: Terms) -> None:
    """terms/*: each loss alone on these embeddings, with its gradients."""
    case, config = model.case, model.method.config
    entities, owner = single_entities(features)
    ids = case.input("b0/img_ids")
    leaves = {**{name: features[ours] for name, ours in EMBEDDINGS.items()}, "flat_entities": entities}
    losses = {
        "trip": lambda v, t, e, x: triplet_loss(dot_products(v, t), same_image(ids), config.cutoff, largest_weights),
        "entity_hinge": lambda v, t, e, x: hinge_loss(dot_products(v, e), diagonal(ids), config.entity_margin),
        "supcon": lambda v, t, e, x: joint_contrastive_loss(v, t, x, owner),
        "specificity": lambda v, t, e, x: specificity_loss(v, t, x, owner),
    }
    for name, loss in losses.items():
        fresh = {leaf: value.detach().clone().requires_grad_() for leaf, value in leaves.items()}
        value = loss(*fresh.values())
        value.backward()
        case.compare(f"terms/{name}", value)
        for leaf, tensor in fresh.items():
            if tensor.grad is not None:
                case.compare(f"terms/{name}_grad_{leaf}", tensor.grad)


def compare_steps(model: Model) -> Model:
    """train0/*, train1/*, … and how far each parameter moves. Returns the trained model."""
    case, trained, opt = model.case, model.fresh(), model.case.setting("opt")
    optimizer = build_optimizer(trained.method, Optim(lr=opt["learning_rate"], grad_clip=opt["grad_clip"]))
    for step in range(STEPS):
        trained.method.train()
        optimizer.zero_grad(set_to_none=True)
        compare_step(trained, f"train{step}", f"b{step}", HARDEST)
        norm = nn.utils.clip_grad_norm_(trained.method.parameters(), opt["grad_clip"])
        case.compare(f"train{step}/grad_total_norm", norm)
        optimizer.step()
    trained.method.eval()
    moved = [trained.value(name).double() - model.start[name].double() for name in case.about["param_names"]]
    case.compare("train/delta_norm", [delta.norm().item() for delta in moved])
    case.compare("train/delta_probe", [probe(delta) for delta in moved])
    return trained


@torch.no_grad()
def compare_trained(trained: Model) -> None:
    """train_final/*: embeddings of b0, entities, and the running statistics."""
    case, method, batch = trained.case, trained.method, pairs(trained.case, "b0")
    compare_embeddings(case, "train_final", method.features(batch))
    case.compare("train_final/entities", every_slot(method, batch.texts))
    for statistic in ("running_mean", "running_var"):
        prefix = "train_final/buffer/img_enc.mlp.bns"
        case.compare(f"{prefix}.0.{statistic}", getattr(method.regions.mlp.norm, statistic))
        case.compare(f"{prefix}.1.{statistic}", trained.start[f"{UNUSED_NORM}{statistic}"])  # never applied
