"""The golden case of AAHR: encodings, losses of each phase, its graph, its queues, six training steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from itm_harness.benchmarks.training.optimiser import build_optimizer
from itm_harness.benchmarks.verify.case import Case
from itm_harness.benchmarks.verify.embeddings import compare_embeddings, compare_evaluation
from itm_harness.benchmarks.verify.hrem import BLOCKS, Draws
from itm_harness.benchmarks.verify.models import Model, load_model
from itm_harness.benchmarks.verify.probes import compare_gradients, norms_and_probes
from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods.aahr import AAHR, CLIP_IMAGES, CLIP_TEXTS
from itm_harness.methods.base import Progress, Terms
from itm_harness.methods.encoders.guided_encoder import GuidedEncoder
from itm_harness.methods.graphs.graph_convolution import mean_adjacency
from itm_harness.methods.losses.prototypes import sinkhorn
from itm_harness.methods.parts.normalise import l2norm
from itm_harness.methods.recipe import Optim

PHASES = {"base": (), "swav": ("prototypes",), "graph": ("prototypes", "graph"), "moco": ("prototypes", "graph")}
TERMS = {
    "base": "base",
    "swav_raw": "prototypes",
    "gnn1": "graph_text",
    "gnn2": "graph_image",
    "gnn3": "graph_both",
    "reg": "reg",
    "total": "total",
}
FEATURES = {"emb_train": "", "prefusion_train": "_unfused", "key": "_key"}  # of img_ and txt_ -> of image and text
KEYS = {"v_encoder_k.": ("img_enc.", "image"), "t_encoder_k.": ("txt_enc.", "text")}
DRAWN = [f"{loss}_{{}}_{direction}" for loss in ("base", "gnn1", "gnn2", "gnn3") for direction in ("i2t", "t2i")]
PADDING = (2, 3)  # empty region slots, padding words of enc_padded
STEPS = 6


def check(case: Case) -> None:
    """Every recorded array of the case."""
    criterion = {f"criterion.{name}": tensor for name, tensor in case.inputs_below("criterion/").items()}
    model = load_model(case, AAHR, criterion, convolution_dropout=case.setting("gcn_dropout"))
    model.method.queues.image.copy_(case.input("moco/v_queue").T)
    model.method.queues.text.copy_(case.input("moco/t_queue").T)
    compare_encodings(model)
    compare_evaluation(model, images, texts)
    for phase in PHASES:
        compare_phase(model, phase)
    compare_steps(model)


def images(case: Case, name: str, rows: slice | None = None) -> ImageBatch:
    """`<name>/*`, or some of its rows, cut to the most regions among them."""
    rows = rows or slice(None)
    lengths, ids = case.input(f"{name}/image_lengths")[rows], case.input(f"{name}/img_ids")[rows]
    regions = case.input(f"{name}/images")[rows, : lengths.max()]
    return ImageBatch(ids, regions, lengths, {CLIP_IMAGES: case.input(f"{name}/clip_img")[rows]})


def texts(case: Case, name: str, rows: slice | None = None) -> TextBatch:
    """`<name>/*`, or some of its rows, cut to the longest caption among them."""
    rows = rows or slice(None)
    lengths, ids = case.input(f"{name}/lengths")[rows], case.input(f"{name}/img_ids")[rows]
    words = case.input(f"{name}/captions")[rows, : lengths.max()]
    return TextBatch(torch.arange(len(words)), ids, words, lengths, {CLIP_TEXTS: case.input(f"{name}/clip_txt")[rows]})


def pairs(case: Case, name: str) -> Batch:
    """The training batch `<name>`."""
    return Batch(images(case, name), texts(case, name))


@torch.no_grad()
def compare_encodings(model: Model) -> None:
    """enc/*: each stage of each side; enc_padded/*: the embeddings where the batch is padded further."""
    case, method = model.case, model.method
    image_batch, text_batch = images(case, "b0"), texts(case, "b0")
    image, text = method.image_encoder, method.text_encoder
    case.compare("enc/bert_last_hidden", text.words.hidden(text_batch.words))
    compare_side(case, "img", image.guided, image(image_batch).local, image_batch.lengths, "b0/clip_img")
    compare_side(case, "txt", text.guided, text(text_batch).local, text_batch.lengths, "b0/clip_txt")
    compare_embeddings(case, "enc", method.embed_images(image_batch), method.embed_texts(text_batch))
    regions, words = (nn.functional.pad(image_batch.regions, (0, 0, 0, PADDING[0])),
                      nn.functional.pad(text_batch.words, (0, PADDING[1])))  # fmt: skip
    image_batch = ImageBatch(image_batch.ids, regions, image_batch.lengths, image_batch.sidecars)
    text_batch = TextBatch(text_batch.ids, text_batch.image_ids, words, text_batch.lengths, text_batch.sidecars)
    compare_embeddings(case, "enc_padded", method.embed_images(image_batch), method.embed_texts(text_batch))


def compare_side(case: Case, side: str, guided: GuidedEncoder, local: Tensor, lengths: Tensor, clip: str) -> None:
    """Every stage of one side's encoder."""
    guide, related = guided.clip(case.input(clip)), guided.fragments.related(local, lengths)
    case.compare(f"enc/{side}_local", local)
    case.compare(f"enc/{side}_maxk", guided.fragments.strongest(local, lengths))
    case.compare(f"enc/{side}_clip_proj", guide)
    case.compare(f"enc/{side}_transformer", related)
    case.compare(f"enc/{side}_attn_pooled", guided.attended(guide, related, lengths))
    case.compare(f"enc/{side}_gate_in_local", l2norm(guided(local, lengths, case.input(clip)).unfused))
    case.compare(f"enc/{side}_gate_in_clip", l2norm(guide))


def compare_phase(model: Model, phase: str) -> None:
    """loss_<phase>/*: terms, features, draws, the graph's insides and gradients of b0 in train mode.

    The queues are full in the last phase, and one batch short of it in the others.
    """
    case, trained = model.case, model.fresh()
    method, batch = trained.method.train(), pairs(case, "b0")
    method.queues.written.fill_(method.config.queue_length - (0 if phase == "moco" else len(batch)))
    draws = Draws()
    method.choose = draws.choice()
    method.before_step(Progress())
    features = method.features(batch)
    with traced_graph(trained, f"loss_{phase}"):
        terms = method.objective(features, batch.texts.image_ids, Progress(phases=frozenset(PHASES[phase])))
    terms["total"].backward()
    compare_terms(case, f"loss_{phase}", terms, features)
    compare_draws(case, f"loss_{phase}", draws)
    compare_gradients(trained, f"loss_{phase}")
    if phase == "base":
        compare_assignments(trained, features)
    if "graph" in PHASES[phase]:
        compare_adjacency(trained, f"loss_{phase}", features)


def compare_terms(case: Case, prefix: str, terms: Terms, features: Terms) -> None:
    """Loss terms, and the features of both sides. The contrast is 0 before it begins."""
    contrast = terms.get("queue", torch.zeros(()))
    case.compare(f"{prefix}/moco", contrast)
    case.compare(f"{prefix}/graph_loss", terms["total"] - contrast)
    for official, ours in TERMS.items():
        if ours in terms:
            case.compare(f"{prefix}/{official}", terms[ours])
    for official, ours in FEATURES.items():
        case.compare(f"{prefix}/img_{official}", features[f"image{ours}"])
        case.compare(f"{prefix}/txt_{official}", features[f"text{ours}"])


def compare_draws(case: Case, prefix: str, draws: Draws) -> None:
    """`<loss>_weight_<direction>` and `<loss>_neg_<direction>`, in the order of the draws."""
    for name, weights, chosen in zip(DRAWN, draws.weights, draws.chosen, strict=False):
        case.compare(f"{prefix}/{name.format('weight')}", weights)
        case.compare(f"{prefix}/{name.format('neg')}", chosen)


@contextmanager
def traced_graph(model: Model, prefix: str) -> Iterator[None]:
    """gcn_*, gnn_input, gnn_mask and gnn_output of whatever the graph computes meanwhile."""
    case, graph = model.case, model.method.graph

    def output(name: str, layer: nn.Module) -> torch.utils.hooks.RemovableHandle:
        return layer.register_forward_hook(lambda layer, given, found: case.compare(f"{prefix}/{name}", found))

    def attention(layer: nn.Module, given: tuple[Tensor], options: dict[str, Tensor], found: Tensor) -> None:
        case.compare(f"{prefix}/gnn_input", given[0][0])
        case.compare(f"{prefix}/gnn_mask", options["src_mask"])
        case.compare(f"{prefix}/gnn_output", found[0])

    hooks = [
        output("gcn_img", graph.image_convolution),
        output("gcn_text", graph.text_convolution),
        output("gcn_joint", graph.joint_convolution),
        graph.layer.register_forward_hook(attention, with_kwargs=True),
    ]
    yield
    for hook in hooks:
        hook.remove()


@torch.no_grad()
def compare_adjacency(model: Model, prefix: str, features: Terms) -> None:
    """connect_* and relation_*: the four blocks of the graph."""
    case, graph = model.case, model.method.graph
    image, text = l2norm(features["image_unfused"]), l2norm(features["text_unfused"])
    local = (features["image_local"], features["text_local"], features["text_lengths"])
    adjacency = mean_adjacency(image, text, *local, graph.threshold, graph.topk)
    n = len(image)
    for block, (row, column) in BLOCKS.items():
        place = slice(row * n, row * n + n), slice(column * n, column * n + n)
        case.compare(f"{prefix}/connect_{block}", adjacency.connected[place])
        case.compare(f"{prefix}/relation_{block}", adjacency.relevance[place])


@torch.no_grad()
def compare_assignments(model: Model, features: Terms) -> None:
    """swav/*: scores with the prototypes, which the loss has normalised, and assignments."""
    case, method = model.case, model.method
    for side, official in (("image", "img"), ("text", "txt")):
        scores = features[side] @ method.prototypes.T
        case.compare(f"swav/{official}_scores", scores)
        case.compare(f"swav/{official}_q", sinkhorn(scores, method.config.epsilon))


def compare_steps(model: Model) -> None:
    """Six steps on b0 … b5 as the engine makes them: train<k>/*, then what has become of the model."""
    case, trained = model.case, model.fresh()
    method = trained.method
    optim = Optim(lr=case.setting("opt")["learning_rate"], grad_clip=case.setting("opt")["grad_clip"])
    optimizer = build_optimizer(method, optim)
    for step in range(STEPS):
        compare_step(trained, step, optimizer, optim)
    compare_trained(trained)


def compare_step(model: Model, step: int, optimizer: torch.optim.Optimizer, optim: Optim) -> None:
    """One step: train<k>/*."""
    case, method, options = model.case, model.method.train(), model.case.setting("opt")
    begins = {"prototypes": options["freeze_prototypes_niters"] + 1, "graph": options["warmup"]}
    progress = Progress(step, phases=frozenset(name for name, first in begins.items() if step >= first))
    batch, draws = pairs(case, f"b{step}"), Draws()
    method.choose = draws.choice()
    method.before_step(progress)
    optimizer.zero_grad(set_to_none=True)
    features = method.features(batch)
    terms = method.objective(features, batch.texts.image_ids, progress)
    terms["total"].backward()
    norm = nn.utils.clip_grad_norm_(method.parameters(), optim.grad_clip)
    optimizer.step()
    method.after_step(progress)
    compare_terms(case, f"train{step}", terms, features)
    compare_draws(case, f"train{step}", draws)
    case.compare(f"train{step}/grad_total_norm", norm)


@torch.no_grad()
def compare_trained(model: Model) -> None:
    """train/*, train_key/*: changes of the parameters; train_final/*: queues, prototypes, statistics, embeddings."""
    case, method = model.case, model.method.eval()
    names, key_names = case.about["param_names"], case.about["key_param_names"]
    compare_changes(case, "train", (model.value(name) - model.start[name] for name in names))
    compare_changes(case, "train_key", (key_value(model, name) - model.start[query_name(name)] for name in key_names))
    case.compare("train_final/v_queue", method.queues.image.T)
    case.compare("train_final/t_queue", method.queues.text.T)
    case.compare("train_final/queue_ptr", (method.queues.written % method.config.queue_length)[None])
    case.compare("train_final/prototypes", method.prototypes)
    compare_embeddings(
        case, "train_final", method.embed_images(images(case, "b0")), method.embed_texts(texts(case, "b0"))
    )
    for part, encoder in (("img_enc", method.image_encoder), ("v_encoder_k", method.image_keys)):
        norm = encoder.regions.mlp.norm
        case.compare(f"train_final/buffer/{part}.fc.mlp.bns.0.running_mean", norm.running_mean)
        case.compare(f"train_final/buffer/{part}.fc.mlp.bns.0.running_var", norm.running_var)
        for statistic in ("running_mean", "running_var"):  # of the BatchNorm that is never applied: as in the file
            unused = model.start[f"img_enc.fc.mlp.bns.1.{statistic}"]
            case.compare(f"train_final/buffer/{part}.fc.mlp.bns.1.{statistic}", unused)


def compare_changes(case: Case, prefix: str, changes: Iterator[Tensor]) -> None:
    """delta_norm and delta_probe."""
    norms, probes = norms_and_probes(changes)
    case.compare(f"{prefix}/delta_norm", norms)
    case.compare(f"{prefix}/delta_probe", probes)


def query_name(key_name: str) -> str:
    """The official name of the parameter that a key encoder's parameter follows."""
    part = next(part for part in KEYS if key_name.startswith(part))
    return KEYS[part][0] + key_name.removeprefix(part)


def key_value(model: Model, key_name: str) -> Tensor:
    """A key encoder's parameter; of one that ours has no use for, the value in the file."""
    official = query_name(key_name)
    ours = model.method.official.our_name(official)
    if ours is None:
        return model.start[official]
    encoder, _, rest = ours.partition(".")
    keys = {"image_encoder": model.method.image_keys, "text_encoder": model.method.text_keys}
    return keys[encoder].get_parameter(rest)
