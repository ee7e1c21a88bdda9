"""GPO: embeddings of single items, losses by loops, groups, recipes."""

import pytest
import torch
from torch import Tensor

from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods.base import Progress
from itm_harness.methods.encoders.text_encoders import TextConfig
from itm_harness.methods.errors import MethodError
from itm_harness.methods.gpo import GPO, GPOConfig
from itm_harness.methods.recipe import resolve
from itm_harness.methods.registry import find_method

TINY_BERT = {
    "vocab_size": 20,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 8,
    "max_position_embeddings": 10,
}
BIGRU = TextConfig(vocabulary_size=20, word_dim=5)
BERT = TextConfig(bert="tiny", bert_sizes=TINY_BERT)
BEFORE, AFTER = Progress(), Progress(phases=frozenset({"max_violation"}))


def build(text: TextConfig = BIGRU, **values) -> GPO:
    torch.manual_seed(0)
    return GPO(GPOConfig(embed_size=6, region_dim=7, text=text, **values))


def make_batch(padding: int = 0) -> Batch:
    """Five pairs, the first two of one image; `padding` more columns of regions and words."""
    generator = torch.Generator().manual_seed(1)
    region_counts, word_counts = torch.tensor([4, 4, 1, 3, 2]), torch.tensor([3, 6, 2, 1, 5])
    regions = torch.randn(5, 4, 7, generator=generator)
    regions[1] = regions[0]
    words = torch.randint(1, 20, (5, 6), generator=generator)
    regions = regions * (torch.arange(4) < region_counts[:, None])[:, :, None]
    words = words * (torch.arange(6) < word_counts[:, None])
    regions = torch.nn.functional.pad(regions, (0, 0, 0, padding))
    words = torch.nn.functional.pad(words, (0, padding))
    ids = torch.tensor([0, 0, 1, 2, 3])
    return Batch(ImageBatch(ids, regions, region_counts), TextBatch(torch.arange(5), ids, words, word_counts))


def hinge_by_loops(similarity: Tensor, hardest: bool) -> tuple[float, float]:
    costs = [[], []]
    for i in range(5):
        i2t = [max(0.0, 0.2 + similarity[i, j].item() - similarity[i, i].item()) for j in range(5) if j != i]
        t2i = [max(0.0, 0.2 + similarity[j, i].item() - similarity[i, i].item()) for j in range(5) if j != i]
        for cost, negatives in zip(costs, (i2t, t2i), strict=True):
            cost.append(max(negatives) if hardest else sum(negatives))
    return sum(costs[0]), sum(costs[1])


@pytest.mark.parametrize(("progress", "hardest"), [(BEFORE, False), (AFTER, True)])
def test_the_loss_sums_over_negatives_until_max_violation_begins(progress, hardest):
    features = {"image": torch.randn(5, 3), "text": torch.randn(5, 3)}
    terms = build().objective(features, torch.tensor([0, 0, 1, 2, 3]), progress)
    i2t, t2i = hinge_by_loops(features["image"] @ features["text"].T, hardest)
    assert terms["i2t"].item() == pytest.approx(i2t, rel=1e-5)
    assert terms["t2i"].item() == pytest.approx(t2i, rel=1e-5)
    assert list(terms)[-1] == "total"
    assert terms["total"].item() == pytest.approx(i2t + t2i, rel=1e-5)


def test_margin_changes_the_loss():
    features = {"image": torch.eye(5), "text": torch.eye(5)}
    ids = torch.arange(5)
    assert build(margin=0.2).objective(features, ids, BEFORE)["total"] == 0
    assert build(margin=1.5).objective(features, ids, BEFORE)["total"].item() == pytest.approx(2 * 20 * 0.5)


@pytest.mark.parametrize("text", [BIGRU, BERT], ids=["bigru", "bert"])
@pytest.mark.parametrize("pooling", ["gpo", "mean", "max", "kmax", "cls"])
def test_an_embedding_depends_on_its_own_item_alone(text, pooling):
    model = build(text, image_pooling=pooling, text_pooling=pooling).eval()
    batch, padded = make_batch(), make_batch(padding=3)
    whole = model.score(model.encode_images(batch.images), model.encode_texts(batch.texts))["similarity"]
    wider = model.score(model.encode_images(padded.images), model.encode_texts(padded.texts))["similarity"]
    torch.testing.assert_close(wider, whole)
    some = [3, 1]
    images = ImageBatch(batch.images.ids[some], batch.images.regions[some], batch.images.lengths[some])
    texts = TextBatch(*(getattr(batch.texts, n)[some] for n in ("ids", "image_ids", "words", "lengths")))
    part = model.score(model.encode_images(images), model.encode_texts(texts))["similarity"]
    torch.testing.assert_close(part, whole[some][:, some])


def test_embeddings_have_length_one_and_scores_are_their_products():
    model, batch = build().eval(), make_batch()
    images, texts = model.encode_images(batch.images), model.encode_texts(batch.texts)
    torch.testing.assert_close(images["embedding"].norm(dim=1), torch.ones(5))
    score = model.score(images, texts)["similarity"]
    torch.testing.assert_close(score[2, 3], images["embedding"][2] @ texts["embedding"][3])
    torch.testing.assert_close(score[0], score[1])  # one image twice


def test_padding_rows_enter_the_batch_statistics_in_training():
    model = build().train()
    close, padded = model.features(make_batch())["image"], model.features(make_batch(padding=3))["image"]
    assert (close - padded).abs().max() > 1e-3


@pytest.mark.parametrize("text", [BIGRU, BERT], ids=["bigru", "bert"])
def test_every_parameter_gets_a_gradient(text):
    model = build(text)
    model(make_batch(), AFTER)["total"].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_bert_learns_ten_times_slower_and_nothing_is_forgotten():
    model = build(BERT)
    text, bert, image = model.parameter_groups()
    assert (text.lr_factor, bert.lr_factor, image.lr_factor) == (1.0, 0.1, 1.0)
    assert {id(p) for p in bert.parameters} == {id(p) for p in model.words.bert.parameters()}
    grouped = [id(p) for group in (text, bert, image) for p in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_the_bigru_model_is_one_group():
    (group,) = build().parameter_groups()
    assert len(group.parameters) == len(list(build().parameters()))


def test_the_loss_is_float32_under_autocast():
    model, batch = build(), make_batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = model.features(batch)
        mixed = model.objective(features, batch.texts.image_ids, AFTER)["total"]
    assert features["image"].dtype == mixed.dtype == torch.float32
    plain = model.objective(features, batch.texts.image_ids, AFTER)["total"]
    torch.testing.assert_close(mixed, plain)


def test_sizes_that_only_the_data_know_are_named():
    with pytest.raises(MethodError, match="region_dim"):
        GPO(GPOConfig(text=BIGRU))
    with pytest.raises(MethodError, match="vocabulary_size"):
        GPO(GPOConfig(region_dim=7))


@pytest.mark.parametrize("variant", GPO.variants)
@pytest.mark.parametrize("dataset", ["f30k", "coco", "f8k", "demo"])
def test_recipes_resolve(variant, dataset):
    entry = find_method("gpo")
    recipe = resolve(GPO, "gpo", dataset, variant, file=entry.recipe)
    bigru = recipe.config.text.bert is None
    assert bigru == (dataset in ("f8k", "demo") or variant == "bigru")
    grid = recipe.config.grid.backbone is not None
    assert grid == variant.startswith("grid")
    assert recipe.optim.weight_decay == (0.01 if bigru and not grid else 1e-4)
    assert recipe.train.sort_by_length == bigru
    pooled = (recipe.config.image_pooling, recipe.config.text_pooling)
    fixed = {name: (name, name) for name in ("mean", "max", "kmax")}
    expected = {"vsepp": ("mean", "mean" if bigru else "cls"), **fixed}
    assert pooled == expected.get(variant, ("gpo", "gpo"))


def test_f30k_recipe_is_the_papers():
    recipe = resolve(GPO, "gpo", "f30k", file=find_method("gpo").recipe)
    assert (recipe.train.epochs, recipe.train.batch_size, recipe.optim.decay_epochs) == (25, 128, (15,))
    assert recipe.phases["max_violation"].first_step(100, 25) == 100
