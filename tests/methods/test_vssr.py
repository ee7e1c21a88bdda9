"""VSSR: embeddings of single items, scores of single pairs, its losses, switches, groups, recipe and checkpoints."""

import argparse
import math

import pytest
import torch
from torch.nn.functional import normalize

from itm_harness.benchmarks.protocol import evaluate, pair_scores
from itm_harness.benchmarks.records.store import read_records
from itm_harness.benchmarks.runs.checkpoint_evaluation import evaluate_checkpoint
from itm_harness.benchmarks.runs.job import Job
from itm_harness.benchmarks.runs.run import RunOptions, run
from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods.base import Progress
from itm_harness.methods.encoders.text_encoders import TextConfig, bert_from_config
from itm_harness.methods.errors import MethodError
from itm_harness.methods.gpo import GPO
from itm_harness.methods.importing import import_checkpoint
from itm_harness.methods.losses.triplet import draw_negatives, largest_weights
from itm_harness.methods.parts.encoded import Ragged
from itm_harness.methods.recipe import resolve
from itm_harness.methods.registry import find_method
from itm_harness.methods.vssr import VSSR, VSSRConfig, single_entities
from itm_tests.places import GOLDEN
from itm_tests.trees import write_coco, write_f30k
from itm_tests.waits import Waits

CHECKPOINT = GOLDEN / "vssr" / "bert" / "checkpoint.pth"
D, SLOTS, N = 16, 5, 6
WIDTHS = {"description_dim": 7, "caption_dim": 8, "entity_dim": 9}
HARDEST, SUM = Progress(epoch=1, phases=frozenset({"max_violation"})), Progress()
IDS = (0, 1, 2, 1, 4, 5)
ENTITIES = (2, 0, 4, 1, 3, 1)


def vssr(**settings):
    """A small VSSR that always chooses the likeliest negatives, in training mode without dropout."""
    torch.manual_seed(0)
    settings = {"embed_size": D, "heads": 4, "graph_dropout": 0.0, "region_dim": 6, **WIDTHS, **settings}
    method = VSSR(VSSRConfig(text=TextConfig(vocabulary_size=30, word_dim=5), **settings))
    method.choose = largest_weights
    return method


def batch(entities=ENTITIES):
    """Six pairs, two of one image. entities: how many each caption has."""
    generator = torch.Generator().manual_seed(1)
    region_lengths, word_lengths = torch.tensor([5, 7, 1, 7, 3, 2]), torch.tensor([9, 8, 8, 5, 4, 3])
    regions = torch.rand(N, 7, 6, generator=generator) * (torch.arange(7) < region_lengths[:, None])[:, :, None]
    words = torch.randint(4, 30, (N, 9), generator=generator) * (torch.arange(9) < word_lengths[:, None])
    valid = torch.arange(SLOTS) < torch.tensor(entities)[:, None]
    ids = torch.tensor(IDS)
    sidecars = {
        "factual_captions": torch.randn(N, 8, generator=generator),
        "factual_entities": torch.randn(N, SLOTS, 9, generator=generator) * valid[:, :, None],
        "factual_relations": torch.randint(0, 2, (N, SLOTS, SLOTS), generator=generator)
        * (valid[:, :, None] & valid[:, None]),
    }
    descriptions = {"factual_descriptions": torch.randn(N, 7, generator=generator)}
    images = ImageBatch(ids, regions, region_lengths, descriptions)
    return Batch(images, TextBatch(torch.arange(N), ids, words, word_lengths, sidecars))


def rows(items, chosen):
    """The same items in another number and order; padding stays."""
    fields = {name: value[chosen] for name, value in vars(items).items() if isinstance(value, torch.Tensor)}
    return type(items)(**fields, sidecars={name: value[chosen] for name, value in items.sidecars.items()})


def gradients(method, whole=None, progress=HARDEST):
    method.zero_grad(set_to_none=True)
    terms = method(whole or batch(), progress)
    terms["total"].backward()
    return terms, {name: parameter.grad for name, parameter in method.named_parameters()}


@torch.no_grad()
def test_embeddings_are_sums_of_what_the_paper_adds():
    method, whole = vssr().eval(), batch()
    images, texts = whole.images, whole.texts
    plain = normalize(method.image_pool(method.regions(images.regions), images.lengths), dim=1)
    image = normalize(plain + method.description(images.sidecars["factual_descriptions"]), dim=1)
    torch.testing.assert_close(method.encode_images(images)["image"], image)
    words = normalize(method.text_pool(method.words(texts.words, texts.lengths), texts.lengths), dim=1)
    text = normalize(words + method.caption(texts.sidecars["factual_captions"]), dim=1)
    encoded = method.encode_texts(texts)
    torch.testing.assert_close(encoded["text"], text)
    graphs = method.entity_graphs(texts)
    nodes = normalize(method.graph(graphs), dim=1)  # of caption 2: behind two entities and one zero node
    pooled = method.entity_pool(nodes[3:7][None], torch.tensor([4]))[0]
    entity = normalize(normalize(pooled, dim=0) + words[2], dim=0)  # the caption without its vector
    torch.testing.assert_close(encoded["entity"][2], entity)


@torch.no_grad()
def test_a_caption_without_entities_is_pooled_from_a_constant():
    method = vssr().eval()
    found = method.features(batch())
    other = batch((2, 0, 0, 1, 3, 1))
    fewer = method.features(other)
    assert fewer["entity_counts"].tolist() == [2, 0, 0, 1, 3, 1]
    torch.testing.assert_close(fewer["entities"][1, 0], fewer["entities"][2, 0])  # whatever the caption
    torch.testing.assert_close(fewer["entities"][1, 0], found["entities"][1, 0])  # whatever the batch
    assert fewer["entities"][1, 0].norm().item() == pytest.approx(1)


@torch.no_grad()
def test_a_caption_without_entities_has_one_embedding_in_whatever_batch():
    """Also where no caption of the batch has an entity."""
    method, texts = vssr().eval(), batch().texts
    among_others, alone = method.encode_texts(texts), method.encode_texts(rows(texts, [1]))
    assert ENTITIES[1] == 0
    torch.testing.assert_close(alone["entity"][0], among_others["entity"][1])


def test_entities_count_in_whatever_slots_they_lie():
    """A gap changes neither embeddings nor loss."""
    method, whole, spread = vssr().train(), batch((2, 0, 3, 1, 3, 1)), batch((2, 0, 3, 1, 3, 1))
    order = [0, 3, 1, 4, 2]  # entities in slots 0, 2 and 4
    sidecars = spread.texts.sidecars
    sidecars["factual_entities"] = sidecars["factual_entities"][:, order]
    sidecars["factual_relations"] = sidecars["factual_relations"][:, order][:, :, order]
    torch.testing.assert_close(method.features(spread)["entity"], method.features(whole)["entity"])
    for name, value in method(whole, HARDEST).items():
        torch.testing.assert_close(method(spread, HARDEST)[name], value)


CODED = [{"coding": c, "coding_pooling": p} for c, p in (("vha", "max"), ("tha", "mean"), ("vsa", "lse"))]


@pytest.mark.parametrize("settings", [{}, {"entities": False}, {"graph_attention": False}, *CODED])
@torch.no_grad()
def test_a_score_depends_on_its_pair_alone(settings):
    method, whole = vssr(**settings).eval(), batch()
    images, texts = method.encode_images(whole.images), method.encode_texts(whole.texts)
    similarity = method.combine(method.score(images, texts))
    assert similarity.shape == (N, N)
    part = method.combine(method.score(images[1:3], texts[2:6]))
    torch.testing.assert_close(part, similarity[1:3, 2:6])
    some_images, some_texts = rows(whole.images, [4, 2]), rows(whole.texts, [3, 1, 5])  # other padding and neighbours
    again = method.combine(method.score(method.encode_images(some_images), method.encode_texts(some_texts)))
    torch.testing.assert_close(again, similarity[[4, 2]][:, [3, 1, 5]])
    assert method.scope == "pair"


@torch.no_grad()
def test_the_score_is_three_quarters_caption_and_one_quarter_entities():
    method, whole = vssr().eval(), batch()
    images, texts = method.encode_images(whole.images), method.encode_texts(whole.texts)
    terms = method.score(images, texts)
    torch.testing.assert_close(terms["caption"], images["image"] @ texts["text"].T)
    torch.testing.assert_close(terms["entity"], images["image"] @ texts["entity"].T)
    torch.testing.assert_close(method.combine(terms), 0.75 * terms["caption"] + 0.25 * terms["entity"])
    weighted = vssr(entity_share=0.6).combine(terms)
    torch.testing.assert_close(weighted, 0.4 * terms["caption"] + 0.6 * terms["entity"])


@torch.no_grad()
def test_the_released_score_is_normalised_over_all_captions_of_the_gallery(monkeypatch):
    method, whole = vssr(score="gallery_softmax").eval(), batch()
    images, texts = method.encode_images(whole.images), method.encode_texts(whole.texts)
    caption, entity = images["image"] @ texts["text"].T, images["image"] @ texts["entity"].T
    wanted = torch.zeros(N, N)
    for i in range(N):
        of_captions = sum(math.exp(caption[i, k]) for k in range(N))
        of_entities = sum(math.exp(entity[i, k]) for k in range(N))
        for j in range(N):
            wanted[i, j] = 0.75 * math.exp(caption[i, j]) / of_captions + 0.25 * math.exp(entity[i, j]) / of_entities
    monkeypatch.setattr(pair_scores, "IMAGE_CHUNK", 4)
    monkeypatch.setattr(pair_scores, "TEXT_CHUNK", 2)
    torch.testing.assert_close(evaluate.similarity_matrix(method, images, texts), wanted)
    assert VSSR.bare(method.config).scope == "gallery"


def crafted(similarity_to_entities):
    """Features of three pairs whose entity similarities are given; images are unit vectors."""
    return {
        "image": torch.eye(3),
        "text": torch.eye(3),
        "entity": similarity_to_entities.T.contiguous(),
        "entities": torch.eye(3)[:, None],
        "entity_counts": torch.ones(3, dtype=torch.int64),
    }


def test_the_entity_hinge_has_margin_005_and_masks_the_diagonal_only():
    similarity = torch.tensor([[0.9, 0.9, 0.8], [0.1, 0.7, 0.68], [0.75, 0.65, 0.9]])
    ids = torch.tensor([0, 0, 1])  # the second caption of an image is a negative
    method = vssr()
    hardest = method.objective(crafted(similarity), ids, HARDEST)["entity_hinge"]
    total = method.objective(crafted(similarity), ids, SUM)["entity_hinge"]
    assert hardest.item() == pytest.approx(0.05 + 0.03 + 0 + 0 + 0.25 + 0, abs=1e-6)
    assert total.item() == pytest.approx(0.05 + 0.03 + 0.25, abs=1e-6)
    wider = vssr(entity_margin=0.3).objective(crafted(similarity), ids, HARDEST)["entity_hinge"]
    rowwise, columnwise = 0.3 + 0.28 + 0.15, 0.15 + 0.5 + 0.2
    assert wider.item() == pytest.approx(rowwise + columnwise, abs=1e-6)
    sums = vssr(entity_margin=0.3).objective(crafted(similarity), ids, SUM)["entity_hinge"]
    assert sums.item() == pytest.approx(rowwise + 0.2 + 0.05 + columnwise + 0.25 + 0.08, abs=1e-6)


def test_the_total_is_the_sum_of_four_losses_and_every_parameter_has_a_part():
    terms, found = gradients(vssr())
    assert list(terms) == ["pairs", "entity_hinge", "contrastive", "specificity", "total"]
    assert terms["total"].item() == pytest.approx(sum(v.item() for k, v in terms.items() if k != "total"))
    assert [name for name, gradient in found.items() if gradient is None] == []


@pytest.mark.parametrize("loss", ["pairs", "entity_hinge", "contrastive", "specificity"])
def test_each_loss_can_be_switched_off(loss):
    off = {"pair_loss": "none"} if loss == "pairs" else {loss: False}
    all_terms, terms = gradients(vssr())[0], gradients(vssr(**off))[0]
    assert set(all_terms) - set(terms) == {loss}
    assert terms["total"].item() == pytest.approx((all_terms["total"] - all_terms[loss]).item(), rel=1e-5)


def test_the_loss_of_pairs_may_be_the_hinge_of_the_other_images():
    method, whole = vssr(pair_loss="hinge"), batch()
    features, ids = method.features(whole), whole.texts.image_ids
    scores = (features["image"] @ features["text"].T).tolist()
    costs = [[[], []] for _ in range(N)]  # of each row and each column
    for i in range(N):
        for j in range(N):
            if ids[i] != ids[j]:
                costs[i][0].append(max(0, 0.2 + scores[i][j] - scores[i][i]))
                costs[j][1].append(max(0, 0.2 + scores[i][j] - scores[j][j]))
    each = [cost for pair in costs for cost in pair]
    summed, hardest = (method.objective(features, ids, p)["pairs"].item() for p in (SUM, HARDEST))
    assert summed == pytest.approx(sum(map(sum, each)), rel=1e-5)
    assert hardest == pytest.approx(sum(map(max, each)), rel=1e-5)


def without_part(**settings):
    """Prefixes of the parameters that get no gradient."""
    found = gradients(vssr(**settings))[1]
    return {name.split(".")[0] for name, gradient in found.items() if gradient is None}


def test_parameters_without_a_part_have_no_gradient():
    assert without_part(entity_hinge=False) == {"entity_pool"}
    assert without_part(entity_hinge=False, contrastive=False, specificity=False) == {"entity_pool", "graph"}
    assert without_part(pair_loss="none", contrastive=False, specificity=False) == {"caption"}
    assert without_part(coding="vha") == set()


def modules(method):
    return {name.split(".")[0] for name, _ in method.named_parameters()}


def test_switches_leave_out_modules_and_files():
    everything = modules(vssr())
    assert everything - modules(vssr(descriptions=False)) == {"description"}
    assert everything - modules(vssr(caption_vectors=False)) == {"caption"}
    assert everything - modules(vssr(entities=False)) == {"graph", "entity_pool"}
    assert everything - modules(vssr(coding="tha")) == {"entity_pool"}
    read = {
        "descriptions": ((), ("factual_captions", "factual_entities", "factual_relations")),
        "caption_vectors": (("factual_descriptions",), ("factual_entities", "factual_relations")),
        "entities": (("factual_descriptions",), ("factual_captions",)),
        "graph_attention": (("factual_descriptions",), ("factual_captions", "factual_entities")),
    }
    for switch, sidecars in read.items():
        inputs = VSSR.bare(VSSRConfig(**{switch: False})).inputs()
        assert (inputs.image_sidecars, inputs.text_sidecars) == sidecars
    inputs = VSSR.bare(VSSRConfig()).inputs()
    assert len(inputs.image_sidecars + inputs.text_sidecars) == 4


@torch.no_grad()
def test_without_vectors_and_entities_it_is_gpo():
    method, whole = vssr(descriptions=False, caption_vectors=False, entities=False).eval(), batch()
    host = GPO(GPO.Config(embed_size=D, region_dim=6, text=method.config.text)).eval()
    host.load_state_dict(method.state_dict())
    own, theirs = (m.score(m.encode_images(whole.images), m.encode_texts(whole.texts)) for m in (method, host))
    torch.testing.assert_close(method.combine(own), theirs["similarity"])


def test_without_the_entity_branch_captions_alone_are_contrasted():
    method = vssr(entities=False)
    terms, _ = gradients(method)
    assert list(terms) == ["pairs", "contrastive", "total"]
    features = method.features(batch())
    logits = features["image"] @ features["text"].T / 0.01
    target = torch.arange(N)
    wanted = torch.nn.functional.cross_entropy(logits, target) + torch.nn.functional.cross_entropy(logits.T, target)
    assert terms["contrastive"].item() == pytest.approx(wanted.item(), rel=1e-4)


def test_without_graph_attention_relations_count_for_nothing():
    for settings, counts in (({}, True), ({"graph_attention": False}, False)):
        method, whole = vssr(**settings), batch()
        entity = method.features(whole)["entity"]
        whole.texts.sidecars["factual_relations"] = torch.zeros(N, SLOTS, SLOTS, dtype=torch.int64)
        assert torch.equal(method.features(whole)["entity"], entity) != counts


@pytest.mark.parametrize("settings", CODED)
def test_a_coding_replaces_the_entity_similarity_in_the_score_and_the_hinge(settings):
    method, whole = vssr(**settings), batch()
    features = method.features(whole)
    assert "entity" not in features
    sizes = features["entity_counts"].clamp(min=1)
    regions = Ragged.from_padded(features["regions"], features["region_lengths"])
    wanted = method.fragments.of_galleries(regions, Ragged.from_padded(features["entities"], sizes))
    torch.testing.assert_close(features["regions"].norm(dim=2), torch.ones(N, 7))
    costs = wanted.detach() - wanted.detach().diagonal()[:, None] + 0.05, wanted.detach() - wanted.detach().diagonal()
    masked = torch.eye(N, dtype=torch.bool)
    hinge = costs[0].clamp(min=0).masked_fill(masked, 0).sum()
    hinge = hinge + (costs[1] + 0.05).clamp(min=0).masked_fill(masked, 0).sum()
    terms = method.objective(features, whole.texts.image_ids, SUM)
    torch.testing.assert_close(terms["entity_hinge"], hinge)
    plain = vssr().objective(vssr().features(whole), whole.texts.image_ids, SUM)
    assert terms["pairs"].item() == pytest.approx(plain["pairs"].item(), rel=1e-5)
    assert terms["specificity"].item() == pytest.approx(plain["specificity"].item(), rel=1e-5)
    method.eval()
    scores = method.score(method.encode_images(whole.images), method.encode_texts(whole.texts))
    evaluated = method.features(whole)
    fragments = method.fragments(evaluated["regions"], evaluated["entities"], evaluated["region_lengths"], sizes)
    torch.testing.assert_close(scores["entity"], fragments)


def test_single_entities_are_those_of_a_loop_and_so_are_their_gradients():
    counts, entities = torch.tensor([2, 0, 3, 1]), torch.randn(4, 3, D, requires_grad=True)
    found, owner = single_entities({"entities": entities, "entity_counts": counts})
    wanted = [(row, slot) for row, count in enumerate(counts) for slot in range(count)]
    assert owner.tolist() == [row for row, _ in wanted]
    torch.testing.assert_close(found, torch.stack([entities[row, slot] for row, slot in wanted]))
    cotangent, gradient = torch.randn(6, D), torch.zeros(4, 3, D)
    for (row, slot), value in zip(wanted, cotangent, strict=True):
        gradient[row, slot] = value
    torch.testing.assert_close(torch.autograd.grad(found, entities, cotangent)[0], gradient)


def test_the_entity_branch_waits_for_the_device_only_to_list_nodes_edges_entities_and_pairs():
    method, whole = vssr(), batch()
    method.choose = draw_negatives
    without = vssr(entities=False)
    with Waits() as waits:
        features = method.features(whole)
    with Waits() as others:
        without.features(whole)
    assert len(waits.found) - len(others.found) == 2  # nodes and edges
    with Waits() as waits:
        total = method.objective(features, whole.texts.image_ids, HARDEST)["total"]
    assert waits.found == ["nonzero", "nonzero"]
    with Waits() as waits:
        total.backward()
    assert waits.found == []


def test_single_captions_without_entities_add_nothing_and_a_batch_without_any_is_nan():
    method = vssr()
    terms, found = gradients(method)
    assert all(gradient.isfinite().all() for gradient in found.values())
    features = method.features(batch())
    changed = {**features, "entities": features["entities"].clone()}
    changed["entities"][1] = 5.0  # of the caption that has none
    again = method.objective(changed, batch().texts.image_ids, HARDEST)
    assert again["contrastive"].item() == terms["contrastive"].item()
    assert again["specificity"].item() == terms["specificity"].item()
    assert method(batch((0,) * N), HARDEST)["total"].isnan()


def test_the_objective_is_float32_under_autocast():
    method, whole = vssr(), batch()
    plain = method(whole, HARDEST)["total"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = method(whole, HARDEST)
    assert {value.dtype for value in mixed.values()} == {torch.float32}
    assert mixed["total"].item() == pytest.approx(plain.item(), rel=0.1)


@pytest.mark.parametrize("settings", [{}, {"entities": False}, {"coding": "vsa"}, {"descriptions": False}])
def test_every_parameter_is_in_one_group(settings):
    method = vssr(**settings)
    groups = {group.name: group for group in method.parameter_groups()}
    grouped = [id(p) for group in groups.values() for p in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in method.parameters())
    assert ("entities" in groups) == (method.graph is not None)


def imported(**values):
    tiny = VSSRConfig(text=TextConfig(bert="tiny", bert_sizes={"num_attention_heads": 2}), **values)
    return import_checkpoint(CHECKPOINT, VSSR, tiny)


def test_bert_and_the_entity_graph_learn_more_slowly():
    method = imported()
    rates = {group.name: 5e-4 * group.lr_factor for group in method.parameter_groups()}
    assert rates == pytest.approx({"text": 5e-4, "bert": 2.5e-5, "entities": 2e-5, "image": 5e-4})


def test_an_official_checkpoint_brings_its_sizes():
    config = imported(cutoff=1.9).config
    assert (config.embed_size, config.region_dim, config.heads, config.cutoff) == (32, 24, 16, 1.7)
    assert (config.description_dim, config.caption_dim, config.entity_dim) == (32, 32, 32)
    with pytest.raises(MethodError, match=r"unexpected: entity_pool"):
        imported(entities=False)


def test_what_cannot_be_is_refused_in_a_sentence():
    with pytest.raises(MethodError, match="heads=5 does not divide embed_size=16"):
        vssr(heads=5)
    with pytest.raises(MethodError, match="entity_dim is not set: it comes with factual_entities"):
        vssr(entity_dim=None)
    with pytest.raises(MethodError, match="coding=vha compares regions with entities"):
        vssr(coding="vha", entities=False)
    with pytest.raises(MethodError, match="every loss is off"):
        vssr(pair_loss="none", contrastive=False, entities=False)
    with pytest.raises(MethodError, match="factual_descriptions is 7 wide, this model was made for 5"):
        vssr(description_dim=5).encode_images(batch().images)


def recipe(dataset, method="vssr"):
    entry = find_method(method)
    return resolve(entry.method, entry.name, dataset, file=entry.recipe)


def test_the_papers_recipe():
    f30k, coco = recipe("f30k"), recipe("coco")
    assert (f30k.train.epochs, f30k.train.batch_size, f30k.optim.lr, f30k.optim.decay_epochs) == (25, 128, 5e-4, (15,))
    assert (coco.train.batch_size, f30k.config.cutoff, coco.config.cutoff) == (256, 1.7, 1.9)
    assert (f30k.optim.weight_decay, f30k.optim.grad_clip, f30k.config.text.bert) == (1e-4, 2.0, "bert-base-uncased")
    assert f30k.phases["max_violation"].first_step(100, 25) == 0
    assert (f30k.config.score, f30k.train.select, f30k.train.sort_by_length) == ("pairwise", "dev", True)
    config = VSSRConfig()
    assert f30k.config.model_copy(update={"text": config.text}) == config  # defaults are the paper's


@pytest.mark.parametrize("dataset", ["f8k", "demo"])
def test_small_recipes_are_those_of_gpo(dataset):
    own, host = recipe(dataset), recipe(dataset, "gpo")
    assert (own.optim, own.train, own.augment) == (host.optim, host.train, host.augment)
    assert own.phases == {"max_violation": host.phases["max_violation"]}  # the others of GPO are of its backbones
    assert own.config.text == host.config.text
    assert own.config.embed_size == host.config.embed_size


@pytest.mark.parametrize(("dataset", "write", "images"), [("f30k", write_f30k, 26), ("coco", write_coco, 52)])
def test_a_run_with_the_papers_recipe(dataset, write, images, tmp_path, tiny_bert, accelerator, quiet):
    """The recipe as it stands but for the number of epochs, on official file names; one batch an epoch."""
    write(tmp_path / "data", images=images, vectors=24)
    overrides = {"text.bert": str(tiny_bert), "train.epochs": 2}
    options = RunOptions("vssr", dataset, data_root=tmp_path / "data", output=tmp_path, overrides=overrides)
    (record,) = run(options, [0], accelerator, quiet)
    assert (record.steps, record.skipped_steps, record.first_steps) == (2, 0, {"max_violation": 0})
    assert all(math.isfinite(epoch.loss) for epoch in record.history)
    assert record.recipe["embed_size"] == 1024
    assert record.recipe["description_dim"] == record.recipe["caption_dim"] == record.recipe["entity_dim"] == 24
    assert "extra_pretraining" in record.flags
    assert "gallery_score" not in record.flags


SMALL = {"embed_size": 32, "text.bert": None, "text.word_dim": 16, "train.batch_size": 8, "train.epochs": 3}


@pytest.mark.parametrize("extra", [{"score": "gallery_softmax"}, {"coding": "vsa"}, {"entities": False}])
def test_options_train_and_the_released_score_is_flagged(extra, tmp_path, accelerator, quiet):
    write_f30k(tmp_path / "data", vectors=24)
    options = RunOptions("vssr", "f30k", data_root=tmp_path / "data", output=tmp_path, overrides={**SMALL, **extra})
    (record,) = run(options, [0], accelerator, quiet)
    assert ("gallery_score" in record.flags) == ("score" in extra)
    assert record.overrides == {**SMALL, **extra}
    assert record.history[-1].loss < record.history[0].loss


def test_a_missing_file_is_named(tmp_path):
    folder = write_f30k(tmp_path / "data", vectors=24)
    (folder / "factual" / "dev_caps_entities_bge.npy").unlink()
    job = Job(RunOptions("vssr", "f30k", data_root=tmp_path / "data", overrides=SMALL))
    with pytest.raises(Exception, match=r"dev_caps_entities_bge.npy .*is missing: vectors of the captions' entities"):
        job.require_files()


def official_checkpoint(path):
    """The recorded checkpoint with a BERT whose number of heads its shapes tell, as those of the real one do."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(CHECKPOINT, weights_only=True)
    sizes = {"hidden_size": 64, "num_attention_heads": 1, "num_hidden_layers": 1, "intermediate_size": 8}
    bert = bert_from_config({"vocab_size": 40, **sizes})
    text = {name: t for name, t in content["model"][1].items() if not name.startswith("bert.")}
    text |= {f"bert.{name}": t for name, t in bert.state_dict().items()} | {"linear.weight": torch.randn(32, 64)}
    content["model"][1] = text
    torch.save(content, path)
    return path


@pytest.mark.parametrize("score", ["pairwise", "gallery_softmax"])
def test_an_official_checkpoint_is_evaluated(score, tmp_path, tiny_bert, accelerator, quiet):
    write_f30k(tmp_path / "data", dim=24, vectors=32)
    overrides = {"text.bert": str(tiny_bert), "score": score}
    options = RunOptions("vssr", "f30k", data_root=tmp_path / "data", output=tmp_path, overrides=overrides)
    metrics = evaluate_checkpoint(options, official_checkpoint(tmp_path / "model.pth"), accelerator, quiet)
    assert metrics["f30k-1k"].n_images == 12
    (record,) = read_records(tmp_path / "results" / "local")
    assert record.selection == "last"
    assert {"imported", "extra_pretraining"} <= set(record.flags)
    assert ("gallery_score" in record.flags) == (score == "gallery_softmax")
    assert "selected_on_test" not in record.flags
