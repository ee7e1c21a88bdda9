"""AAHR: its embeddings depend on their item alone, its phases, queues, switches, groups and recipe do what they say."""

import math

import pytest
import torch

from itm_harness.benchmarks.common.interrupt import Interrupted
from itm_harness.benchmarks.records.store import read_details, read_records
from itm_harness.benchmarks.runs.checkpoint_evaluation import evaluate_checkpoint
from itm_harness.benchmarks.runs.run import RunOptions, run
from itm_harness.datasets.batch import Batch, ImageBatch, TextBatch
from itm_harness.datasets.errors import DataError
from itm_harness.methods import official
from itm_harness.methods.aahr import AAHR, CLIP_IMAGES, CLIP_TEXTS, AAHRConfig
from itm_harness.methods.base import Progress
from itm_harness.methods.encoders.text_encoders import TextConfig
from itm_harness.methods.errors import MethodError
from itm_harness.methods.importing import import_checkpoint
from itm_harness.methods.losses.triplet import largest_weights
from itm_harness.methods.recipe import resolve
from itm_harness.methods.registry import find_method
from itm_tests.interruptions import interrupt_after
from itm_tests.places import GOLDEN
from itm_tests.trees import write_coco, write_f30k

CHECKPOINT = GOLDEN / "aahr" / "bert" / "checkpoint.pth"
D, REGION_DIM, CLIP_DIM, VOCABULARY, B = 16, 6, 5, 30, 6
SMALL = {"heads": 4, "pool_heads": 2, "prototypes": 7, "queue_length": 2 * B, "dropout": 0.0}
FIRST, PROTOTYPES = Progress(), Progress(phases=frozenset({"prototypes"}))
ALL = Progress(phases=frozenset({"prototypes", "graph"}))


def aahr(**settings):
    """A small AAHR that always chooses the likeliest negatives, in training mode without dropout."""
    torch.manual_seed(0)
    sizes = {"embed_size": D, "region_dim": REGION_DIM, "clip_dim": CLIP_DIM, "convolution_dropout": 0.0}
    text = {"text": TextConfig(vocabulary_size=VOCABULARY, word_dim=5)}
    method = AAHR(AAHRConfig(**{**SMALL, **sizes, **text, **settings}))
    method.choose = largest_weights
    return method


def batch(seed=1, ids=(0, 1, 2, 1, 4, 5)):
    generator = torch.Generator().manual_seed(seed)
    regions, words = torch.tensor([5, 7, 1, 7, 3, 2]), torch.tensor([12, 9, 9, 5, 4, 3])
    features = torch.rand(B, 7, REGION_DIM, generator=generator)
    features[torch.arange(7) >= regions[:, None]] = 0
    word_ids = torch.randint(4, VOCABULARY, (B, 12), generator=generator)
    word_ids[torch.arange(12) >= words[:, None]] = 0
    vectors = torch.randn(2, B, CLIP_DIM, generator=generator)
    image_ids = torch.tensor(ids)
    return Batch(
        ImageBatch(image_ids, features, regions, {CLIP_IMAGES: vectors[0]}),
        TextBatch(torch.arange(B), image_ids, word_ids, words, {CLIP_TEXTS: vectors[1]}),
    )


def part(whole, rows):
    """Some pairs of a batch, padded no further than they need."""
    images, texts = whole.images, whole.texts
    n_regions, n_words = images.lengths[rows], texts.lengths[rows]
    return Batch(
        ImageBatch(
            images.ids[rows],
            images.regions[rows, : n_regions.max()],
            n_regions,
            {CLIP_IMAGES: images.sidecars[CLIP_IMAGES][rows]},
        ),
        TextBatch(
            texts.ids[rows],
            texts.image_ids[rows],
            texts.words[rows, : n_words.max()],
            n_words,
            {CLIP_TEXTS: texts.sidecars[CLIP_TEXTS][rows]},
        ),
    )


def similarity(method, whole):
    return method.score(method.encode_images(whole.images), method.encode_texts(whole.texts))["similarity"]


@torch.no_grad()
@pytest.mark.parametrize("padding", ["masked", "released"])
def test_a_score_depends_on_its_pair_alone_unless_padding_is_looked_at(padding):
    method = aahr(attention_padding=padding).eval()
    whole = similarity(method, batch())
    differences = [
        (similarity(method, part(batch(), rows)) - whole[rows, rows]).abs().max().item()
        for rows in (slice(2, 3), slice(3, 6), slice(0, 2))
    ]
    assert (max(differences) < 1e-6) == (padding == "masked")


def step(method, progress=FIRST, seed=1):
    """What the engine does in a step, without an optimiser. Returns the terms and the gradients."""
    method.train().zero_grad(set_to_none=True)
    method.before_step(progress)
    terms = method(batch(seed), progress)
    terms["total"].backward()
    method.after_step(progress)
    trained = ((name, p) for name, p in method.named_parameters() if p.requires_grad)
    return {name: value.item() for name, value in terms.items()}, {name: p.grad for name, p in trained}


def test_each_phase_trains_its_own_parameters_and_leaves_the_others_without_a_gradient():
    method = aahr(queue_length=0)
    for progress, sleeping in ((FIRST, ("prototypes", "graph.")), (PROTOTYPES, ("graph.",)), (ALL, ())):
        _, gradients = step(method, progress)
        assert {name for name, g in gradients.items() if g is None} == {
            name for name in gradients if name.startswith(sleeping)
        }


def test_the_total_weighs_its_terms():
    method = aahr()
    terms, _ = step(method, FIRST)
    assert list(terms) == ["base", "prototypes", "total"]
    assert terms["total"] == pytest.approx(terms["base"])
    terms, _ = step(method, PROTOTYPES, seed=2)
    assert terms["total"] == pytest.approx(terms["base"] + 0.2 * terms["prototypes"])
    terms, _ = step(method, ALL, seed=3)
    assert list(terms) == ["base", "prototypes", "graph_text", "graph_image", "graph_both", "reg", "queue", "total"]
    parts = sum(v for name, v in terms.items() if name != "total")
    assert terms["total"] == pytest.approx(parts - 0.8 * terms["prototypes"] + 9 * terms["reg"])


def test_prototypes_are_kept_on_the_sphere_also_before_their_phase():
    method = aahr()
    start = method.prototypes.detach().clone()
    assert (start.norm(dim=1) - 1).abs().max() > 0.1
    step(method, FIRST)
    torch.testing.assert_close(method.prototypes.detach(), start / start.norm(dim=1, keepdim=True))


def test_the_contrast_begins_when_the_queues_hold_real_keys_only():
    method = aahr(queue_length=3 * B)
    begun = ["queue" in step(method, FIRST, seed)[0] for seed in range(6)]
    assert begun == [False, False, False, True, True, True]  # count > K/B = 3, counted from 1


def test_queues_take_the_keys_of_each_step_after_its_loss():
    method = aahr()
    seen = []
    for seed in range(3):
        method.train().before_step(FIRST)
        features = method.features(batch(seed))
        before = method.queues.image.clone()
        method.objective(features, torch.arange(B), FIRST)
        assert torch.equal(method.queues.image, before)  # the loss sees the old keys
        method.after_step(FIRST)
        seen.append((features["image_key"], features["text_key"]))
    assert torch.equal(method.queues.image, torch.cat([seen[2][0], seen[1][0]]))
    assert torch.equal(method.queues.text, torch.cat([seen[2][1], seen[1][1]]))


def test_a_step_that_is_not_finite_advances_the_queues_all_the_same():
    method = aahr()
    terms, _ = step(method)
    broken = batch(2)
    broken.images.regions[0] = math.nan
    method.train().before_step(FIRST)
    assert not method(broken, FIRST)["total"].isfinite()
    method.after_step(FIRST)
    assert method.queues.written == 2 * B
    assert math.isfinite(terms["total"])


def test_key_encoders_begin_as_copies_follow_and_keep_statistics_of_their_own():
    method = aahr(momentum=0.9)
    query, key = method.image_encoder, method.image_keys
    weight = query.guided.gate.weight
    assert torch.equal(key.guided.gate.weight, weight)
    with torch.no_grad():
        weight += 1
    method.before_step(FIRST)
    torch.testing.assert_close(key.guided.gate.weight, weight.detach() - 0.9)
    mean = query.regions.mlp.norm.running_mean.clone()
    method.eval().features(batch())
    method.train()
    assert key.training
    method._keys(batch())  # a key forward alone moves the keys' statistics alone
    assert torch.equal(query.regions.mlp.norm.running_mean, mean)
    assert not torch.equal(key.regions.mlp.norm.running_mean, mean)


def test_keys_are_the_fused_embeddings_of_the_same_batch_and_carry_no_gradient():
    method = aahr().train()
    features = method.features(batch())
    torch.testing.assert_close(features["image_key"], features["image"])  # copies, no dropout
    torch.testing.assert_close(features["text_key"], features["text"])
    assert not features["image_key"].requires_grad
    assert "image_key" not in method.eval().features(batch())


def test_key_encoders_are_no_parameters():
    with_queues, without = aahr(), aahr(queue_length=0)
    counts = [sum(p.numel() for g in m.parameter_groups() for p in g.parameters) for m in (with_queues, without)]
    assert counts[0] == counts[1] == sum(p.numel() for p in without.parameters())
    assert not any(p.requires_grad for p in (*with_queues.image_keys.parameters(), *with_queues.text_keys.parameters()))


SWITCHES = [{}, {"clip": False}, {"prototypes": 0}, {"instance_graph": False}, {"queue_length": 0}]


@pytest.mark.parametrize("switches", SWITCHES)
def test_every_trained_parameter_is_in_one_group(switches):
    method = aahr(graph_lr_factor=0.5, **switches)
    groups = {group.name: group for group in method.parameter_groups()}
    grouped = [id(p) for group in groups.values() for p in group.parameters]
    assert sorted(grouped) == sorted(id(p) for p in method.parameters() if p.requires_grad)
    for name in ("prototypes", "graph"):
        assert name not in groups or (groups[name].lr_factor, groups[name].frozen_until) == (0.5, name)


def test_bert_has_a_group_of_its_own():
    sizes = {"vocab_size": 30, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
             "intermediate_size": 8}  # fmt: skip
    groups = {g.name: g for g in aahr(text=TextConfig(bert="tiny", bert_sizes=sizes)).parameter_groups()}
    assert groups["bert"].lr_factor == 0.1
    assert not {id(p) for p in groups["bert"].parameters} & {id(p) for p in groups["text"].parameters}


def last_terms(**settings):
    """The terms of the third step, when everything has begun."""
    method = aahr(**settings)
    return method, [step(method, ALL, seed)[0] for seed in range(3)][-1]


def test_without_prototypes_graph_or_queues_their_terms_are_gone():
    everything = set(last_terms()[1])
    graph = {"graph_text", "graph_image", "graph_both", "reg"}
    for switch, gone in (
        ({"prototypes": 0}, {"prototypes"}),
        ({"instance_graph": False}, graph),
        ({"queue_length": 0}, {"queue"}),
    ):
        method, terms = last_terms(**switch)
        assert everything - set(terms) == gone
        names = [name for name, _ in method.named_parameters()]
        assert not any(name.startswith(tuple(gone & {"prototypes"})) for name in names)
    assert last_terms(instance_graph=False)[0].graph is None
    assert not any("keys" in name for name in last_terms(queue_length=0)[0].state_dict())


def test_without_convolutions_the_graph_changes_and_the_base_does_not():
    full, ablated = last_terms()[1], last_terms(graph_convolutions=False)[1]
    assert ablated["graph_both"] != full["graph_both"]
    assert ablated["reg"] == full["reg"]


def test_without_clip_nothing_of_it_is_read():
    method, whole = aahr(clip=False, clip_dim=None).eval(), batch()
    assert method.inputs().image_sidecars == method.inputs().text_sidecars == ()
    assert not method.extra_pretraining
    whole.images.sidecars.clear()
    assert method.embed_images(whole.images).norm(dim=1).tolist() == pytest.approx([1.0] * B)
    full = aahr()
    assert (full.inputs().image_sidecars, full.inputs().text_sidecars) == (("clip_images",), ("clip_texts",))
    assert full.extra_pretraining


@torch.no_grad()
def test_clip_vectors_reach_the_embeddings_raw():
    method, whole = aahr().eval(), batch()
    images, texts = method.embed_images(whole.images), method.embed_texts(whole.texts)
    whole.images.sidecars[CLIP_IMAGES][:] *= 5  # their length counts: it is not taken away
    assert not torch.allclose(method.embed_images(whole.images), images, atol=1e-4)
    assert torch.equal(method.embed_texts(whole.texts), texts)


def test_sum_and_gate_are_different_fusions():
    whole = batch()
    gated, summed = aahr().eval(), aahr(fusion="sum").eval()
    assert not torch.allclose(gated.embed_texts(whole.texts), summed.embed_texts(whole.texts), atol=1e-3)
    assert not any("gate" in name for name, _ in summed.named_parameters())


def test_the_graph_and_the_queues_see_what_was_not_fused():
    method, ids = aahr(queue_length=B).train(), torch.arange(B)
    step(method)
    features = method.train().features(batch())
    terms = method.objective(features, ids, ALL)
    changed = {**features, "image": torch.rand(B, D)}
    other = method.objective(changed, ids, ALL)
    same = {name: terms[name].item() == other[name].item() for name in terms}
    assert same == {name: name not in ("base", "prototypes", "total") for name in terms}


def test_terms_stay_float32_and_finite_under_autocast():
    method = aahr().train()
    for seed in range(3):
        method.before_step(ALL)
        with torch.autocast("cpu", torch.bfloat16):
            terms = method(batch(seed), ALL)
        method.after_step(ALL)
        assert all(value.dtype == torch.float32 and value.isfinite() for value in terms.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"heads": 5}, "heads=5 does not divide"), ({"clip_dim": None}, "clip_dim"), ({"region_dim": None}, "region_dim")],
)
def test_sizes_that_do_not_work_are_refused(settings, message):
    with pytest.raises(MethodError, match=message):
        aahr(**settings)


def test_an_official_checkpoint_brings_sizes_and_the_released_padding_and_keys_begin_as_its_copies():
    tiny = AAHRConfig(text=TextConfig(bert="tiny", bert_sizes={"num_attention_heads": 2}))
    method = import_checkpoint(CHECKPOINT, AAHR, tiny)
    config = method.config
    assert (config.embed_size, config.region_dim, config.clip_dim) == (32, 24, 512)
    assert (config.heads, config.pool_heads, config.prototypes, config.queue_length) == (8, 8, 10, 24)
    assert (config.attention_padding, config.cutoff, config.topk, config.dropout) == ("released", 1.7, 5, 0.0)
    for query, key in ((method.image_encoder, method.image_keys), (method.text_encoder, method.text_keys)):
        state = query.state_dict()
        assert state.keys() == key.state_dict().keys()
        assert all(torch.equal(value, state[name]) for name, value in key.state_dict().items())


def test_an_imported_checkpoint_is_scored_and_its_key_encoders_are_not_counted(
    tmp_path, tiny_bert, accelerator, quiet, monkeypatch
):
    """24 numbers per region, CLIP vectors of 512; its BERT has two heads, which leave no trace in a checkpoint."""
    monkeypatch.setattr(official, "HEAD_SIZE", 24)
    write_f30k(tmp_path / "data", dim=24, vectors=512)
    job = RunOptions("aahr", "f30k", tmp_path / "data", overrides={"text.bert": str(tiny_bert)}, output=tmp_path)
    metrics = evaluate_checkpoint(job, CHECKPOINT, accelerator, quiet)
    (record,) = read_records(tmp_path / "results" / "local")
    assert record.metrics == metrics
    assert {"imported", "selected_on_test", "extra_pretraining"} <= set(record.flags)
    assert record.features == "BUTD region + CLIP ViT-B/32"
    assert record.recipe["attention_padding"] == "released"
    method = import_checkpoint(CHECKPOINT, AAHR, AAHRConfig(text=TextConfig(bert=str(tiny_bert))))
    assert record.parameters == sum(p.numel() for group in method.parameter_groups() for p in group.parameters)
    write_f30k(tmp_path / "data", dim=24, vectors=100)
    with pytest.raises(MethodError, match="CLIP vectors of 512 numbers, the data's have 100"):
        evaluate_checkpoint(job, CHECKPOINT, accelerator, quiet)


def recipe(dataset):
    entry = find_method("aahr")
    return resolve(entry.method, entry.name, dataset, file=entry.recipe)


def test_the_papers_recipe():
    f30k, coco = recipe("f30k"), recipe("coco")
    assert (f30k.train.epochs, f30k.train.batch_size, f30k.optim.lr, f30k.optim.decay_epochs) == (
        40,
        128,
        5e-4,
        (15, 25),
    )
    assert (f30k.config.prototypes, f30k.config.mask_weight, f30k.config.cutoff) == (384, 1.0, 1.7)
    assert (coco.train.batch_size, coco.config.prototypes, coco.config.mask_weight) == (256, 768, 1.5)
    assert (coco.config.cutoff, coco.config.queue_length, coco.config.text.bert) == (1.9, 2048, "bert-base-uncased")
    assert f30k.phases["graph"].step == coco.phases["graph"].step == 8000
    assert f30k.phases["prototypes"].step == 2201  # counts from 0: the first step beyond 2200
    assert f30k.config.attention_padding == "masked"
    assert not f30k.train.sort_by_length


def test_demo_gives_every_phase_the_share_of_steps_that_flickr30k_gives_it():
    full, small = recipe("f30k"), recipe("demo")
    full_steps = 145_000 // full.train.batch_size * full.train.epochs
    per_epoch = 5000 // small.train.batch_size
    steps = per_epoch * small.train.epochs
    for phase in AAHR.phases:
        share = 1 - small.phases[phase].first_step(per_epoch, small.train.epochs) / steps
        assert share == pytest.approx(1 - full.phases[phase].step / full_steps, abs=0.01)
    assert small.config.queue_length / small.train.batch_size < 0.05 * steps  # the queues are full
    assert small.config.text.bert is None


def test_tables_name_clip_beside_the_regions():
    assert AAHR.features_label(recipe("coco").config, "BUTD region") == "BUTD region + CLIP ViT-B/32"
    assert AAHR.features_label(recipe("demo").config, "drawn region") == "drawn region + CLIP"
    assert AAHR.features_label(AAHRConfig(clip=False), "BUTD region") == "BUTD region"


RUN = {
    "embed_size": 32,
    "train.batch_size": 8,
    "train.epochs": 3,
    "prototypes": 5,
    "queue_length": 48,
    "phases.prototypes.step": 2,
    "phases.graph.step": 5,
}


@pytest.mark.parametrize("dataset", ["f30k", "coco"])
def test_a_run_passes_through_all_phases(dataset, tmp_path, tiny_bert, accelerator, quiet):
    write_f30k(tmp_path / "data", vectors=6)
    write_coco(tmp_path / "data", vectors=6)
    overrides = {**RUN, "text.bert": str(tiny_bert)}
    job = RunOptions("aahr", dataset, data_root=tmp_path / "data", output=tmp_path, overrides=overrides)
    (record,) = run(job, [0], accelerator, quiet)
    assert record.first_steps == {"prototypes": 2, "graph": 5}
    assert record.recipe["clip_dim"] == 6
    assert record.skipped_steps == 0
    assert all(math.isfinite(epoch.loss) for epoch in record.history)
    assert "extra_pretraining" in record.flags
    assert record.selection == "dev"
    assert set(record.metrics) == ({"f30k-1k"} if dataset == "f30k" else {"coco-1k", "coco-5k"})


def test_vsd_can_be_put_on_it(tmp_path, accelerator, quiet):
    """Sentence vectors are as wide as the embeddings; keys and queues go on in the host."""
    write_f30k(tmp_path / "data", vectors=32)
    host = {name: value for name, value in RUN.items() if not name.startswith(("train", "phases"))}
    overrides = {name: value for name, value in RUN.items() if name.startswith(("train", "phases"))}
    overrides |= {f"host.{name}": value for name, value in host.items()}
    overrides |= {"text.bert": None, "text.word_dim": 16, "prototypes": 6}
    job = RunOptions("vsd:aahr", "f30k", data_root=tmp_path / "data", output=tmp_path, overrides=overrides)
    (record,) = run(job, [0], accelerator, quiet)
    assert record.first_steps["graph"] == 5
    assert record.skipped_steps == 0


def bigru(root, output):
    overrides = {**RUN, "text": {"bert": None, "word_dim": 16}}
    return RunOptions("aahr", "f30k", data_root=root, output=output, overrides=overrides)


def test_a_resumed_run_ends_with_the_same_bits(tmp_path, accelerator, quiet, monkeypatch):
    """Stopped while the queues fill, and when they are full and written in their middle."""
    write_f30k(tmp_path / "data", vectors=6)
    (whole,) = run(bigru(tmp_path / "data", tmp_path / "whole"), [0], accelerator, quiet)
    for stop_at in (2, 6, 9):
        interrupt_after(monkeypatch, stop_at)
        with pytest.raises(Interrupted):
            run(bigru(tmp_path / "data", tmp_path / "parts"), [0], accelerator, quiet)
        monkeypatch.undo()
    (resumed,) = run(bigru(tmp_path / "data", tmp_path / "parts"), [0], accelerator, quiet)
    assert "goes on" in quiet.file.getvalue()
    assert resumed.metrics == whole.metrics
    assert resumed.history == whole.history
    scores = [
        read_details(r, tmp_path / where / "results" / "local")["f30k-1k"].i2t_scores
        for r, where in ((whole, "whole"), (resumed, "parts"))
    ]
    assert scores[0].tobytes() == scores[1].tobytes()
    states = [saved_state(tmp_path / where) for where in ("whole", "parts")]
    assert states[0].keys() == states[1].keys()
    assert {"queues.image", "queues.written", "image_keys.regions.mlp.norm.running_mean"} <= states[0].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert states[0]["queues.written"] == 8 * whole.steps


def saved_state(output):
    from safetensors.torch import load_file

    newest = sorted(output.glob("runs/*/checkpoints/step-*"))[-1]
    return load_file(newest / "model.safetensors")


def test_data_without_clip_vectors_is_refused_with_the_files_that_are_missing(tmp_path, accelerator, quiet):
    write_f30k(tmp_path / "data")
    with pytest.raises(DataError, match=r"train_clip_\*_ims\.npy"):
        run(bigru(tmp_path / "data", tmp_path), [0], accelerator, quiet)


def test_clip_vectors_of_two_models_are_refused(tmp_path, accelerator, quiet):
    write_f30k(tmp_path / "data", vectors=6)
    folder = tmp_path / "data" / "f30k" / "precomp"
    other = write_f30k(tmp_path / "other", vectors=7)
    for path in other.glob("*_clip_tiny_caps.npy"):
        (folder / path.name).write_bytes(path.read_bytes())
    with pytest.raises(MethodError, match="images have 6 numbers, those of the captions 7"):
        run(bigru(tmp_path / "data", tmp_path), [0], accelerator, quiet)
