"""bench: real shapes through the real readers, records that add up, a page of them, and few packages needed."""

import dataclasses
import json
import subprocess
import sys
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from itm_harness.benchmarks.bench import gallery, measure, rates, shapes, steps
from itm_harness.benchmarks.bench.measure import BenchOptions, chosen_methods
from itm_harness.benchmarks.bench.page import page, shown_number, write_page
from itm_harness.benchmarks.bench.record import read_bench, write_bench
from itm_harness.benchmarks.bench.references.batches import reference_batch
from itm_harness.benchmarks.bench.references.ranks import reference_ranks
from itm_harness.benchmarks.bench.shapes import draw_lengths
from itm_harness.benchmarks.bench.synthetic import synthetic_split
from itm_harness.benchmarks.commands.app import app
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.protocol.ranks import rank_matrix
from itm_harness.datasets.augment import Augmentation
from itm_harness.datasets.batch import Inputs, WordPieces
from itm_harness.datasets.draws import Draws
from itm_harness.methods.registry import find_method, method_names

NOT_NEEDED = ("typer", "rich", "pandas", "accelerate", "nltk", "tabulate", "open_clip", "jinja2")
ALL = Inputs(text=WordPieces("bert-base-uncased"), image_sidecars=("boxes",), text_sidecars=("factual_entities",))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Shapes that take no time."""
    tiny = dataclasses.replace(shapes.SHAPES["f30k"], regions=5, region_dim=8)
    monkeypatch.setitem(shapes.SHAPES, "f30k", tiny)
    monkeypatch.setitem(rates.MATRIX, "cpu", 32)
    monkeypatch.setitem(rates.COPIED, "cpu", 1 << 12)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    monkeypatch.setattr(measure, "BERT", sizes)


TINY = BenchOptions(batch=4, images=4, steps=1)


@pytest.fixture
def record():
    return measure.measure("clip", TINY)


@pytest.mark.parametrize("name", method_names())
def test_every_method_is_measured_in_every_phase(name):
    options = dataclasses.replace(TINY, plain=name in ("gpo", "gsmn"))
    found = measure.measure(name, options)
    assert found.step_times
    assert found.features == ("none" if name == "clip" else "float32 on cpu")
    for one in found.step_times:
        assert set(one.phase_milliseconds) == {"data", "encode", "loss", "backward", "optimiser"}
        assert all(value > 0 for value in one.phase_milliseconds.values())
        assert one.samples_per_second == pytest.approx(1000 * 4 / one.milliseconds)
        assert one.matrix_share == pytest.approx(1000 * one.operations / one.milliseconds / found.matrix_rate)
        assert (one.plain_milliseconds is not None) == options.plain
    assert (found.gallery.images, found.gallery.texts) == (4, 20)
    assert found.gallery.results_seconds > 0
    assert (found.steps, found.warm_up) == (1, measure.WARM_UP["cpu"])
    assert found.recipe_hours > 0
    assert found.parameters > 0


@pytest.mark.parametrize("name", method_names())
def test_losses_are_float32_outside_autocast(name, monkeypatch):
    kind, seen = find_method(name, measure.VARIANTS.get(name)).method, []
    original = kind.objective

    def watched(method, features, ids, progress):
        floats = [value for value in features.values() if value.is_floating_point()]
        terms = original(method, features, ids, progress)
        seen.append({value.dtype for value in [*floats, *terms.values()]} | {torch.is_autocast_enabled("cpu")})
        return terms

    monkeypatch.setattr(kind, "objective", watched)
    measure.measure(name, dataclasses.replace(TINY, precision="bf16", plain=False))
    assert seen
    assert all(found == {torch.float32, False} for found in seen)


def test_operations_are_those_of_the_matrix_products(record):
    (one,) = record.step_times
    d, n = record.embed_size, record.batch
    projections = 2 * 2 * (2 * n * d * d)  # two sides, forward and the weight's gradient: the input has none
    similarity = 3 * (2 * n * n * d)
    assert one.operations == projections + similarity


def test_a_guest_is_measured_on_a_host_of_its_own():
    options = dataclasses.replace(TINY, text="bigru", plain=False)
    assert measure.measure("vsd:hrem", options).variant == "hrem-dagger"


def test_text_encoders_are_chosen():
    assert measure.measure("gpo", dataclasses.replace(TINY, text="bigru", plain=False)).text == "BiGRU"
    assert measure.measure("gsmn", dataclasses.replace(TINY, text="bert", plain=False)).text == "BERT"


def test_features_are_half_as_large_under_bf16():
    found = measure.measure("gpo", dataclasses.replace(TINY, text="bigru", precision="bf16", plain=False))
    assert found.features == "bfloat16 on cpu"


@pytest.mark.parametrize("change", [{"dataset": "f31k"}, {"text": "gru"}, {"precision": "fp16"}, {"device": "tpu"}])
def test_what_is_not_known_is_refused(change):
    with pytest.raises(RunError, match=f"--{next(iter(change))} {next(iter(change.values()))} is not known"):
        BenchOptions(**change)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert BenchOptions(device="cuda:0").device == "cuda:0"
    with pytest.raises(RunError, match="--device cuda:1: there is no such CUDA device"):
        BenchOptions(device="cuda:1")


def test_the_command_measures_shows_and_writes_the_page(tmp_path):
    done = CliRunner().invoke(app, ["bench", "--method", "clip", "--images", "4", "--results", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert "plain step, ms" in done.output
    written = (tmp_path / "local" / "BENCHMARKS.md").read_text()
    again = CliRunner().invoke(app, ["bench", "--table", "--results", str(tmp_path)])
    assert again.exit_code == 0, again.output
    assert (tmp_path / "local" / "BENCHMARKS.md").read_text() == written == page(read_bench(tmp_path / "local"))
    assert not (tmp_path / "BENCHMARKS.md").exists()


def test_steps_before_the_clock_are_not_counted(monkeypatch):
    now, seen = [0.0], []
    monkeypatch.setattr(steps.time, "perf_counter", lambda: now[0])

    def step(batch):
        seen.append(batch)
        now[0] += 100 if len(seen) <= 3 else 2  # slow at first

    batches = iter([SimpleNamespace(to=lambda device, number=number: number) for number in range(9)])
    stepper = SimpleNamespace(method=torch.nn.Identity(), device=torch.device("cpu"), step=step)
    assert steps.seconds_per_step(stepper, batches, 4, 3) == 2
    assert seen == list(range(7))


def test_a_gpu_is_warm_before_its_gallery_is_timed(monkeypatch):
    passes = []
    monkeypatch.setattr(gallery, "synchronise", lambda device: None)
    monkeypatch.setattr(gallery, "encode_gallery", lambda *args: (None, None))
    monkeypatch.setattr(gallery, "similarity_matrix", lambda *args: passes.append(args) or torch.rand(4, 20))
    split = synthetic_split("f30k", ALL, 4)
    for device, count in (("cpu", 1), ("cuda", 2)):
        passes.clear()
        gallery.time_gallery(None, split, torch.device(device), False, False)
        assert len(passes) == count


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(RunError, match="a batch of 30 needs more than 4 images"):
        measure.measure("clip", dataclasses.replace(TINY, batch=30))


def test_methods_by_name():
    assert chosen_methods("gpo, gsmn") == ["gpo", "gsmn"]
    assert chosen_methods("") == method_names()


def test_caption_lengths_are_those_of_real_captions():
    lengths = draw_lengths(20_000, np.random.default_rng(0)) - 2
    assert lengths.mean() == pytest.approx(11.78, abs=0.1)  # of Flickr8k's training captions
    assert lengths.min() >= 2
    assert lengths.max() <= 38


@pytest.mark.parametrize("sort_by_length", [False, True])
def test_pairs_read_singly_make_the_same_batch(sort_by_length):
    split = synthetic_split("f30k", ALL, 6)
    texts, augmentation = np.random.default_rng(1).permutation(split.n_texts)[:9], Augmentation(0.4, 0.4)
    whole = split.pairs(texts, augmentation, Draws(2, 3), sort_by_length)
    slow = reference_batch(split, texts, augmentation, Draws(2, 3), sort_by_length)
    for side in ("images", "texts"):
        first, second = vars(getattr(whole, side)), vars(getattr(slow, side))
        torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_ranks_by_counting_are_ranks_by_sorting():
    similarity = torch.randn(12, 60, generator=torch.Generator().manual_seed(0))
    owner = torch.arange(12).repeat_interleave(5)
    ranks = rank_matrix(similarity, owner)
    i2t, t2i = reference_ranks(similarity.numpy(), owner.numpy())
    assert ranks.i2t.tolist() == i2t.tolist()
    assert ranks.t2i.tolist() == t2i.tolist()


def test_records_come_back_and_give_the_same_page_each_time(record, tmp_path):
    path = write_bench(record, tmp_path)
    assert write_bench(record, tmp_path) == path
    assert read_bench(tmp_path) == [record]
    first = write_page(tmp_path).read_bytes()
    assert write_page(tmp_path).read_bytes() == first == page([record]).encode()


def test_the_page_shows_what_was_measured_and_leaves_gpu_numbers_empty(record):
    text = page([record])
    (one,) = record.step_times
    assert f"{one.plain_milliseconds / one.milliseconds:.1f}" in text
    assert record.hardware.cpu in text
    assert record.created.date().isoformat() in text
    assert "GPU: not measured" in text
    on_gpu = record.model_copy(update={"hardware": record.hardware.model_copy(update={"device": "NVIDIA H200"})})
    assert "GPU: not measured" not in page([record, on_gpu])
    assert "## NVIDIA H200: f30k, fp32" in page([record, on_gpu])


@pytest.mark.parametrize(
    ("value", "shown"), [(2119.7, "2120"), (99.64, "99.6"), (8.125, "8.12"), (0.0314, "0.0314"), (0.0, "0")]
)
def test_numbers_have_three_digits(value, shown):
    assert shown_number(value) == shown


def test_a_damaged_record_is_named(record, tmp_path):
    path = write_bench(record, tmp_path)
    path.write_text("{}")
    with pytest.raises(RunError, match=path.name):
        read_bench(tmp_path)


def test_it_runs_where_few_packages_are_installed(tmp_path):
    code = (
        "import sys, runpy\n"
        f"sys.modules.update(dict.fromkeys({NOT_NEEDED}))\n"  # None: importing it fails
        "runpy.run_module('itm_harness.benchmarks.bench', run_name='__main__', alter_sys=True)"
    )
    arguments = ["--method", "clip", "--steps", "1", "--images", "4", "--output", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "bench").iterdir()
    assert json.loads(path.read_text())["method"] == "clip"


def test_every_path_gets_the_same_batches(monkeypatch):
    """A step takes as long as the longest caption of its batch: other batches would be another measurement."""
    settings = []
    monkeypatch.setattr(measure._Setting, "phase_sets", lambda self: settings.append(self) or [])
    measure.measure("gpo", dataclasses.replace(TINY, text="bigru"))
    (setting,) = settings
    per_epoch = setting.held.n_texts // setting.batch
    pairs = zip(islice(setting._endless(), per_epoch + 2), setting._one_by_one(), strict=False)
    for number, (fast, plain) in enumerate(pairs):
        assert torch.equal(fast.texts.words, plain.texts.words)
        assert torch.equal(fast.images.regions, plain.images.regions)
        if number < per_epoch:
            assert torch.equal(setting._pairs(number).texts.words, fast.texts.words)
