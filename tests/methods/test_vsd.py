"""VSD: what it adds to a host's embeddings, its prototypes and switches."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.methods.base import Progress
from itm_harness.methods.errors import MethodError
from itm_harness.methods.hosting import resolve_entry
from itm_harness.methods.losses.hinge import hinge_loss, same_image
from itm_harness.methods.losses.prototypes import read_prototypes, swapped_prediction
from itm_harness.methods.losses.triplet import largest_weights, triplet_loss
from itm_harness.methods.registry import find_method
from itm_tests.small_methods import SIMPLE

D, REGION_DIM, VOCABULARY, PROTOTYPES = 16, 6, 30, 5
GRAPH = Progress(step=1, epoch=1, phases=frozenset({"max_violation", "graph"}))
HREM_SIZES = {"heads": 4, "dropout": 0.0}


def vsd(host="gpo", host_settings=None, **settings):
    """A small VSD that always chooses the likeliest negatives, in training mode, with random prototypes."""
    torch.manual_seed(0)
    kind = find_method("vsd", f"{host}-dagger").method
    sizes = {"embed_size": D, **(HREM_SIZES if host == "hrem" else {})}
    values = {
        "region_dim": REGION_DIM,
        "text": {"vocabulary_size": VOCABULARY, "word_dim": 5},
        "vector_dim": D,
        "prototypes": PROTOTYPES,
        "host": {**sizes, **(host_settings or {})},
    }
    method = kind(kind.Config(**{**values, **settings}))
    method.choose = largest_weights
    if host == "hrem":
        method.host.choose = largest_weights
    if method.config.learns_prototypes:
        method.prototypes.normal_()
    return method


def batch(width=D, ids=(0, 1, 2, 1, 4, 5)):
    generator = torch.Generator().manual_seed(1)
    n, image_ids = len(ids), torch.tensor(ids)
    regions, lengths = torch.rand(n, 7, REGION_DIM, generator=generator), torch.full((n,), 7)
    words = torch.randint(4, VOCABULARY, (n, 12), generator=generator)
    vectors = normalize(torch.randn(2, n, width, generator=generator), dim=2)
    images = ImageBatch(image_ids, regions, lengths, {"descriptions_dagger": vectors[0]})
    texts = TextBatch(torch.arange(n), image_ids, words, torch.full((n,), 12), {"caption_vectors": vectors[1]})
    return Batch(images, texts)


@torch.no_grad()
def test_an_embedding_is_the_normalised_sum_of_embedding_and_vector():
    """Row by row: length 1, plus the vector as it is, length 1."""
    method, whole = vsd().eval(), batch()
    hosted = method.host.embed_images(whole.images), method.host.embed_texts(whole.texts)
    vectors = whole.images.sidecars["descriptions_dagger"], whole.texts.sidecars["caption_vectors"]
    found = method.embed_images(whole.images), method.embed_texts(whole.texts)
    for embeddings, added, fused in zip(hosted, vectors, found, strict=True):
        for embedding, vector, row in zip(embeddings, added, fused, strict=True):
            total = embedding / math.sqrt(sum(float(x) ** 2 for x in embedding)) + vector
            torch.testing.assert_close(row, total / math.sqrt(sum(float(x) ** 2 for x in total)))
    features = method.features(whole)
    torch.testing.assert_close((features["image"], features["text"]), found)


@torch.no_grad()
def test_longer_vectors_count_for_more():
    """Vectors are added as they are: nothing normalises them."""
    method, whole = vsd().eval(), batch()
    once = method.embed_images(whole.images)
    whole.images.sidecars["descriptions_dagger"] *= 1000
    vectors = normalize(whole.images.sidecars["descriptions_dagger"], dim=1)
    far = method.embed_images(whole.images)
    torch.testing.assert_close(far, vectors, atol=5e-3, rtol=0)
    assert ((once - vectors).norm(dim=1) > 0.1).all()


@torch.no_grad()
def test_without_the_instance_level_the_hosts_embedding_stays():
    method, whole = vsd(instance_level=False).eval(), batch()
    torch.testing.assert_close(method.embed_images(whole.images), method.host.embed_images(whole.images))
    assert method.inputs().text_sidecars == ()
    assert method.inputs().image_sidecars == ("descriptions_dagger",)  # its prototypes come from them


def test_the_total_is_the_pairs_loss_plus_that_of_the_prototypes():
    method, whole = vsd(pair_loss="trip", prototype_weight=0.5), batch()
    features, ids = method.features(whole), whole.texts.image_ids
    terms = method.objective(features, ids, Progress())
    similarity = features["image"] @ features["text"].T
    pairs = triplet_loss(similarity, same_image(ids), 1.7, largest_weights)
    prototypes = normalize(method.prototypes, dim=1)
    swapped = swapped_prediction(features["image"], features["text"], prototypes, 0.05, 0.1, 3)
    assert list(terms) == ["pairs", "prototypes", "total"]
    torch.testing.assert_close(terms["pairs"], pairs)
    torch.testing.assert_close(terms["prototypes"], swapped)
    torch.testing.assert_close(terms["total"], pairs + 0.5 * swapped)


def test_without_the_prototype_level_there_are_none():
    method, whole = vsd(prototype_level=False), batch()
    assert list(method(whole, Progress())) == ["i2t", "t2i", "total"]
    assert "prototypes" not in method.state_dict()
    assert vsd().state_dict()["prototypes"].shape == (PROTOTYPES, D)


def test_the_loss_of_the_pairs_is_the_hosts_or_one_of_two():
    whole = batch()
    ids, hardest = whole.texts.image_ids, Progress(phases=frozenset({"max_violation"}))
    method = vsd(prototype_level=False)
    features = method.features(whole)
    similarity = features["image"] @ features["text"].T
    hosts = method.host.objective(features, ids, hardest)["total"]
    assert method.objective(features, ids, hardest)["total"] == hosts
    hinge = vsd(prototype_level=False, pair_loss="hinge")
    for progress, is_hardest in ((Progress(), False), (hardest, True)):
        expected = hinge_loss(similarity, same_image(ids), 0.2, is_hardest)
        torch.testing.assert_close(hinge.objective(features, ids, progress)["total"], expected)
    methods = [vsd(prototype_level=False, pair_loss=name) for name in ("host", "trip", "hinge")]
    assert len({method.objective(features, ids, Progress())["total"].item() for method in methods}) == 3


def test_hrem_gets_fused_embeddings_and_its_own_local_features():
    method, whole = vsd("hrem"), batch()
    assert method.phases == ("graph", "max_violation")
    fused, own = method.features(whole), method.host.features(whole)
    assert set(fused) == set(own)
    assert not torch.equal(fused["image"], own["image"])
    for name in ("image_local", "text_local", "image_lengths", "text_lengths"):
        assert torch.equal(fused[name], own[name])
    terms = method.objective(fused, whole.texts.image_ids, GRAPH)
    alone = method.host.objective(fused, whole.texts.image_ids, GRAPH)
    assert list(terms) == ["base", "graph_text", "graph_image", "graph_both", "reg", "prototypes", "total"]
    torch.testing.assert_close(terms["total"], alone["total"] + terms["prototypes"])


def test_prototypes_are_no_parameters():
    method = vsd("hrem")
    grouped = [id(p) for group in method.parameter_groups() for p in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in method.parameters())
    assert [g.name for g in method.parameter_groups()] == [g.name for g in method.host.parameter_groups()]
    method(batch(), GRAPH)["total"].backward()
    assert method.prototypes.grad is None


def test_a_vector_of_another_width_is_refused():
    with pytest.raises(MethodError, match=r"sentence vectors have 8 numbers, the host's embeddings 16.*embed_size=8"):
        vsd(vector_dim=8)
    with pytest.raises(MethodError, match=r"sentence vectors have 8 numbers, the host's embeddings 16"):
        vsd()(batch(width=8), Progress())
    with pytest.raises(MethodError, match="vector_dim is not set"):
        vsd(vector_dim=None)
    assert vsd(vector_dim=None, instance_level=False, prototype_level=False).inputs().image_sidecars == ()


def test_the_hosts_embeddings_may_be_known_only_in_a_batch(tmp_path):
    """A host without embed_size."""
    (tmp_path / "simple.py").write_text(SIMPLE)
    kind = find_method(f"vsd:{tmp_path / 'simple.py'}").method
    values = {"region_dim": REGION_DIM, "text": {"vocabulary_size": VOCABULARY}, "vector_dim": D, "prototypes": 3}
    method = kind(kind.Config(**values))
    assert method.prototypes.shape == (3, D)
    with pytest.raises(MethodError, match="vectors have 16 numbers, the host's embeddings 32"):
        method(batch(), Progress())
    with pytest.raises(MethodError, match="width of simple's embeddings is not known"):
        kind(kind.Config(**values, reduce=True))


@dataclass
class Train:
    """What `fit` sees of a training split."""

    sidecars: dict

    def sidecar(self, name):
        return self.sidecars[name]


def training_vectors(width=D, rows=40):
    rng = np.random.default_rng(0)
    names = ("descriptions_dagger", "caption_vectors")
    return Train({name: rng.standard_normal((rows, width)).astype(np.float32) for name in names})


def test_prototypes_are_centroids_of_the_training_descriptions():
    """Five groups of equal descriptions: five prototypes, these; captions do not matter."""
    method, train = vsd(), training_vectors()
    groups = train.sidecars["descriptions_dagger"][:PROTOTYPES]
    train.sidecars["descriptions_dagger"] = np.repeat(groups, 8, axis=0)
    method.fit(train)
    found = sorted(map(tuple, method.prototypes.numpy()))
    np.testing.assert_allclose(found, sorted(map(tuple, groups)), atol=1e-6)
    with pytest.raises(MethodError, match="prototypes=9, but the training split holds only 5"):
        vsd(prototypes=9).fit(train)


def test_vectors_can_be_reduced_to_the_hosts_width():
    method, whole = vsd(reduce=True, vector_dim=24), batch(width=24)
    train = training_vectors(24)
    method.fit(train)
    assert method.prototypes.shape == (PROTOTYPES, D)
    lengths = method.prototypes.norm(dim=1)
    assert (lengths <= 1 + 1e-5).all()  # centroids of vectors of length 1
    reduced = method.reduction(whole.images.sidecars["descriptions_dagger"])
    fused = normalize(method.host.embed_images(whole.images) + reduced, dim=1)
    torch.testing.assert_close(method.embed_images(whole.images), fused)
    both = np.concatenate(list(train.sidecars.values())).mean(axis=0)
    np.testing.assert_allclose(method.reduction.mean, both, atol=1e-6)
    assert {"reduction.mean", "reduction.components", "prototypes"} <= set(method.state_dict())


def test_released_prototypes_are_read(tmp_path):
    centroids = np.random.default_rng(0).random((PROTOTYPES, D)).astype(np.float64)
    np.save(tmp_path / "centroids.npy", centroids)
    method = vsd(prototypes_file=str(tmp_path / "centroids.npy"))
    method.fit(training_vectors())
    np.testing.assert_allclose(method.prototypes, centroids, atol=1e-7)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "prototypes_file .*x.npy does not exist"),
        (b"none", "cannot be read as .npy"),
        (np.zeros((7, D)), "holds 7 prototypes of 16 numbers, the recipe has 5 of 16; set prototypes=7"),
        (np.zeros((PROTOTYPES, 8)), "holds 5 prototypes of 8 numbers, the recipe has 5 of 16"),
        (np.zeros(PROTOTYPES), "holds no matrix of floats"),
        (np.zeros((PROTOTYPES, D), np.int64), "holds no matrix of floats"),
        (np.full((PROTOTYPES, D), np.nan), "not finite"),
        (np.array([{}], dtype=object), "cannot be read as .npy"),
    ],
)
def test_a_wrong_file_of_prototypes_is_refused(tmp_path, content, sentence):
    path = tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(MethodError, match=sentence) as refused:
        read_prototypes(path, PROTOTYPES, D)
    assert "\n" not in str(refused.value)


def test_what_is_read_follows_the_switches():
    vectors = (("descriptions_dagger",), ("caption_vectors",))
    cases = [
        ({}, True, vectors),
        ({"prototype_level": False}, True, vectors),
        ({"instance_level": False}, True, (vectors[0], ())),
        ({"instance_level": False, "prototypes_file": "x.npy"}, True, ((), ())),
        ({"instance_level": False, "prototype_level": False}, True, ((), ())),
        ({"scores": "vectors"}, False, vectors),
    ]
    kind = find_method("vsd").method
    for settings, regions, sidecars in cases:
        inputs = kind.bare(kind.Config(**settings)).inputs()
        assert (inputs.regions, inputs.image_sidecars, inputs.text_sidecars) == (regions, *sidecars), settings
    clip = find_method("vsd", "clip-star").method
    inputs = clip.bare(resolve_entry(find_method("vsd", "clip-star"), "demo", "clip-star").config).inputs()
    assert inputs.image_sidecars == ("clip_images", "descriptions_star")
    assert not inputs.regions


def test_tables_say_what_goes_in():
    kind = find_method("vsd").method
    shown = {
        "BUTD region + descriptions": {},
        "BUTD region": {"instance_level": False, "prototype_level": False},
        "descriptions": {"scores": "vectors"},
    }
    for label, settings in shown.items():
        assert kind.features_label(kind.Config(**settings), "BUTD region") == label
    assert kind.text_label(kind.Config(text={"bert": "x"})) == "BERT"


# Whole runs ---------------------------------------------------------------------------------------------------------
