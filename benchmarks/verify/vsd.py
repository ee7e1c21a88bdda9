"""Golden cases of VSD on GPO and on HREM: encodings, losses of each phase, prototypes, three training steps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from itm_harness.benchmarks.training.optimiser import build_optimizer
from itm_harness.benchmarks.verify.case import Case
from itm_harness.benchmarks.verify.embeddings import compare_embeddings, compare_evaluation, compare_pooling
from itm_harness.benchmarks.verify.hrem import BLOCKS, Draws
from itm_harness.benchmarks.verify.models import Model, load_model
from itm_harness.benchmarks.verify.probes import compare_gradients, norms_and_probes
from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods.base import Progress, Terms, dot_products
from itm_harness.methods.encoders.fragments import FragmentEncoder
from itm_harness.methods.encoders.pooling import mean_pool
from itm_harness.methods.gpo import GPO
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.hrem import HREM
from itm_harness.methods.losses.hinge import same_image
from itm_harness.methods.losses.prototypes import sinkhorn
from itm_harness.methods.losses.triplet import triplet_loss
from itm_harness.methods.parts.normalise import l2norm
from itm_harness.methods.recipe import Optim
from itm_harness.methods.registry import find_method
from itm_harness.methods.vsd import CUTOFFS, VSD

SUM, HARDEST = Progress(), Progress(phases=frozenset({"max_violation"}))
GRAPH = Progress(phases=frozenset({"max_violation", "graph"}))
TERMS = {
    "total": "total",
    "proto": "prototypes",
    "gnn1": "graph_text",
    "gnn2": "graph_image",
    "gnn3": "graph_both",
    "reg": "reg",
}
DRAWN = [f"{loss}_{{}}_{direction}" for loss in ("base", "gnn1", "gnn2", "gnn3") for direction in ("i2t", "t2i")]
HINGES = {"base_loss": "hinge", "graph_loss": "hinge"}
UNUSED_NORM = "mlp.bns.1."


def check(case: Case) -> None:
    """Every recorded array of the case. A case with graph losses is on HREM, the other on GPO."""
    on_hrem = "gnn_loss" in case.setting("opt")
    recipe = resolve_entry(
        find_method("vsd", "hrem-dagger" if on_hrem else "gpo-dagger"), case.setting("opt")["dataset"]
    )
    prototypes = case.input("proto/centroids")
    extra = {f"criterion.{n}": t for n, t in case.inputs_below("criterion/").items()} | {"prototypes": prototypes}
    host = {"bert_lr_factor": recipe.config.host.bert_lr_factor}
    model = load_model(case, VSD.on(HREM if on_hrem else GPO), extra, prototypes=len(prototypes), host=host)
    (compare_hrem if on_hrem else compare_gpo)(model)
    compare_evaluation(model, images, texts)
    for name in sorted({name.split("/")[0] for name in case.inputs if name.startswith("unit")}):
        compare_triplet(case, name)
    compare_steps(model, recipe.optim, [SUM, GRAPH, GRAPH] if on_hrem else [SUM] * 3)


def images(case: Case, name: str, rows: slice = slice(None)) -> ImageBatch:
    """`<name>/*`, or some of its rows, cut to the most regions among them."""
    lengths, ids = case.input(f"{name}/image_lengths")[rows], case.input(f"{name}/img_ids")[rows]
    regions = case.input(f"{name}/images")[rows, : lengths.max()]
    return ImageBatch(ids, regions, lengths, {"descriptions_dagger": case.input(f"{name}/desc")[rows]})


def texts(case: Case, name: str, rows: slice = slice(None)) -> TextBatch:
    """`<name>/*`, or some of its rows, cut to the longest caption among them."""
    lengths, ids = case.input(f"{name}/lengths")[rows], case.input(f"{name}/img_ids")[rows]
    words = case.input(f"{name}/captions")[rows, : lengths.max()]
    vectors = {"caption_vectors": case.input(f"{name}/cap_vec")[rows]}
    return TextBatch(torch.arange(len(words)), ids, words, lengths, vectors)


def pairs(case: Case, name: str) -> Batch:
    """The training batch `<name>`."""
    return Batch(images(case, name), texts(case, name))


def compare_gpo(model: Model) -> None:
    """enc/* and the three losses of GPO+VSD."""
    compare_fused(model)
    with torch.no_grad():
        host, image_batch, text_batch = model.method.host, images(model.case, "b0"), texts(model.case, "b0")
        words = host.words(text_batch.words, text_batch.lengths)
        compare_pooling(model.case, "enc/img", host.image_pool, host.regions(image_batch.regions), image_batch.lengths)
        compare_pooling(model.case, "enc/txt", host.text_pool, words, text_batch.lengths)
    compare_prototypes(model, compare_loss(model, "loss_trip", SUM))
    hinge = configured(model, pair_loss="hinge")
    compare_loss(hinge, "loss_vse_sum", SUM)
    compare_loss(hinge, "loss_vse_max", HARDEST)


def compare_hrem(model: Model) -> None:
    """enc/*, the losses of HREM+VSD before and after the graph begins, and the graph itself."""
    compare_fused(model)
    with torch.no_grad():
        host, image_batch, text_batch = model.method.host, images(model.case, "b0"), texts(model.case, "b0")
        words = host.words(text_batch.words, text_batch.lengths)
        regions = host.regions(image_batch.regions)
        compare_fragments(model.case, "enc/img", host.image_fragments, regions, image_batch.lengths)
        compare_fragments(model.case, "enc/txt", host.text_fragments, words, text_batch.lengths)
    compare_prototypes(model, compare_loss(model, "loss_before", SUM))
    compare_loss(model, "loss_after", GRAPH)
    host_config = model.method.config.host.model_copy(update=HINGES)
    compare_loss(configured(model, host=host_config), "loss_after_vse_max", GRAPH)


def configured(model: Model, **config: object) -> Model:
    """The same weights under other settings."""
    method = type(model.method)(model.method.config.model_copy(update=config))
    method.load_state_dict(model.method.state_dict())
    return Model(model.case, method, model.start)


@torch.no_grad()
def compare_fused(model: Model) -> None:
    """enc/*: BERT's output and the final embeddings."""
    case, method = model.case, model.method
    image_batch, text_batch = images(case, "b0"), texts(case, "b0")
    case.compare("enc/bert_last_hidden", method.host.words.hidden(text_batch.words))
    compare_embeddings(case, "enc", method.embed_images(image_batch), method.embed_texts(text_batch))


def compare_fragments(case: Case, side: str, encoder: FragmentEncoder, local: Tensor, lengths: Tensor) -> None:
    """Every stage of one side of HREM's encoder."""
    related = encoder.related(local, lengths)
    case.compare(f"{side}_local", local)
    case.compare(f"{side}_maxk", encoder.strongest(local, lengths))
    case.compare(f"{side}_transformer", related)
    case.compare(f"{side}_avg", mean_pool(related, lengths))


def compare_loss(model: Model, phase: str, progress: Progress) -> Terms:
    """`<phase>/*` of b0 in train mode: terms, draws, the graph's insides, gradients. Returns the features."""
    trained = model.fresh()
    trained.method.train()
    features = compare_pass(trained, phase, "b0", progress)
    compare_gradients(trained, phase)
    if progress.reached("graph"):
        compare_adjacency(trained, phase, features)
    return features


def compare_pass(model: Model, phase: str, name: str, progress: Progress) -> Terms:
    """Forward and backward of the batch `name`: terms, draws and embeddings. Returns the features."""
    case, method, draws, batch = model.case, model.method, Draws(), pairs(model.case, name)
    method.choose = method.host.choose = draws.choice()
    features = method.features(batch)
    with_graph = progress.reached("graph")
    layer = method.host.graph.layers[0] if with_graph else nn.Identity()
    hook = layer.register_forward_hook(lambda *call: compare_layer(case, phase, *call[1:]), with_kwargs=True)
    terms = method.objective(features, batch.texts.image_ids, progress)
    hook.remove()
    terms["total"].backward()
    for official, ours in {**TERMS, "base": "base" if "base" in terms else "pairs"}.items():
        if ours in terms:
            case.compare(f"{phase}/{official}", terms[ours])
    case.compare(f"{phase}/img_emb_train", features["image"])
    case.compare(f"{phase}/txt_emb_train", features["text"])
    for place, weights, chosen in zip(DRAWN, draws.weights, draws.chosen, strict=False):
        case.compare(f"{phase}/{place.format('weight')}", weights)
        case.compare(f"{phase}/{place.format('neg')}", chosen)
    return features


def compare_layer(case: Case, phase: str, given: tuple[Tensor], options: dict[str, Tensor], found: Tensor) -> None:
    """gnn_input, gnn_mask and gnn_output: what the instance layer was given and gave."""
    case.compare(f"{phase}/gnn_input", given[0][0])
    case.compare(f"{phase}/gnn_mask", options["src_mask"])
    case.compare(f"{phase}/gnn_output", found[0])


@torch.no_grad()
def compare_adjacency(model: Model, phase: str, features: Terms) -> None:
    """connect_* and relation_*: the four blocks of the graph."""
    names = ("image", "text", "image_local", "text_local", "text_lengths")
    adjacency = model.method.host.graph.adjacency(*(features[name] for name in names))
    n = len(features["image"])
    for block, (row, column) in BLOCKS.items():
        place = slice(row * n, row * n + n), slice(column * n, column * n + n)
        model.case.compare(f"{phase}/connect_{block}", adjacency.connected[place])
        model.case.compare(f"{phase}/relation_{block}", adjacency.relevance[place])


@torch.no_grad()
def compare_prototypes(model: Model, features: Terms) -> None:
    """proto/*: scores with the prototypes, and assignments."""
    case, method = model.case, model.method
    for side, official in (("image", "img"), ("text", "txt")):
        scores = features[side] @ l2norm(method.prototypes).T
        case.compare(f"proto/{official}_scores", scores)
        case.compare(f"proto/{official}_q", sinkhorn(scores, method.config.epsilon, method.config.sinkhorn_iterations))


def compare_triplet(case: Case, name: str) -> None:
    """`<name>/*`: the triplet loss alone, for the cutoffs of both data sets."""
    for dataset, cutoff in CUTOFFS.items():
        prefix, draws = f"{name}/{dataset}", Draws()
        image, text = (case.input(f"{name}/{side}").clone().requires_grad_() for side in ("im", "s"))
        same = same_image(case.input(f"{name}/img_ids"))
        loss = triplet_loss(dot_products(image, text), same, cutoff, draws.choice())
        loss.backward()
        case.compare(f"{prefix}_loss", loss)
        case.compare(f"{prefix}_grad_im", image.grad)
        case.compare(f"{prefix}_grad_s", text.grad)
        for direction, weights, chosen in zip(("i2t", "t2i"), draws.weights, draws.chosen, strict=True):
            case.compare(f"{prefix}_weight_{direction}", weights)
            case.compare(f"{prefix}_neg_{direction}", chosen)


def compare_steps(model: Model, optim: Optim, steps: list[Progress]) -> None:
    """A step on each of b0, b1, … as the engine makes them: train<k>/*, then what has become of the model."""
    case, trained = model.case, model.fresh()
    method = trained.method.train()
    optimizer = build_optimizer(method, optim)
    for step, progress in enumerate(steps):
        method.before_step(progress)
        optimizer.zero_grad(set_to_none=True)
        compare_pass(trained, f"train{step}", f"b{step}", progress)
        norm = nn.utils.clip_grad_norm_(method.parameters(), optim.grad_clip)
        case.compare(f"train{step}/grad_total_norm", norm)
        optimizer.step()
        method.after_step(progress)
    compare_trained(trained)


@torch.no_grad()
def compare_trained(model: Model) -> None:
    """train/*: how far each parameter moved; train_final/*: embeddings and batch statistics."""
    case, method = model.case, model.method.eval()
    norms, probes = norms_and_probes(model.value(name) - model.start[name] for name in case.about["param_names"])
    case.compare("train/delta_norm", norms)
    case.compare("train/delta_probe", probes)
    image, text = method.embed_images(images(case, "b0")), method.embed_texts(texts(case, "b0"))
    compare_embeddings(case, "train_final", image, text)
    buffers = [name.removeprefix("train_final/buffer/") for name in case.expected if "/buffer/" in name]
    for name in buffers:
        ours = method.official.our_name(name)
        if ours is not None:
            case.compare(f"train_final/buffer/{name}", method.get_buffer(ours))
        elif UNUSED_NORM in name:  # the BatchNorm that is never applied: as in the file
            case.compare(f"train_final/buffer/{name}", model.start[name])
