"""GSMN as a whole: against the form written out caption by caption, its properties, and its recipes."""

from dataclasses import replace

import pytest
import torch

from itm_harness.benchmarks.bench.references.gsmn import reference_forward, reference_score
from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch, WordPieces, Words
from itm_harness.methods import gsmn
from itm_harness.methods.base import Progress
from itm_harness.methods.errors import MethodError
from itm_harness.methods.gsmn import GSMN, GSMNConfig
from itm_harness.methods.parts.encoded import Encoded, Ragged
from itm_harness.methods.recipe import resolve
from itm_harness.methods.recipes.gsmn import StanfordWords
from itm_harness.methods.registry import find_method

REGION_DIM, VOCABULARY = 10, 30
SMALL = {"embed_size": 12, "num_blocks": 4, "n_kernels": 2, "hidden": 6, "lambda_softmax": 6.0}
KINDS = [("dense", "self"), ("sparse", "self"), ("dense", "neighbours"), ("sparse", "neighbours")]
LENGTHS = [([4, 4, 4], [2, 6, 1, 5]), ([3, 1, 5], [1, 1]), ([1], [1]), ([2, 2], [7, 3, 4, 3, 2])]


def model(text_graph="dense", propagate="self", seed=0, **values):
    torch.manual_seed(seed)
    text = StanfordWords(vocabulary_size=VOCABULARY, word_dim=8)
    values = {"region_dim": REGION_DIM, **SMALL, **values}
    method = GSMN(GSMNConfig(text=text, text_graph=text_graph, propagate=propagate, **values))
    with torch.no_grad():  # wide enough that no pair of regions is left without weight in the plain product form
        method.visual.kernels.sigma_rho.uniform_(0.5, 1)
        method.visual.kernels.sigma_theta.uniform_(0.5, 1)
    return method


def images(lengths, seed=1):
    torch.manual_seed(seed)
    valid = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    corner = torch.rand(*valid.shape, 2) / 2
    boxes = torch.cat([corner, corner + torch.rand(*valid.shape, 2) / 2], dim=-1)
    regions = torch.randn(*valid.shape, REGION_DIM)
    return ImageBatch(
        torch.arange(len(lengths)),
        regions * valid[..., None],
        torch.tensor(lengths),
        {"boxes": boxes * valid[..., None]},
    )


def texts(lengths, seed=2):
    torch.manual_seed(seed)
    valid = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    words = torch.randint(1, VOCABULARY, valid.shape) * valid
    pairs = [[row, *torch.randint(0, 8, (2,)).tolist()] for row, n in enumerate(lengths) for _ in range(n)]
    rows = torch.arange(len(lengths))
    return TextBatch(rows, rows, words, torch.tensor(lengths), {"dependencies": torch.tensor(pairs)})


def scores(method, some_images, some_texts):
    return method.score(method.encode_images(some_images), method.encode_texts(some_texts))


@pytest.mark.parametrize(("text_graph", "propagate"), KINDS)
@pytest.mark.parametrize(("n_regions", "n_words"), LENGTHS)
def test_scores_equal_the_form_written_out(text_graph, propagate, n_regions, n_words):
    method, some_images, some_texts = model(text_graph, propagate), images(n_regions), texts(n_words)
    dependencies = None
    if text_graph == "sparse":
        rows = some_texts.sidecars["dependencies"]
        dependencies = [rows[rows[:, 0] == t, 1:] for t in range(len(n_words))]
    found = scores(method, some_images, some_texts)
    encoded, encoded_texts = method.encode_images(some_images), method.encode_texts(some_texts)
    words = [encoded_texts[t : t + 1]["words"].values for t in range(len(n_words))]
    for i, n in enumerate(n_regions):
        boxes = some_images.sidecars["boxes"][i : i + 1, :n]
        wanted = reference_score(method, encoded[i : i + 1]["regions"].padded(), boxes, words, dependencies)
        for term in ("visual", "textual"):
            torch.testing.assert_close(found[term][i : i + 1], wanted[term], atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize(("text_graph", "propagate"), KINDS)
@pytest.mark.parametrize("phases", [frozenset(), frozenset({"max_violation"})])
def test_loss_and_gradients_equal_the_form_written_out(text_graph, propagate, phases):
    method = model(text_graph, propagate)
    batch = Batch(images([3, 3, 3, 3]), texts([5, 3, 1, 4]))
    results = []
    for forward in (method, lambda *args: reference_forward(method, *args)):
        total = forward(batch, Progress(phases=phases))["total"]
        results.append((total, *torch.autograd.grad(total, list(method.parameters()))))
    torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=1e-3)


def test_every_parameter_is_trained():
    method = model()
    method(Batch(images([3, 3]), texts([4, 2])), Progress())["total"].backward()
    assert [name for name, p in method.named_parameters() if p.grad is None] == []


def test_under_self_dense_and_sparse_are_the_same_function_of_the_same_weights():
    dense, sparse = model("dense"), model("sparse")
    sparse.load_state_dict(dense.state_dict())
    first, second = (scores(m, images([4, 4]), texts([5, 3, 6])) for m in (dense, sparse))
    assert torch.equal(first["textual"], second["textual"])


def test_the_members_of_the_ensemble_begin_with_different_weights():
    dense, again, sparse = model("dense", seed=3), model("dense", seed=3), model("sparse", seed=3)
    assert torch.equal(dense.regions.weight, again.regions.weight)
    assert (dense.regions.weight - sparse.regions.weight).abs().mean() > 0.05


def test_building_a_model_leaves_the_random_state_as_it_was():
    config = model().config
    torch.manual_seed(5)
    before = torch.get_rng_state()
    GSMN(config)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("text_graph", "propagate"), KINDS)
def test_a_pair_depends_on_that_pair_alone(text_graph, propagate):
    method = model(text_graph, propagate)
    encoded_images, encoded_texts = (
        method.encode_images(images([4, 2, 5, 3])),
        method.encode_texts(texts([7, 1, 4, 6, 2])),
    )
    whole = method.combine(method.score(encoded_images, encoded_texts))
    part = method.combine(method.score(encoded_images[1:3], encoded_texts[1:4]))
    torch.testing.assert_close(part, whole[1:3, 1:4])
    alone = method.combine(method.score(encoded_images[3:4], encoded_texts[1:2]))
    torch.testing.assert_close(alone, whole[3:4, 1:2])


@pytest.mark.parametrize("propagate", ["self", "neighbours"])
def test_padding_changes_no_score(propagate):
    method, some_images, some_texts = model("sparse", propagate), images([4, 4]), texts([3, 5])
    wider = replace(
        some_images,
        regions=torch.nn.functional.pad(some_images.regions, (0, 0, 0, 3)),
        sidecars={"boxes": torch.nn.functional.pad(some_images.sidecars["boxes"], (0, 0, 0, 3), value=0.9)},
    )
    longer = replace(some_texts, words=torch.nn.functional.pad(some_texts.words, (0, 4)))
    for term, values in scores(method, some_images, some_texts).items():
        torch.testing.assert_close(scores(method, wider, longer)[term], values)


@pytest.mark.parametrize("working_bytes", [1, 60_000])
def test_chunks_change_no_score(monkeypatch, working_bytes):
    method, some_images, some_texts = model("sparse", "neighbours"), images([4, 3, 5]), texts([6, 2, 5, 1, 3])
    whole = scores(method, some_images, some_texts)
    monkeypatch.setattr(gsmn, "WORKING_BYTES", {"cpu": working_bytes})
    for term, values in scores(method, some_images, some_texts).items():
        torch.testing.assert_close(values, whole[term])


def test_a_chunk_holds_no_more_than_its_working_memory(monkeypatch):
    method, sizes = model(), []
    original = gsmn.match_blocks

    def spy(regions, words, *args):
        sizes.append(regions.valid.numel() * words.valid.numel())
        return original(regions, words, *args)

    monkeypatch.setattr(gsmn, "match_blocks", spy)
    monkeypatch.setattr(gsmn, "WORKING_BYTES", {"cpu": 16 * method.config.num_blocks * 100})
    scores(method, images([5] * 7), texts([6, 2, 3, 4, 1, 5]))
    assert max(sizes) <= 100
    assert len(sizes) < 7 * 6


def test_recomputing_gives_the_same_gradients_and_keeps_less(monkeypatch):
    batch, results, kept = Batch(images([4] * 6), texts([5, 3, 4, 6, 2, 1])), [], []
    for limit in (1 << 30, 1):
        monkeypatch.setattr(gsmn, "KEPT_BYTES", {"cpu": limit})
        method, saved = model(), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: saved.append(t.numel()) or t, lambda t: t):
            total = method(batch, Progress())["total"]
        results.append(torch.autograd.grad(total, list(method.parameters())))
        kept.append(sum(saved))
    torch.testing.assert_close(results[0], results[1])
    assert kept[1] < kept[0] / 3


def test_a_loss_whose_pairs_fit_at_once_waits_for_no_value():
    """On `meta` there are no values: whatever would make a GPU's host wait (item, nonzero, a mask as index) raises."""
    method = model()
    features = method.features(Batch(images([4, 2, 3]), texts([5, 3, 1])))
    features = {name: value.detach().to("meta") for name, value in features.items()}
    features["words"].requires_grad_()
    terms = method.to("meta").objective(features, torch.arange(3, device="meta"), Progress())
    terms["total"].backward()
    assert features["words"].grad.shape == features["words"].shape


def test_a_batch_that_fits_is_one_chunk_and_a_longer_one_is_sorted(monkeypatch):
    method, sizes = model(), []
    batch = Batch(images([4] * 5), texts([2, 6, 1, 5, 3]))
    original = gsmn.match_blocks

    def spy(regions, words, *args):
        sizes.append((*regions.valid.shape, *words.valid.shape))
        return original(regions, words, *args)

    monkeypatch.setattr(gsmn, "match_blocks", spy)
    whole = method(batch, Progress())["total"]
    assert sizes == [(5, 4, 5, 6)]
    sizes.clear()
    monkeypatch.setattr(gsmn, "WORKING_BYTES", {"cpu": 16 * method.config.num_blocks * 4 * 5 * 6})
    cut = method(batch, Progress())["total"]
    assert sizes == [(5, 4, 1, 6), (5, 4, 1, 5), (5, 4, 2, 3), (5, 4, 1, 1)]
    torch.testing.assert_close(cut, whole)


def test_padding_of_other_processes_changes_no_loss():
    method, batch = model("sparse", "neighbours"), Batch(images([4, 2]), texts([3, 5]))
    features, ids = method.features(batch), batch.texts.image_ids
    wider = {
        name: torch.nn.functional.pad(value, (*[0, 0] * (value.dim() - 2), 0, 3)) if value.dim() > 1 else value
        for name, value in features.items()
    }
    torch.testing.assert_close(method.objective(wider, ids, Progress()), method.objective(features, ids, Progress()))


def test_dependencies_reach_the_score_of_any_part_of_a_gallery():
    method, some_texts = model("sparse", "neighbours"), texts([6, 5, 6])
    rows = torch.tensor([[0, 0, 1], [0, 1, 2], [2, 0, 3], [2, 3, 1], [2, 4, 9]])  # none for caption 1
    some_texts = replace(some_texts, sidecars={"dependencies": rows})
    encoded = method.encode_texts(some_texts)
    assert isinstance(encoded["dependencies"], Ragged)
    assert encoded[2:3]["dependencies"].values.tolist() == [[0, 3], [3, 1], [4, 9]]
    joined = Encoded.concatenate([encoded[:1], encoded[1:2], encoded[2:3]])
    gallery = method.encode_images(images([4, 3]))
    torch.testing.assert_close(method.score(gallery, joined), method.score(gallery, encoded))
    without = replace(some_texts, sidecars={"dependencies": rows[[0, 2]]})  # root pairs only
    changed = (method.score(gallery, encoded)["textual"] != scores(method, images([4, 3]), without)["textual"]).any(0)
    assert changed.tolist() == [True, False, True]


def test_the_pairs_own_second_caption_counts_as_a_negative():
    method, batch = model(), Batch(images([3, 3]), texts([4, 4]))
    twin = replace(batch, texts=replace(batch.texts, image_ids=torch.tensor([0, 0])))
    assert method(twin, Progress())["total"] == method(batch, Progress())["total"]


def test_boxes_are_always_read_and_dependencies_only_where_they_matter():
    for (text_graph, propagate), wanted in zip(KINDS, [(), (), (), ("dependencies",)], strict=True):
        inputs = model(text_graph, propagate).inputs()
        assert inputs.image_sidecars == ("boxes",)
        assert inputs.text_sidecars == wanted
        assert inputs.text == Words(min_count=4, mask_token=False, precomputed=True)
    assert StanfordWords(bert="folder").inputs() == WordPieces("folder")


@pytest.mark.parametrize(("values", "message"), [({"embed_size": 10}, "embed_size=10"), ({"hidden": 5}, "hidden=5")])
def test_sizes_that_cannot_be_cut_are_refused_by_name(values, message):
    with pytest.raises(MethodError, match=message):
        model(**values)


@pytest.mark.parametrize("dataset", ["f30k", "coco", "f8k", "demo"])
@pytest.mark.parametrize("variant", GSMN.variants)
def test_recipes_resolve_and_reach_every_phase(dataset, variant):
    entry = find_method("gsmn")
    recipe = resolve(entry.method, "gsmn", dataset, variant, file=entry.recipe)
    assert recipe.optim.name == "adam"
    assert recipe.optim.weight_decay == 0
    assert recipe.config.text.inputs() == Words(4, mask_token=False, precomputed=True)
    assert recipe.config.propagate == "self"
    assert recipe.config.text_graph == ("sparse" if variant == "sparse" else "dense")
    assert recipe.phases["max_violation"].first_step(10, recipe.train.epochs) <= 5 * recipe.train.epochs
    assert all(epoch < recipe.train.epochs for epoch in recipe.optim.decay_epochs)


@pytest.mark.parametrize(
    ("dataset", "lr", "decays", "epochs", "batch", "temperature"),
    [("f30k", 2e-4, (15,), 30, 64, 20), ("coco", 5e-4, (5, 10, 15), 20, 32, 10)],
)
def test_published_recipes(dataset, lr, decays, epochs, batch, temperature):
    entry = find_method("gsmn")
    recipe = resolve(entry.method, "gsmn", dataset, file=entry.recipe)
    found = (recipe.optim.lr, recipe.optim.decay_epochs, recipe.train.epochs, recipe.train.batch_size)
    assert found == (lr, decays, epochs, batch)
    assert recipe.config.lambda_softmax == temperature
    assert recipe.phases["max_violation"].first_step(100, epochs) == 0
