"""Zero-shot transfer: a checkpoint on another data set than that of its training, and the table of such records."""

import json

import numpy as np
import pytest
import torch

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.build import write_leaderboard
from itm_harness.benchmarks.leaderboard.transfer import CROSS_DOMAIN, make_page, read_cross_domain, write_transfer
from itm_harness.benchmarks.protocol.evaluate import score_split
from itm_harness.benchmarks.protocol.ranks import evaluate_matrix
from itm_harness.benchmarks.records.store import read_records
from itm_harness.benchmarks.runs.checkpoint_evaluation import evaluate_checkpoint
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.runs.run import run
from itm_harness.benchmarks.training.checkpoint import load_model
from itm_harness.datasets.split import open_split
from itm_tests.stores import Store, make_details
from itm_tests.trees import write_coco, write_f30k

SMALL = {"text.bert": None, "embed_size": 32, "train.batch_size": 8, "train.epochs": 1}


@pytest.fixture
def data(tmp_path):
    """f30k and coco; coco's vocabulary file holds the same words with other ids."""
    root = tmp_path / "data"
    write_f30k(root)
    write_coco(root)
    path = root / "vocab" / "coco_precomp_vocab.json"
    words = [word for word, _ in sorted(json.loads(path.read_text())["word2idx"].items(), key=lambda item: item[1])]
    words = [*words[:4], *reversed(words[4:])]
    ids = {word: i for i, word in enumerate(words)}
    path.write_text(json.dumps({"word2idx": ids, "idx2word": {str(i): w for w, i in ids.items()}, "idx": len(ids)}))
    return root


@pytest.fixture
def small_f30k(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text("extends: f30k\nname: f30k\nbenchmarks: [{name: f30k-12, images: 12}]\n")
    return str(path)


@pytest.fixture
def trained(data, tmp_path, accelerator, quiet):
    """The options of a run on coco, and its checkpoint."""

    def call(method="gpo"):
        options = RunOptions(method, "coco", data, overrides=SMALL, output=tmp_path / "coco")
        (record,) = run(options, [3], accelerator, quiet)
        return options, tmp_path / "coco" / "runs" / record.id / "best.safetensors"

    return call


def test_our_checkpoint_is_filed_as_transfer_with_the_words_of_its_training(
    trained, data, small_f30k, tmp_path, accelerator, quiet
):
    options, checkpoint = trained()
    there = RunOptions("gpo", small_f30k, data, output=tmp_path)
    metrics = evaluate_checkpoint(there, checkpoint, accelerator, quiet, "coco")
    (record,) = read_records(tmp_path / "results" / "local")
    assert record.metrics == metrics
    assert set(record.flags) == {"transfer"}
    assert (record.dataset, record.recipe["trained_on"], record.seed) == ("f30k", "coco", 3)
    assert (record.selection, record.variant) == ("dev", "gpo")
    job = Job(options)
    method = job.build(3)
    load_model(checkpoint, method)
    test = open_split(
        Job(RunOptions("gpo", small_f30k, data, overrides=SMALL)).dataset, "test", method.inputs(), job.vocabulary
    )
    similarity = score_split(method, test, 7, torch.device("cpu"))
    assert metrics["f30k-12"].t2i.mean == pytest.approx(evaluate_matrix(similarity, test.image_of_text).t2i.mean)


def test_it_never_stands_in_the_leaderboard(trained, data, small_f30k, tmp_path, accelerator, quiet):
    _, checkpoint = trained()
    evaluate_checkpoint(RunOptions("gpo", small_f30k, data, output=tmp_path), checkpoint, accelerator, quiet)
    (path,), problems = write_leaderboard(tmp_path / "results" / "local")
    assert problems == []
    assert "f30k-12" not in path.read_text()
    page, _ = write_transfer(tmp_path / "results" / "local")
    text = page.read_text()
    assert "## f30k-12" in text
    page.unlink()
    assert write_transfer(tmp_path / "results" / "local")[0].read_text() == text


def test_the_data_set_of_the_training_is_checked_and_at_home_nothing_is_filed(
    trained, data, small_f30k, tmp_path, accelerator, quiet
):
    options, checkpoint = trained()
    there = RunOptions("gpo", small_f30k, data, output=tmp_path)
    with pytest.raises(RunError, match="was trained on coco, not on f8k: use --train-dataset coco"):
        evaluate_checkpoint(there, checkpoint, accelerator, quiet, "f8k")
    home = RunOptions("gpo", "coco", data, output=tmp_path)
    evaluate_checkpoint(home, checkpoint, accelerator, quiet, "coco")
    evaluate_checkpoint(home, checkpoint, accelerator, quiet)
    assert not (tmp_path / "results").exists()
    assert options.dataset == "coco"


def test_precomputed_ids_of_the_other_data_are_not_read(trained, data, small_f30k, tmp_path, accelerator, quiet):
    """They are ids of its own vocabulary."""
    _, checkpoint = trained("gsmn")
    there = RunOptions("gsmn", small_f30k, data, output=tmp_path)
    before = evaluate_checkpoint(there, checkpoint, accelerator, quiet)
    folder = data / "f30k" / "precomp"
    (folder / "test_precaps_stan.txt").write_text("1,5,2\n" * 60)
    after = evaluate_checkpoint(there, checkpoint, accelerator, quiet)
    assert after["f30k-12"] == before["f30k-12"]


# The table


def add(store, skill, **changes):
    values = {
        "flags": ["transfer"], "recipe": {"trained_on": "coco"}, "dataset": "f30k", "weights": "0123456789abcdef",
        "code_hash": "older",
    }  # fmt: skip
    return store.add(skill, benchmarks=("f30k-1k",), **{**values, **changes})


def shown(store):
    page = make_page(store.records, read_cross_domain())
    return {s.title: (s.intro, texts(s.tables[0])) for s in page.sections}


def texts(table):
    """Every cell as text."""
    return [[c.text(v) for c, v in zip(table.columns, row, strict=True)] for row in table.rows]


def test_rows_stand_by_rsum_with_where_they_are_from():
    store = Store()
    add(store, 0.4, seed=0)
    add(store, 0.5, seed=1, flags=["transfer", "imported"], method="hrem", variant="fusion")
    add(store, 0.9, flags=["transfer", "limited"], limit=10, seed=5)
    store.add(0.8)
    _, rows = shown(store)["f30k-1k"]
    assert [(row[0], row[1], row[2], row[-2], row[-1]) for row in rows] == [
        ("hrem fusion (imported)", "coco", "1", "300.0", "01234567"),
        ("gpo", "coco", "0", "240.0", "01234567"),
    ]


def test_published_rows_are_those_of_the_file():
    sections = shown(Store())
    assert list(sections) == ["N24News", "RSITMD"]
    intro, rows = sections["RSITMD"]
    assert intro == "No run has been recorded."
    assert rows[0] == ["CLIP+VSD dagger", "18.4", "34.7", "44.2", "18.5", "41.1", "55.5", "212.4",
                       "VSD cross-domain table"]  # fmt: skip
    store = Store()
    details = make_details(0.5)
    told = {"flags": ["transfer"], "recipe": {"trained_on": "coco"}, "weights": "0123456789abcdef"}
    store.add_details({"rsitmd-test": details}, dataset="rsitmd", **told)
    page = make_page(store.records, read_cross_domain())
    assert [section.title for section in page.sections] == ["rsitmd-test", "N24News"]
    assert [table.title for table in page.sections[0].tables] == ["Measured", "Published"]
    assert texts(page.sections[0].tables[1])[0][0] == "CLIP+VSD dagger"
    assert page.sections[0].intro == "40 images, 200 captions."


def test_printed_rsums_are_the_sums_of_their_recalls():
    differences = [round(p.rsum - sum(p.recalls), 1) for p in read_cross_domain()]
    assert np.abs(differences).max() <= 0.1


def test_a_damaged_file_and_a_damaged_record_are_named(tmp_path):
    (tmp_path / "cross.csv").write_text(CROSS_DOMAIN.read_text().replace("48.3", "many"))
    with pytest.raises(RunError, match=r"cross\.csv.*restore"):
        read_cross_domain(tmp_path / "cross.csv")
    store = Store()
    add(store, 0.5)
    (path,) = store.write(tmp_path)
    path.write_text("{")
    page, problems = write_transfer(tmp_path)
    assert path.name in problems[0]
    assert "RSITMD" in page.read_text()
