"""HREM: its embeddings depend on their item alone, its phases, switches, groups and recipe do what they say."""

import argparse
import math

import pytest
import torch
from torch.nn.functional import normalize

from itm_harness.benchmarks.bench.references.hrem import reference_forward, triplet_loss
from itm_harness.benchmarks.runs.run import RunOptions, run
from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods.base import Progress
from itm_harness.methods.encoders.text_encoders import TextConfig
from itm_harness.methods.errors import MethodError
from itm_harness.methods.hrem import HREM, HREMConfig
from itm_harness.methods.importing import import_checkpoint, read_checkpoint
from itm_harness.methods.losses.hinge import same_image
from itm_harness.methods.losses.triplet import largest_weights
from itm_harness.methods.recipe import resolve
from itm_harness.methods.registry import find_method
from itm_tests.places import GOLDEN
from itm_tests.trees import write_f30k

CHECKPOINT = GOLDEN / "hrem" / "bert-regions" / "checkpoint.pth"
D, REGION_DIM, VOCABULARY = 16, 6, 30
WARM_UP = Progress(step=0, epoch=1, phases=frozenset({"max_violation"}))
GRAPH = Progress(step=1, epoch=1, phases=frozenset({"max_violation", "graph"}))


def hrem(**settings):
    """A small HREM that always chooses the likeliest negatives, in training mode without dropout."""
    torch.manual_seed(0)
    settings = {"embed_size": D, "heads": 4, "dropout": 0.0, "region_dim": REGION_DIM, **settings}
    method = HREM(HREMConfig(text=TextConfig(vocabulary_size=VOCABULARY, word_dim=5), **settings))
    method.choose = largest_weights
    return method


def batch(region_lengths=(5, 7, 1, 7, 3, 2), word_lengths=(12, 9, 9, 5, 4, 3), ids=(0, 1, 2, 1, 4, 5)):
    generator = torch.Generator().manual_seed(1)
    n, regions, words = len(ids), torch.tensor(region_lengths), torch.tensor(word_lengths)
    features = torch.rand(n, max(region_lengths), REGION_DIM, generator=generator)
    features[torch.arange(max(region_lengths)) >= regions[:, None]] = 0
    word_ids = torch.randint(4, VOCABULARY, (n, max(word_lengths)), generator=generator)
    word_ids[torch.arange(max(word_lengths)) >= words[:, None]] = 0
    image_ids = torch.tensor(ids)
    return Batch(ImageBatch(image_ids, features, regions), TextBatch(torch.arange(n), image_ids, word_ids, words))


@torch.no_grad()
def test_an_embedding_depends_on_its_item_alone():
    method = hrem().eval()
    whole = batch()
    images, texts = method.embed_images(whole.images), method.embed_texts(whole.texts)
    torch.testing.assert_close(images.norm(dim=1), torch.ones(6))
    for i, (n_regions, n_words) in enumerate(zip(whole.images.lengths, whole.texts.lengths, strict=True)):
        image = ImageBatch(whole.images.ids[i : i + 1], whole.images.regions[i : i + 1, :n_regions], n_regions[None])
        text = TextBatch(
            whole.texts.ids[i : i + 1],
            whole.texts.image_ids[i : i + 1],
            whole.texts.words[i : i + 1, :n_words],
            n_words[None],
        )
        torch.testing.assert_close(method.embed_images(image)[0], images[i])
        torch.testing.assert_close(method.embed_texts(text)[0], texts[i])
    encoded_images, encoded_texts = method.encode_images(whole.images), method.encode_texts(whole.texts)
    similarity = method.score(encoded_images, encoded_texts)["similarity"]
    torch.testing.assert_close(
        method.score(encoded_images[1:3], encoded_texts[2:6])["similarity"], similarity[1:3, 2:6]
    )


def test_an_embedding_is_base_plus_a_fifth_of_the_enhanced():
    """Written out for one image: mean of the two largest, and mean after one transformer layer."""
    method = hrem().eval()
    images = batch().images
    regions = method.regions(images.regions)[1, :7]  # image 1 has 7 of 7 regions
    base = regions.sort(dim=0, descending=True).values[:2].mean(dim=0)
    enhanced = method.image_fragments.relation(regions[None])[0].mean(dim=0)
    torch.testing.assert_close(method.embed_images(images)[1], normalize(0.8 * base + 0.2 * enhanced, dim=0))


def test_without_fragment_relations_the_base_is_the_embedding():
    method = hrem(visual_fragments=False).eval()
    images = batch().images
    base = method.regions(images.regions)[1].sort(dim=0, descending=True).values[:2].mean(dim=0)
    torch.testing.assert_close(method.embed_images(images)[1], normalize(base, dim=0))
    names = [name for name, _ in method.named_parameters()]
    assert not any(name.startswith("image_fragments") for name in names)
    assert any(name.startswith("text_fragments") for name in names)


def gradients(method, progress, forward=HREM.__call__):
    method.zero_grad(set_to_none=True)
    terms = forward(method, batch(), progress)
    terms["total"].backward()
    return terms, {name: parameter.grad for name, parameter in method.named_parameters()}


def test_the_graph_is_untouched_until_its_phase_and_trained_in_it():
    method = hrem()
    terms, found = gradients(method, WARM_UP)
    assert list(terms) == ["base", "total"]
    assert all((grad is None) == name.startswith("graph.") for name, grad in found.items())
    terms, found = gradients(method, GRAPH)
    assert list(terms) == ["base", "graph_text", "graph_image", "graph_both", "reg", "total"]
    assert all(grad is not None for grad in found.values())
    parts = {name: value.item() for name, value in terms.items()}
    total = parts.pop("total")
    assert total == pytest.approx(sum(parts.values()) + 9 * parts["reg"])


@pytest.mark.parametrize("interaction", ["fusion", "standalone"])
def test_the_loss_and_its_gradients_equal_the_looped_ones(interaction):
    method = hrem(interaction=interaction)
    (terms, found), (wanted_terms, wanted) = gradients(method, GRAPH), gradients(method, GRAPH, reference_forward)
    torch.testing.assert_close(terms, wanted_terms)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


def test_trip_equals_the_loop_over_positive_pairs():
    method, whole = hrem(), batch()
    features = method.features(whole)
    similarity = features["image"] @ features["text"].T
    wanted = triplet_loss(similarity, same_image(whole.texts.image_ids), 1.7, largest_weights)
    torch.testing.assert_close(method.objective(features, whole.texts.image_ids, WARM_UP)["base"], wanted)


def test_the_hinge_loss_sums_in_the_first_phase_and_masks_repeats():
    ids = torch.tensor([0, 0, 1])
    similarity = torch.tensor([[0.9, 0.9, 0.8], [0.1, 0.7, 0.6], [0.75, 0.85, 0.9]])
    features = {"image": similarity, "text": torch.eye(3)}  # dot products: the matrix itself
    hinge = {"base_loss": "hinge", "embed_size": 4}
    sums = hrem(**hinge).objective(features, ids, Progress())["total"]
    hardest = hrem(**hinge).objective(features, ids, WARM_UP)["total"]
    unmasked = hrem(**hinge, mask_repeat=False).objective(features, ids, WARM_UP)["total"]
    assert sums.item() == pytest.approx((0.1 + 0.1 + 0.05 + 0.15) + (0.05 + 0.35 + 0.1), abs=1e-6)
    assert hardest.item() == pytest.approx((0.1 + 0.1 + 0.15) + (0.05 + 0.35 + 0.1), abs=1e-6)
    assert unmasked.item() == pytest.approx((0.2 + 0.1 + 0.15) + (0.05 + 0.4 + 0.1), abs=1e-6)


def graph_terms(**settings):
    method = hrem(**settings)
    return method, gradients(method, GRAPH)[0]


def test_without_cross_losses_only_the_enhanced_pair_counts():
    _, terms = graph_terms(cross_loss=False)
    assert list(terms) == ["base", "graph_both", "reg", "total"]


def test_without_regularisation_and_relevance_the_mlps_get_no_gradient():
    method, terms = graph_terms(reg_weight=0, relevance=False)
    assert terms["total"].item() == pytest.approx(sum(v.item() for k, v in terms.items() if k not in ("reg", "total")))
    assert all(p.grad is None for p in method.graph.adjacency.parameters())


def test_without_instance_relations_there_is_no_graph():
    method, terms = graph_terms(intra_modal=False, inter_modal=False)
    assert method.graph is None
    assert list(terms) == ["base", "total"]


def test_standalone_uses_two_layers_one_after_the_other():
    layers = hrem(interaction="standalone").graph.attends
    assert [(a.intra, a.inter) for a in layers] == [(True, False), (False, True)]
    assert [(a.intra, a.inter) for a in hrem().graph.attends] == [(True, True)]
    only_across = hrem(interaction="standalone", intra_modal=False).graph.attends
    assert [(a.intra, a.inter) for a in only_across] == [(False, True)]


@pytest.mark.parametrize(
    "switch", [{"connection": False}, {"relevance": False}, {"intra_modal": False}, {"inter_modal": False}]
)
def test_each_switch_of_the_graph_changes_the_enhanced_embeddings_and_not_the_base(switch):
    _, full = graph_terms()
    _, ablated = graph_terms(**switch)
    assert ablated["base"].item() == full["base"].item()
    assert ablated["graph_both"].item() != full["graph_both"].item()


def test_a_guest_can_replace_the_embeddings():
    """VSD fuses `image` and `text` with something of its own and uses the objective of its host."""
    method, whole = hrem(), batch()
    features = method.features(whole)
    fused = {**features, "image": normalize(features["image"] + torch.eye(6, D), dim=1)}
    terms = method.objective(fused, whole.texts.image_ids, GRAPH)
    assert terms["base"] != method.objective(features, whole.texts.image_ids, GRAPH)["base"]
    assert all(math.isfinite(value.item()) for value in terms.values())
    assert features["image_local"].shape == (6, 7, D)
    assert features["text_local"].shape == (6, 12, D)


@pytest.mark.parametrize("switches", [{}, {"intra_modal": False, "inter_modal": False}, {"text_fragments": False}])
def test_every_parameter_is_in_one_group(switches):
    method = hrem(graph_lr_factor=0.5, **switches)
    groups = {group.name: group for group in method.parameter_groups()}
    grouped = [id(p) for group in groups.values() for p in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in method.parameters())
    if method.graph is not None:
        assert (groups["graph"].lr_factor, groups["graph"].frozen_until) == (0.5, "graph")


def test_heads_must_divide_the_size():
    with pytest.raises(MethodError, match=r"heads=5 does not divide embed_size=16"):
        hrem(heads=5)


def recipe(dataset, variant=None):
    entry = find_method("hrem")
    return resolve(entry.method, entry.name, dataset, variant, file=entry.recipe)


def test_the_papers_recipe():
    f30k, coco = recipe("f30k"), recipe("coco")
    assert (f30k.train.epochs, f30k.train.batch_size, f30k.optim.lr) == (30, 128, 5e-4)
    assert (f30k.config.cutoff, f30k.config.mask_weight, f30k.config.text.bert) == (1.7, 1.0, "bert-base-uncased")
    assert (coco.train.batch_size, coco.config.cutoff, coco.config.mask_weight) == (256, 1.9, 1.5)
    assert f30k.phases["graph"].step == coco.phases["graph"].step == 8000
    assert f30k.optim.decay_epochs == (15, 25)
    assert f30k.train.sort_by_length
    assert "official code" in f30k.sources["cutoff"]


@pytest.mark.parametrize(("dataset", "n_texts"), [("demo", 5000), ("f8k", 30_000)])
def test_the_small_recipes_give_the_graph_the_share_of_steps_that_flickr30k_gives_it(dataset, n_texts):
    full, small = recipe("f30k"), recipe(dataset)
    full_steps = 145_000 // full.train.batch_size
    steps = n_texts // small.train.batch_size
    share = 1 - small.phases["graph"].first_step(steps, small.train.epochs) / (steps * small.train.epochs)
    assert share == pytest.approx(1 - 8000 / (full_steps * full.train.epochs), abs=0.02)
    assert small.config.text.bert is None


def test_variants():
    assert recipe("demo").config.interaction == "fusion"
    assert recipe("demo", "standalone").config.interaction == "standalone"
    assert HREM.ensembles == {"full": ("fusion", "standalone")}


def test_an_official_checkpoint_brings_sizes_and_options_and_leaves_the_graph_as_it_begins():
    tiny = HREMConfig(text=TextConfig(bert="tiny", bert_sizes={"num_attention_heads": 2}))
    method = import_checkpoint(CHECKPOINT, HREM, tiny)
    config = method.config
    assert (config.embed_size, config.region_dim, config.heads, config.dropout) == (32, 24, 4, 0.0)
    assert (config.base_loss, config.cutoff, config.reg_weight, config.cross_loss) == ("trip", 1.7, 10, True)
    text = read_checkpoint(CHECKPOINT)[0][1]
    assert torch.equal(method.text_fragments.relation.linear2.bias, text["aggr.layers.0.linear2.bias"])
    torch.testing.assert_close(method.graph.adjacency.mlp_t2i[0].weight, method.graph.adjacency.mlp_i2t[0].weight)


def test_a_checkpoint_that_does_not_fit_is_refused_by_name(tmp_path):
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(CHECKPOINT, weights_only=True)
    image, text = content["model"]
    image["aggr.layers.1.norm1.bias"] = image.pop("aggr.layers.0.norm1.bias")
    torch.save({"model": [image, text]}, tmp_path / "odd.pth")
    tiny = HREMConfig(heads=4, text=TextConfig(bert="tiny", bert_sizes={"num_attention_heads": 2}))
    with pytest.raises(MethodError) as refused:
        import_checkpoint(tmp_path / "odd.pth", HREM, tiny)
    assert "missing: image_fragments.relation.norm1.bias" in str(refused.value)
    assert "unexpected: img_enc.aggr.layers.1.norm1.bias" in str(refused.value)


@pytest.mark.parametrize("sampler", ["shuffle", "neighbour"])
def test_a_run_passes_through_all_phases(sampler, tmp_path, tiny_bert, accelerator, quiet):
    write_f30k(tmp_path / "data")
    sizes = {"embed_size": 32, "train.batch_size": 8, "train.epochs": 3, "text.bert": str(tiny_bert)}
    overrides = {**sizes, "phases.graph": {"fraction": 0.4}, "train.sampler": sampler}
    job = RunOptions("hrem", "f30k", data_root=tmp_path / "data", output=tmp_path, overrides=overrides)
    (record,) = run(job, [0], accelerator, quiet)
    assert record.first_steps == {"graph": round(0.4 * record.steps), "max_violation": record.steps // 3}
    assert record.skipped_steps == 0
    assert all(math.isfinite(epoch.loss) for epoch in record.history)
    assert record.history[2].loss > 2 * record.history[0].loss  # four losses in place of one
