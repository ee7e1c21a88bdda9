"""The command line as a user types it: what it prints, and one sentence with exit code 2 for bad input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from itm_harness.benchmarks.commands import app as harness
from itm_tests.places import GOLDEN, ROOT
from itm_tests.stores import Store, make_details
from itm_tests.trees import write_coco, write_f30k

SMALL = ["--set", "text.bert=null", "--set", "embed_size=32", "--set", "train.batch_size=8", "--epochs", "2"]


@pytest.fixture
def command(monkeypatch, capsys):
    """Run a command in this process: (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["harness.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            harness.main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, " ".join(captured.err.split())

    return call


@pytest.fixture
def data(tmp_path):
    write_f30k(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def run(command, data, tmp_path):
    def call(*arguments):
        base = ["run", "--method", "gpo", "--dataset", "f30k", "--data-root", data, "--output", tmp_path / "out"]
        return command(*base, "--device", "cpu", *SMALL, *arguments)

    return call


def refused(result, *parts):
    """One sentence with all parts, exit code 2, no traceback."""
    code, out, error = result
    assert code == 2, (out, error)
    assert "Traceback" not in out + error
    for part in parts:
        assert part in error + out, (part, error + out)


def test_run_files_a_record_and_prints_its_metrics(run, tmp_path):
    code, out, _ = run("--seeds", "0,1")
    assert code == 0
    assert "f30k-1k" in out
    assert re.search(r"next:\n  itm show .+\n  itm compare .+\n  itm leaderboard .+\n$", out)
    assert out.count("next:") == 1
    assert len(list((tmp_path / "out" / "results" / "local" / "records").glob("*.json"))) == 2


@pytest.mark.parametrize("words", [["-h"], ["data", "-h"], ["data", "check", "-h"]])
def test_help_has_a_short_name(command, words):
    code, out, _ = command(*words)
    assert code == 0
    assert "Usage: " in out
    assert "--help" in out


def test_the_version_is_that_of_the_package(command):
    written = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert command("--version") == (0, f"itm-harness {written}\n", "")


def test_the_device_of_bench_has_one_default(command):
    text = " ".join(command("bench", "--help")[1].replace("│", " ").split())
    assert "--device <str> cpu, cuda or cuda:N. [default: cpu]" in text


def test_a_terminal_without_unicode_shows_other_signs(tmp_path):
    store = Store()
    store.add(0.5)
    store.add(0.75, method="hrem")
    store.write(tmp_path)
    words = ["-m", "itm_harness.benchmarks.commands", "compare", "hrem", "gpo", "--results", str(tmp_path)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-P", *words], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "A ? B" in done.stdout


def test_dry_run_shows_recipe_sources_and_memory_and_trains_nothing(run, tmp_path):
    code, out, _ = run("--dry-run")
    assert code == 0
    assert "optim.lr" in out
    assert "--set" in out
    assert "expected memory" in out
    assert not (tmp_path / "out").exists()


def test_dry_run_names_every_missing_file(run, data):
    (data / "f30k" / "precomp" / "dev_ims.npy").unlink()
    (data / "f30k" / "precomp" / "train_caps.txt").unlink()
    refused(run("--dry-run"), "optim.lr", "dev_ims.npy", "train_caps.txt")
    refused(run(), "dev_ims.npy", "train_caps.txt")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--method", "gpoo"], ["gpoo", "did you mean 'gpo'"]),
        (["--dataset", "f30"], ["f30", "did you mean 'f30k'"]),
        (["--variant", "vsep"], ["vsep", "did you mean 'vsepp'"]),
        (["--set", "optim.lrr=1"], ["optim.lrr", "did you mean 'optim.lr'"]),
        (["--set", "optim.lr"], ["key=value"]),
        (["--set", "optim.lr=fast"], ["optim.lr", "fast"]),
        (["--set", "phases.max_violation.epok=1"], ["phases.max_violation", "epok"]),
        (["--seeds", "a,b"], ["--seeds a,b"]),
        (["--precision", "fp8"], ["fp8", "bf16"]),
        (["--device", "cuda"], ["no such CUDA device"]),
        (["--device", "gpu"], ["--device gpu", "cuda:N"]),
        (["--seeds", "-1"], ["--seeds -1"]),
        (["--set", "optim.lr=[1"], ["optim.lr=[1"]),
        (["--set", "region_dim=64"], ["regions of 64 numbers", "f30k has 16"]),
        (["--data-root", "nowhere"], ["nowhere", "--data-root"]),
        (["--method", "missing.py"], ["missing.py", "does not exist"]),
        (["--dataset", "missing.yaml"], ["missing.yaml", "does not exist"]),
        (["--set", "text.bert=nowhere/bert"], ["nowhere/bert", "text.bert"]),
    ],
)
def test_a_wrong_word_is_refused_with_what_to_do(run, arguments, parts):
    refused(run(*arguments), *parts)


def break_features(folder):
    (folder / "train_ims.npy").write_bytes((folder / "train_ims.npy").read_bytes()[:-100])


def integer_features(folder):
    np.save(folder / "train_ims.npy", np.zeros((12, 6, 16), np.int64))


def nan_features(folder):
    features = np.load(folder / "train_ims.npy")
    features[3] = np.nan
    np.save(folder / "train_ims.npy", features)


def lost_caption(folder):
    lines = (folder / "train_caps.txt").read_text().splitlines()
    (folder / "train_caps.txt").write_text("\n".join(lines[:-1]) + "\n")
    (folder / "train_ids.txt").unlink()


def empty_caption(folder):
    lines = (folder / "train_caps.txt").read_text().splitlines()
    lines[7] = ""
    (folder / "train_caps.txt").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (break_features, ["train_ims.npy"]),
        (integer_features, ["train_ims.npy", "int64"]),
        (nan_features, ["train_ims.npy", "not finite"]),
        (lost_caption, ["train_caps.txt", "59"]),
        (empty_caption, ["train_caps.txt", "8"]),
    ],
)
def test_damaged_data_is_named_and_leaves_no_record(run, data, tmp_path, damage, parts):
    damage(data / "f30k" / "precomp")
    refused(run(), *parts)
    assert not (tmp_path / "out" / "results").exists()


def test_an_unwritable_output_is_named(run, tmp_path):
    (tmp_path / "out").write_text("a file where a folder should be")
    refused(run(), "out", "--output")


def test_a_similarity_matrix_of_any_system(command, tmp_path):
    similarity = np.random.default_rng(0).standard_normal((1000, 5000)).astype(np.float32)
    similarity[np.arange(5000) // 5, np.arange(5000)] += 4
    np.save(tmp_path / "sims.npy", similarity)
    code, out, _ = command("evaluate", "--similarity", tmp_path / "sims.npy", "--benchmark", "f30k-1k", "--json")
    assert code == 0
    metrics = json.loads(out)["f30k-1k"]
    own = similarity[np.arange(5000) // 5, np.arange(5000)]
    ranks = (similarity >= own).sum(axis=0) - 1
    assert metrics["t2i"]["r1"] == pytest.approx(100 * np.mean(ranks < 1))
    assert metrics["n_texts"] == 5000
    code, out, _ = command("evaluate", "--similarity", tmp_path / "sims.npy", "--benchmark", "f30k-1k")
    assert code == 0
    assert f"{metrics['rsum']:.1f}" in out


def test_a_wrong_similarity_matrix_is_refused(command, tmp_path):
    path = tmp_path / "sims.npy"
    np.save(path, np.zeros((5000, 1000), np.float32))
    refused(command("evaluate", "--similarity", path, "--benchmark", "f30k-1k"), "5000 x 1000", "1000 images")
    refused(command("evaluate", "--similarity", path, "--benchmark", "f30k-2k"), "did you mean 'f30k-1k'")
    refused(command("evaluate", "--similarity", path), "--benchmark")
    np.save(path, np.full((1000, 5000), np.nan, np.float32))
    refused(command("evaluate", "--similarity", path, "--benchmark", "f30k-1k"), "NaN")
    path.write_bytes(b"no array")
    refused(command("evaluate", "--similarity", path, "--benchmark", "f30k-1k"), "sims.npy")
    refused(command("evaluate", "--similarity", tmp_path / "none.npy", "--benchmark", "f30k-1k"), "none.npy")


def test_a_pickled_matrix_is_never_executed(command, tmp_path):
    class Bomb:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    np.save(tmp_path / "sims.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    refused(command("evaluate", "--similarity", tmp_path / "sims.npy", "--benchmark", "f30k-1k"), "sims.npy")
    assert not (tmp_path / "executed").exists()


def test_our_own_checkpoint_scores_as_its_record_says(run, command, data, tmp_path):
    run()
    (record,) = (tmp_path / "out" / "results" / "local" / "records").glob("*.json")
    (best,) = (tmp_path / "out" / "runs").glob("*/best.safetensors")
    base = ["evaluate", "--method", "gpo", "--dataset", "f30k", "--data-root", data, "--device", "cpu"]
    code, out, _ = command(*base, "--checkpoint", best, "--output", tmp_path / "elsewhere", "--json")
    assert code == 0
    expected = json.loads(record.read_text())["metrics"]
    assert json.loads(out) == expected
    refused(command(*base[:2], "hrem", *base[3:], "--checkpoint", best), "gpo", "--method")
    refused(command(*base, "--checkpoint", best, "--set", "margin=0.1"), "margin", "brings its recipe along")
    write_f30k(data, dim=24)
    refused(command(*base, "--checkpoint", best), "regions of 16 numbers", "f30k has 24")


def test_an_official_checkpoint_is_scored_and_filed_as_imported(command, tmp_path):
    """The golden checkpoint of the official GPO with BiGRU: 24 numbers per region, 119 words and <mask>."""
    write_f30k(tmp_path / "data", dim=24)
    names = ["<pad>", "<start>", "<end>", "<unk>", *(f"word{i}" for i in range(115))]
    ids = {name: i for i, name in enumerate(names)}
    vocabulary = tmp_path / "data" / "vocab" / "f30k_precomp_vocab.json"
    vocabulary.write_text(json.dumps({"word2idx": ids, "idx2word": {}, "idx": len(ids)}))
    base = ["evaluate", "--method", "gpo", "--variant", "bigru", "--dataset", "f30k", "--data-root", tmp_path / "data"]
    base += ["--checkpoint", GOLDEN / "gpo" / "bigru-regions" / "checkpoint.pth", "--device", "cpu"]
    code, out, error = command(*base, "--output", tmp_path / "out", "--json")
    assert code == 0, error
    (path,) = (tmp_path / "out" / "results" / "local" / "records").glob("*.json")
    record = json.loads(path.read_text())
    assert "imported" in record["flags"]
    assert record["recipe"]["region_dim"] == 24
    assert record["metrics"] == json.loads(out)
    del ids["word114"]
    vocabulary.write_text(json.dumps({"word2idx": ids, "idx2word": {}, "idx": len(ids)}))
    refused(command(*base, "--output", tmp_path / "out"), "knows 120 words", "119", "f30k_precomp_vocab.json")


def test_a_checkpoint_that_is_none(command, data, tmp_path):
    base = ["evaluate", "--method", "gpo", "--dataset", "f30k", "--data-root", data, "--device", "cpu"]
    (tmp_path / "model_best.pth").write_bytes(b"nothing")
    refused(command(*base, "--checkpoint", tmp_path / "model_best.pth"), "model_best.pth")
    refused(command(*base, "--checkpoint", tmp_path / "none.pth"), "none.pth")
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "model_best.pth")  # a pickled module: refused, not run
    refused(command(*base, "--checkpoint", tmp_path / "model_best.pth"), "model_best.pth")


def test_leaderboard_regenerates_the_same_bytes(run, command, tmp_path):
    run()
    results = tmp_path / "out" / "results"
    assert command("leaderboard", "--results", results)[0] == 0
    first = (results / "local" / "LEADERBOARD.md").read_bytes()
    command("leaderboard", "--results", results)
    assert (results / "local" / "LEADERBOARD.md").read_bytes() == first
    refused(command("leaderboard", "--results", tmp_path / "none"), "none", "--results")


def test_tables_show_contributed_records_and_ones_own_apart(command, tmp_path):
    """What git tracks is made from contributed records alone; a user's tables show both."""
    for skill, method, folder in ((0.125, "gpo", tmp_path), (0.25, "hrem", tmp_path / "local")):
        store = Store()
        store.add(skill, method=method)
        store.write(folder)
    for arguments in ([], ["--contributed"]):
        assert command("leaderboard", "--results", tmp_path, "--format", "json", *arguments)[0] == 0
    tracked, mine = ((folder / "LEADERBOARD.json").read_text() for folder in (tmp_path, tmp_path / "local"))
    assert ('"rsum": 75' in tracked, '"rsum": 150' in tracked) == (True, False)
    assert ('"rsum": 75' in mine, '"rsum": 150' in mine) == (True, True)


def test_a_contributed_record_is_copied_and_the_tracked_tables_are_made_anew(command, tmp_path):
    store, demo = Store(), make_details(0.5, n_images=500)
    for seed in range(3):
        code = {"commit": "0123456789", "dirty": False}
        store.add_details({"demo-500": demo}, dataset="demo", seed=seed, code=code)
    store.write(tmp_path / "local")
    (tmp_path / "LEADERBOARD.csv").touch()
    ids = [record.id for record in store.records]
    refused(command("contribute", ids[0], "--results", tmp_path), "a row needs 3 seeds", "--fewer-seeds")
    code, out, error = command("contribute", *ids, "--submitter", "A. Name", "--results", tmp_path)
    assert code == 0, error
    assert "demo-500" in (tmp_path / "LEADERBOARD.csv").read_text()
    added = out[out.index("git add ") :].split()[2:]
    assert added == [
        *(str(tmp_path / "records" / f"{name}{suffix}") for name in ids for suffix in (".json", ".npz")),
        str(tmp_path / "LEADERBOARD.csv"),
    ]


def test_export_writes_what_was_asked_for(command, tmp_path):
    store = Store()
    record = store.add(benchmarks=("f30k-1k",))
    store.write(tmp_path)
    base = ["export", record.id, "--results", tmp_path, "--output", tmp_path / "out"]
    for asked in ("model-card", "mteb"):
        code, _, error = command(*base, "--format", asked)
        assert code == 0, error
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "README.md",
        "Flickr30kI2TRetrieval.json",
        "Flickr30kT2IRetrieval.json",
    }
    assert json.loads((tmp_path / "out" / "Flickr30kT2IRetrieval.json").read_text())["scores"]["test"]
    refused(command(*base, "--format", "csv"), "--format csv is not known", "model-card or mteb")


def test_leaderboard_names_a_damaged_record_and_writes_the_rest(command, tmp_path):
    store = Store()
    store.add(0.5)
    store.add(0.9, method="hrem")
    _, damaged = store.write(tmp_path)
    damaged.write_text("{")
    refused(
        command("leaderboard", "--results", tmp_path, "--format", "csv, json"),
        damaged.name,
        "valid JSON",
        "left out: 1",
    )
    assert "gpo" in (tmp_path / "local" / "LEADERBOARD.csv").read_text()
    assert json.loads((tmp_path / "local" / "LEADERBOARD.json").read_text())["benchmarks"]
    assert not list(tmp_path.rglob("LEADERBOARD.md"))
    refused(command("leaderboard", "--results", tmp_path, "--format", "htm"), "htm", "did you mean 'html'")


def test_compare_prints_differences_and_queries(command, tmp_path):
    store = Store()
    store.add(0.5)
    store.add(0.75, method="hrem")
    store.write(tmp_path)
    code, out, _ = command("compare", "hrem", "gpo", "--results", tmp_path, "--queries", 3)
    assert code == 0
    for part in ("+150.0", "exact McNemar", "images with the largest ratio", "captions with the largest ratio"):
        assert part in out
    code, out, _ = command("compare", "hrem", "gpo", "--results", tmp_path, "--queries", 3, "--json")
    assert code == 0
    found = json.loads(out)["f8k-1k"]
    assert found["quantities"][-1]["comparison"]["difference"] == pytest.approx(150)
    assert len(found["captions"]) == 3
    refused(command("compare", "hrem", "gpo-f8k-s1", "--results", tmp_path), "gpo-f8k-s1", "did you mean 'gpo-")
    store.add(0.5, method="gsmn", n_images=20)
    store.write(tmp_path)
    refused(command("compare", "hrem", "gsmn", "--results", tmp_path), "different data", "20 images")


def test_ablate_lists_runs_what_is_missing_and_writes_the_table(command, data, tmp_path):
    """Every row of a set that is named; a second time nothing runs."""
    small = tmp_path / "small.yaml"
    small.write_text("extends: f30k\nname: f30k\nbenchmarks: [{name: f30k-12, images: 12}]\n")
    base = ["ablate", "--method", "gpo", "--dataset", small, "--data-root", data, "--output", tmp_path / "out"]
    base += ["--device", "cpu", *SMALL[:-2], "--set", "train.epochs=1"]
    code, out, _ = command(*base, "--list")
    assert code == 0
    assert 'AvgPool image / GPO text: image_pooling="mean"; not recorded' in out
    assert not (tmp_path / "out").exists()
    rows = ["--rows", "GPO image / GPO text,AvgPool image / GPO text"]
    code, out, error = command(*base, *rows)
    assert code == 0, error
    assert "row 2 of 2: AvgPool image / GPO text" in out
    table = tmp_path / "out" / "results" / "local" / "ABLATIONS.md"
    first = table.read_bytes()
    assert b"## gpo on f30k" in first
    assert b"Not run: AvgPool image / CLS text" in first
    assert "row 1" not in command(*base, *rows)[1]
    table.unlink()
    assert command("ablate", "--table", "--output", tmp_path / "out")[0] == 0
    assert table.read_bytes() == first
    refused(command(*base, "--rows", "AvgPool image / GPO tex"), "did you mean 'AvgPool image / GPO text'")
    refused(command(*base, "--set", "image_pooling=mean"), "--set image_pooling")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["ablate", "--method", "hremm", "--dataset", "demo"], ["did you mean 'hrem'"]),
        (["ablate", "--method", "hrem", "--dataset", "dem", "--list"], ["did you mean 'demo'"]),
        (["ablate", "--dataset", "demo"], ["--method"]),
        (["ablate", "--method", "hrem"], ["--dataset"]),
        (["ablate", "--method", "hrem", "--dataset", "demo", "--list", "--set", "optim.lrr=1"], ["'optim.lr'"]),
        (["ablate", "--table", "--output", "nowhere"], ["nowhere", "does not exist"]),
        (["study", "gpo-pool"], ["did you mean 'gpo-pooling'"]),
        (["transfer", "--results", "nowhere"], ["nowhere", "does not exist"]),
        (["ensemble", "a", "b", "--output", "nowhere"], ["nowhere", "does not exist"]),
    ],
)
def test_a_table_of_something_unknown_is_refused(command, arguments, parts):
    refused(command(*arguments), *parts)


def test_study_prints_beside_the_paper_and_files_it(command, tmp_path, monkeypatch):
    from itm_harness.benchmarks.studies import report

    monkeypatch.setattr(report, "imitate_all", lambda training: iter([("max", dict.fromkeys(report.SIZES, 0.25))]))
    monkeypatch.setattr(report, "published_errors", lambda: {"max": dict.fromkeys(report.SIZES, 0.005)})
    code, out, _ = command("study", "gpo-pooling", "--results", tmp_path)
    assert code == 0
    assert "0.2500 (paper 0.005)" in out
    assert "0.2500" in (tmp_path / "local" / "STUDIES.md").read_text()
    assert not (tmp_path / "STUDIES.md").exists()


def test_ensemble_prints_its_metrics(run, command, data, tmp_path):
    run("--seeds", "0,1")
    ids = [path.stem for path in (tmp_path / "out" / "results" / "local" / "records").glob("*.json")]
    code, out, error = command("ensemble", *ids, "--output", tmp_path / "out", "--data-root", data, "--device", "cpu")
    assert code == 0, error
    assert "f30k-1k" in out
    (path,) = (tmp_path / "out" / "results" / "local" / "records").glob("gpo-gpo_gpo-*.json")
    assert "ensemble" in json.loads(path.read_text())["flags"]


def test_a_checkpoint_on_other_data_is_filed_as_transfer(run, command, data, tmp_path):
    run()
    (best,) = (tmp_path / "out" / "runs").glob("*/best.safetensors")
    write_coco(data)
    base = ["evaluate", "--method", "gpo", "--dataset", "coco", "--data-root", data, "--device", "cpu"]
    base += ["--checkpoint", best, "--output", tmp_path / "there"]
    refused(command(*base, "--train-dataset", "f8k"), "trained on f30k", "--train-dataset f30k")
    code, _, error = command(*base, "--train-dataset", "f30k")
    assert code == 0, error
    (path,) = (tmp_path / "there" / "results" / "local" / "records").glob("*.json")
    assert "transfer" in json.loads(path.read_text())["flags"]
    assert command("transfer", "--results", tmp_path / "there" / "results")[0] == 0


@pytest.mark.parametrize(("what", "known"), [("methods", "gpo"), ("datasets", "coco"), ("benchmarks", "coco-5k")])
def test_list(command, what, known):
    code, out, _ = command("list", what)
    assert code == 0
    assert known in out


def test_list_something_else(command):
    refused(command("list", "method"), "did you mean 'methods'")


def test_recipe_prints_each_value_with_its_source(command):
    code, out, _ = command("recipe", "--method", "gpo", "--dataset", "coco")
    assert code == 0
    assert "optim.lr" in out
    assert "0.0005" in out
    refused(command("recipe", "--method", "gpo", "--dataset", "cocoo"), "did you mean 'coco'")


def test_data_check(command, data, tmp_path):
    arguments = ["data", "check", "--dataset", tmp_path / "small.yaml", "--data-root", data]
    (tmp_path / "small.yaml").write_text("extends: f30k\nname: f30k\nbenchmarks: [{name: small, images: 12}]\n")
    code, out, _ = command(*arguments)
    assert code == 0, out
    (data / "f30k" / "precomp" / "test_ims.npy").unlink()
    refused(command(*arguments), "test_ims.npy")
    refused(command("data", "check", "--dataset", "f30k", "--data-root", data), "expects 1,000")


def test_verify_passes_on_a_golden_folder_and_fails_on_a_changed_one(command, tmp_path):
    golden = GOLDEN / "gpo" / "pooling"
    copy = tmp_path / "gpo" / "pooling"
    copy.mkdir(parents=True)
    for path in golden.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert command("verify", tmp_path)[0] == 0
    with np.load(golden / "expected.npz") as arrays:
        changed = dict(arrays)
    changed["a/pooled"] = changed["a/pooled"] + 1e-3
    np.savez(copy / "expected.npz", **changed)
    code, out, _ = command("verify", tmp_path)
    assert code == 1
    assert "a/pooled" in out
    refused(command("verify", tmp_path / "nothing"), "nothing")


def launch(arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "harness.py", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_a_signal_at_any_time_loses_nothing(data, tmp_path, number, code):
    def arguments(output):
        base = ["run", "--method", "gpo", "--dataset", "f30k", "--data-root", data, "--device", "cpu"]
        return [*base, *SMALL[:-1], "15", "--output", tmp_path / output]

    def metrics(output):
        (record,) = (tmp_path / output / "results" / "local" / "records").glob("*.json")
        return json.loads(record.read_text())["metrics"]

    process = launch(arguments("stopped"))
    wait_for(lambda: list((tmp_path / "stopped").glob("runs/*/checkpoints/step-*[0-9]")), process)
    process.send_signal(number)
    out, _ = process.communicate()
    assert process.returncode == code, out
    assert not (tmp_path / "stopped" / "results").exists()
    if code == 130:
        assert "goes on from here" in out
    whole, resumed = launch(arguments("whole")), launch(arguments("stopped"))
    assert "goes on at epoch" in resumed.communicate()[0]
    whole.communicate()
    assert metrics("stopped") == metrics("whole")


def test_a_new_data_set_from_a_csv(command, tmp_path):
    rows = ["image,caption,split", "a.jpg,one dog,train", "b.jpg,a cat,test", "b.jpg,the cat,test"]
    (tmp_path / "captions.csv").write_text("\n".join(rows))
    make = ["prepare", "--dataset", tmp_path / "mine.yaml", "--what", "layout", "--from", tmp_path / "captions.csv"]
    code, out, _ = command(*make)
    assert code == 0
    assert "mine.yaml: describes the new data set" in out
    assert (tmp_path / "mine" / "precomp" / "test_ids.txt").read_text() == "1\n1\n"
    (tmp_path / "captions.csv").write_text(rows[0] + "\n../a.jpg,one dog,train\n")
    refused(command(*make), "captions.csv, line 2: '../a.jpg' is no file name below")
    refused(command(*make[:5]), "--what layout needs what it is made of")


def test_caption_ids_of_a_matrix_belong_to_coco_5k(command, tmp_path):
    np.save(tmp_path / "sims.npy", np.zeros((4, 20), np.float32))
    asked = ["evaluate", "--similarity", tmp_path / "sims.npy", "--caption-ids", tmp_path / "ids.txt"]
    refused(command(*asked, "--benchmark", "rsitmd-test"), "belong to coco-5k")
