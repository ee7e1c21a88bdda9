"""VSD: what it adds to a host's embeddings, its prototypes and switches, and whole runs on each host."""

import json
import math
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from benchmarks import engine
from benchmarks.checkpoint_evaluation import evaluate_checkpoint
from benchmarks.errors import RunError
from benchmarks.interrupt import Interrupted
from benchmarks.job import Job, RunOptions
from benchmarks.memory_estimate import expected_memory
from benchmarks.records import read_details, read_records
from benchmarks.run import run
from datasets.batch import Batch, ImageBatch, TextBatch
from datasets.errors import DataError
from methods import official
from methods.base import Progress
from methods.errors import MethodError
from methods.hosting import resolve_entry
from methods.losses import hinge_loss, same_image
from methods.prototypes import swapped_prediction
from methods.registry import find_method
from methods.triplet import largest_weights, triplet_loss
from methods.vsd import read_prototypes
from tests.trees import write_coco, write_f30k

GOLDEN = Path(__file__).parent / "golden" / "vsd"
D, REGION_DIM, VOCABULARY, PROTOTYPES = 16, 6, 30, 5
GRAPH = Progress(step=1, epoch=1, phases=frozenset({"max_violation", "graph"}))
HREM_SIZES = {"heads": 4, "dropout": 0.0}
SIMPLE = """
from torch import nn
from methods.base import EmbeddingMethod, MethodConfig
from methods.pooling import mean_pool
from methods.registry import register
from methods.text_encoders import text_encoder

class SimpleConfig(MethodConfig):
    width: int = 32

@register("simple")
class Simple(EmbeddingMethod):
    Config = SimpleConfig

    def __init__(self, config):
        super().__init__(config)
        self.regions = nn.Linear(config.region_dim, config.width)
        self.words = text_encoder(config.text, config.width)

    def embed_images(self, images):
        return mean_pool(self.regions(images.regions), images.lengths)

    def embed_texts(self, texts):
        return mean_pool(self.words(texts.words, texts.lengths), texts.lengths)
"""


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

SMALL = {
    "gpo-dagger": {"host.embed_size": 32},
    "gpo-star": {"host.embed_size": 32},
    "hrem-dagger": {"host.embed_size": 32, "phases.graph.step": 5},  # of 8,000, which 21 steps never reach
    "hrem-star": {"host.embed_size": 32, "phases.graph.step": 5},
    "clip-star": {},
}
QUICK = {"prototypes": 8, "train.batch_size": 8, "train.epochs": 3}


def options(tmp_path, variant, dataset="f30k", method="vsd", **overrides):
    values = {**QUICK, **SMALL.get(variant, {}), **overrides}
    return RunOptions(method, dataset, tmp_path / "data", variant, values, output=tmp_path)


@pytest.fixture
def f30k(tmp_path):
    write_f30k(tmp_path / "data", vectors=32)
    return tmp_path / "data" / "f30k" / "precomp"


@pytest.mark.parametrize("variant", SMALL)
def test_each_variant_trains_with_its_own_recipe(variant, f30k, tmp_path, tiny_bert, accelerator, quiet):
    job = options(tmp_path, variant, **({} if variant.startswith("clip") else {"text.bert": str(tiny_bert)}))
    (record,) = run(job, [0], accelerator, quiet)
    host, source = variant.split("-")
    own = Job(options(tmp_path, variant)).recipe.values()
    assert (record.recipe["optim"], record.recipe["augment"]) == (own["optim"], own["augment"])
    assert (record.method, record.variant, record.selection) == ("vsd", variant, "dev")
    assert "extra_pretraining" in record.flags
    assert record.features.endswith(" + descriptions")
    assert record.recipe["descriptions"] == f"descriptions_{source}"
    assert set(record.first_steps) == set(find_method(host).method.phases)  # every phase has run
    assert record.history[-1].loss == record.history[-1].loss
    assert record.skipped_steps == 0


@pytest.mark.parametrize("variant", ["gpo-dagger", "hrem-dagger"])
def test_coco_trains_with_its_own_recipe(variant, tmp_path, tiny_bert, accelerator, quiet):
    write_coco(tmp_path / "data", vectors=32)
    (record,) = run(options(tmp_path, variant, "coco", **{"text.bert": str(tiny_bert)}), [0], accelerator, quiet)
    assert set(record.metrics) == {"coco-1k", "coco-5k"}
    assert record.recipe["cutoff"] == 1.9
    assert str(tmp_path) not in json.dumps(record.model_dump(mode="json"))


def test_released_prototypes_serve_a_run_and_leave_no_path_in_its_record(f30k, tmp_path, accelerator, quiet):
    np.save(tmp_path / "centroids.npy", np.random.default_rng(0).random((8, 32)).astype(np.float32))
    job = options(tmp_path, "gpo-star", **{"text.bert": None, "prototypes_file": str(tmp_path / "centroids.npy")})
    (record,) = run(job, [0], accelerator, quiet)
    assert record.recipe["prototypes_file"] == record.overrides["prototypes_file"] == "centroids.npy"
    assert str(tmp_path) not in json.dumps(record.model_dump(mode="json"))


def test_scores_of_vectors_alone_train_nothing(f30k, tmp_path, accelerator, quiet):
    """bge only: description vector · caption vector."""
    (record,) = run(options(tmp_path, "gpo-star", scores="vectors"), [0, 1], accelerator, quiet)
    assert (record.selection, record.seed, record.steps) == ("none", None, 0)
    assert record.features == "descriptions"
    descriptions, captions = np.load(f30k / "test_aux_cap_bge_flor_det.npy")[::5], np.load(f30k / "test_cap_bge.npy")
    best = np.sort(descriptions @ captions.T, axis=1)[:, ::-1][:, :10]
    np.testing.assert_allclose(read_details(record, tmp_path / "results")["f30k-1k"].i2t_scores, best, atol=1e-6)


def test_without_dev_vectors_the_last_epoch_is_offered(f30k, tmp_path, accelerator, quiet):
    (f30k / "dev_aux_cap_bge_flor_det.npy").unlink()
    job = options(tmp_path, "gpo-star", **{"text.bert": None})
    with pytest.raises(DataError, match=r"dev_aux_cap_bge_flor_det.npy .*is missing.*train.select=last"):
        run(job, [0], accelerator, quiet)
    job = options(tmp_path, "gpo-star", **{"text.bert": None, "train.select": "last"})
    (record,) = run(job, [0], accelerator, quiet)
    assert record.selection == "last"


def test_vectors_of_another_width_stop_a_run_at_once(f30k, tmp_path, accelerator, quiet):
    job = options(tmp_path, "gpo-star", **{"text.bert": None, "host.embed_size": 48})
    with pytest.raises(MethodError, match=r"vectors have 32 numbers, the host's embeddings 48.*host.embed_size=32"):
        run(job, [0], accelerator, quiet)
    np.save(f30k / "train_cap_bge.npy", np.zeros((60, 8), np.float32))
    with pytest.raises(MethodError, match=r"differ in width \(descriptions_star of 32, caption_vectors of 8\)"):
        run(options(tmp_path, "gpo-star", **{"text.bert": None}), [0], accelerator, quiet)


def test_a_users_method_is_a_host(f30k, tmp_path, accelerator, quiet):
    (tmp_path / "simple.py").write_text(SIMPLE)
    job = options(tmp_path, "simple-star", method=f"vsd:{tmp_path / 'simple.py'}")
    (record,) = run(job, [0], accelerator, quiet)
    assert (record.method, record.variant) == ("vsd", "simple-star")
    assert record.recipe["host"] == {"width": 32}
    assert record.history[-1].loss < record.history[0].loss
    (best,) = (tmp_path / "runs").glob("*/best.safetensors")
    plain = RunOptions(job.method, "f30k", tmp_path / "data", output=tmp_path)
    assert evaluate_checkpoint(plain, best, accelerator, quiet) == record.metrics
    with pytest.raises(RunError, match="trained with variant simple-star: name its host behind a colon"):
        evaluate_checkpoint(replace(plain, method="vsd"), best, accelerator, quiet)


def test_a_users_method_trains_on_demo_with_vsd(tmp_path, accelerator, quiet):
    (tmp_path / "simple.py").write_text(SIMPLE)
    overrides = {"host.width": 128, "train.epochs": 2, "prototypes": 8}
    method = f"vsd:{tmp_path / 'simple.py'}"
    job = RunOptions(method, "demo", None, None, overrides, limit=60, output=tmp_path)
    (record,) = run(job, [0], accelerator, quiet)
    assert record.variant == "simple-dagger"
    assert "simulated_inputs" in record.flags
    assert record.history[1].loss < record.history[0].loss


def test_clip_is_refused_where_there_are_no_clip_vectors(f30k, tmp_path, accelerator, quiet):
    for path in f30k.glob("*_clip_*"):
        path.unlink()
    with pytest.raises(DataError, match="CLIP vectors of the pictures"):
        run(options(tmp_path, "clip-star"), [0], accelerator, quiet)


def test_a_run_resumed_in_the_graph_phase_ends_with_the_same_bits(f30k, tmp_path, accelerator, quiet, monkeypatch):
    def job(where):
        values = {**QUICK, **SMALL["hrem-dagger"], "text.bert": None, "text.word_dim": 16, "host.heads": 4}
        return RunOptions("vsd", "f30k", tmp_path / "data", "hrem-dagger", values, output=tmp_path / where)

    (whole,) = run(job("whole"), [0], accelerator, quiet)
    for stop_at in (7, 6):  # each from where the last one stopped: all within the graph phase, which begins at step 5
        checks = iter(range(stop_at + 1))
        look = engine.StopRequest.raise_if_asked

        def counted(self, checks=checks, stop_at=stop_at, look=look):
            if next(checks, None) == stop_at - 1:
                signal.raise_signal(signal.SIGINT)
            look(self)

        monkeypatch.setattr(engine.StopRequest, "raise_if_asked", counted)
        with pytest.raises(Interrupted):
            run(job("parts"), [0], accelerator, quiet)
        monkeypatch.undo()
    (resumed,) = run(job("parts"), [0], accelerator, quiet)
    assert "goes on at epoch" in quiet.file.getvalue()
    assert resumed.first_steps["graph"] == 5
    assert (resumed.metrics, resumed.history) == (whole.metrics, whole.history)
    same = [read_details(r, tmp_path / w / "results")["f30k-1k"] for r, w in ((whole, "whole"), (resumed, "parts"))]
    assert same[0].i2t_scores.tobytes() == same[1].i2t_scores.tobytes()


@pytest.mark.parametrize("variant", ["gpo-star", "hrem-star"])
def test_our_own_checkpoint_scores_as_its_record_says(variant, f30k, tmp_path, accelerator, quiet):
    job = options(tmp_path, variant, **{"text.bert": None, "train.epochs": 1})
    (record,) = run(job, [0], accelerator, quiet)
    (best,) = (tmp_path / "runs").glob("*/best.safetensors")
    plain = RunOptions("vsd", "f30k", tmp_path / "data", output=tmp_path / "elsewhere")  # the file names its variant
    assert evaluate_checkpoint(plain, best, accelerator, quiet) == record.metrics


@pytest.mark.parametrize(("variant", "case"), [("gpo-dagger", "gpo-bert"), ("hrem-star", "hrem-bert")])
def test_an_official_checkpoint_is_scored_and_filed(
    variant, case, tmp_path, tiny_bert, accelerator, quiet, monkeypatch
):
    """24 numbers per region, vectors of 32; its BERT has two heads, which leave no trace in a checkpoint."""
    monkeypatch.setattr(official, "HEAD_SIZE", 24)
    write_f30k(tmp_path / "data", dim=24, vectors=32)
    values = {"text.bert": str(tiny_bert)}
    job = RunOptions("vsd", "f30k", tmp_path / "data", variant, values, output=tmp_path)
    metrics = evaluate_checkpoint(job, GOLDEN / case / "checkpoint.pth", accelerator, quiet)
    (record,) = read_records(tmp_path / "results")
    assert (record.method, record.variant, record.selection) == ("vsd", variant, "last")
    assert {"imported", "extra_pretraining"} <= set(record.flags)
    assert record.metrics == metrics
    assert record.recipe["host"]["embed_size"] == record.recipe["vector_dim"] == 32
    assert record.recipe["pair_loss"] == ("trip" if variant == "gpo-dagger" else "host")
    write_f30k(tmp_path / "data", dim=24, vectors=16)
    with pytest.raises(MethodError, match="sentence vectors have 16 numbers, the host's embeddings 32"):
        evaluate_checkpoint(job, GOLDEN / case / "checkpoint.pth", accelerator, quiet)


@pytest.mark.parametrize("settings", [{}, {"scores": "vectors"}])
def test_the_expected_memory_is_known_without_looking_for_prototypes(settings, f30k, tmp_path, monkeypatch):
    monkeypatch.setattr("methods.vsd.kmeans", None)
    memory = expected_memory(Job(options(tmp_path, "gpo-star", **{"text.bert": None, **settings})))
    assert memory["test similarities"] == 4 * 12 * 60
    assert ("weights" in memory) == bool(settings)
