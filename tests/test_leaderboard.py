"""The leaderboard: rows, marks, ranks and differences, and the same bytes from the same records."""

import random
from datetime import UTC, datetime

import numpy as np
import pytest

from benchmarks.errors import RunError
from benchmarks.leaderboard import MARKS, NONE, current_code_hash, render_leaderboard, write_leaderboard
from benchmarks.published import Published
from benchmarks.records import Details, Direction, Metrics, Record, write_record

CURRENT = "code of today"
N_IMAGES, PER_IMAGE = 40, 5


def make_details(skill: float, seed: int = 0, n_images: int = N_IMAGES) -> Details:
    """Ranks of a system: the share `skill` of the queries has rank 0, the others rank 50."""
    rng = np.random.default_rng(seed)
    n_texts = n_images * PER_IMAGE
    i2t, t2i = (np.where(rng.permutation(n) < skill * n, 0, 50) for n in (n_images, n_texts))
    owner = np.repeat(np.arange(n_images), PER_IMAGE)
    return Details(i2t, t2i, owner, *(np.zeros((n, 1)) for n in (n_images, n_images, n_texts, n_texts)))


def make_metrics(details: Details, folds: int = 1) -> Metrics:
    sides = []
    for ranks in (details.i2t_ranks, details.t2i_ranks):
        r1, r5, r10 = (100 * float((ranks < k).mean()) for k in (1, 5, 10))
        sides.append(Direction(r1=r1, r5=r5, r10=r10, median=1, mean=1 + float(ranks.mean())))
    rsum = sides[0].total + sides[1].total
    sizes = {"n_images": len(details.i2t_ranks), "n_texts": len(details.t2i_ranks)}
    return Metrics(i2t=sides[0], t2i=sides[1], rsum=rsum, folds=folds, **sizes)


class Store:
    """Records and their details in memory."""

    def __init__(self) -> None:
        self.records, self.details = [], {}

    def add(self, skill: float = 0.5, benchmarks=("f8k-1k",), n_images: int = N_IMAGES, folds: int = 1, **changes):
        seed = changes.get("seed", 0)
        details = {name: make_details(skill, seed, n_images) for name in benchmarks}
        values = {
            "method": "gpo", "variant": "gpo", "dataset": "f8k", "text": "BiGRU", "features": "BUTD region", "seed": 0,
            "selection": "dev", "recipe": {"optim": {"lr": 5e-4}}, "data_fingerprint": "d", "code": {},
            "metrics": {name: make_metrics(d, folds) for name, d in details.items()}, "code_hash": CURRENT,
            "versions": {}, "hardware": {"device": "CPU", "cpu": "Some CPU", "cores": 2}, "train_seconds": 90.0,
            "total_seconds": 100.0, "peak_memory": {"host": 1}, "parameters": 12_340_000,
            "created": datetime(2026, 1, 1, tzinfo=UTC),
        }  # fmt: skip
        record = Record(**{**values, **changes})
        self.records.append(record)
        self.details[record.id] = details
        return record

    def render(self, published=(), current=CURRENT) -> str:
        return render_leaderboard(self.records, lambda r: self.details[r.id], list(published), lambda r: current)


def make_published(**changes) -> Published:
    values = {
        "method": "GPO", "setting": "", "features": "BUTD region", "text": "BiGRU", "ensemble": "0",
        "benchmark": "f8k-1k", "i2t_r1": 1, "i2t_r5": 2, "i2t_r10": 3, "t2i_r1": 4, "t2i_r5": 5, "t2i_r10": 6,
        "rsum": 290.0, "source": "a table",
    }  # fmt: skip
    return Published(**{**values, **changes})


def table(page: str, benchmark: str = "f8k-1k", title: str = "### Measured") -> list[dict[str, str]]:
    """The rows of a table of the page, by column."""
    section = page.split(f"## {benchmark}\n")[1].split(f"{title}\n\n")[1].split("\n\n")[0]
    lines = [[c.strip() for c in line.strip().strip("|").split(" | ")] for line in section.splitlines()]
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]


@pytest.fixture
def store() -> Store:
    return Store()


def test_a_row_shows_what_was_measured(store):
    store.add(0.5, seconds_per_step=0.25)
    (row,) = table(store.render())
    assert row == {
        "Rank": "1", "Method": "gpo", "Variant": "gpo", "Overrides": NONE, "Image inputs": "BUTD region",
        "Text": "BiGRU", "n": "1", **{f"{d} R@{k}": "50.0" for d in ("i2t", "t2i") for k in (1, 5, 10)},
        "rsum": "300.0", "Parameters (M)": "12.3", "Training (min)": "1.5", "Step (ms)": "250",
        "Hardware": "Some CPU, 2 cores",
    }  # fmt: skip


def test_seeds_share_a_row_with_mean_and_sample_deviation(store):
    for seed, skill in enumerate((0.5, 0.6, 0.7)):
        store.add(skill, seed=seed)
    (row,) = table(store.render())
    assert (row["n"], row["i2t R@1"], row["rsum"]) == ("3", "60.0", "360.0 ± 60.0")


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": {"optim": {"lr": 1e-3}}, "overrides": {"optim.lr": 1e-3}},
        {"variant": "max"},
        {"method": "hrem"},
        {"text": "BERT"},
        {"flags": ["gallery_score"]},
        {"flags": ["extra_pretraining"]},
        {"data_fingerprint": "other"},
    ],
)
def test_what_differs_is_a_row_of_its_own(store, change):
    store.add()
    store.add(seed=1, **change)
    assert [row["n"] for row in table(store.render())] == ["1", "1"]


def test_overrides_are_shown_short_and_without_folders(store):
    overrides = {"train.epochs": 3, "optim.decay_epochs": [1, 2], "text.bert": "../weights/bert-base"}
    store.add(recipe={}, overrides=overrides)
    (row,) = table(store.render())
    assert row["Overrides"] == "optim.decay_epochs=[1, 2], text.bert=bert-base, train.epochs=3"


def test_an_override_that_names_the_default_is_none(store):
    store.add(seed=0)
    store.add(seed=1, overrides={"optim.lr": 5e-4})
    (row,) = table(store.render())
    assert (row["n"], row["Overrides"]) == ("2", NONE)


def test_rows_that_look_alike_are_told_apart(store):
    keys = [store.add(recipe=recipe).group_key[:8] for recipe in ({"lr": 1}, {"lr": 2})]
    assert {row["Overrides"] for row in table(store.render())} == {f"{NONE} (group {key})" for key in keys}


@pytest.mark.parametrize(
    ("mark", "change"),
    [
        ("gallery_score", {"flags": ["gallery_score"]}),
        ("selected_on_test", {"flags": ["selected_on_test"], "selection": "test"}),
        ("extra_pretraining", {"flags": ["extra_pretraining"]}),
        ("simulated_inputs", {"flags": ["simulated_inputs"]}),
        ("ensemble", {"flags": ["ensemble"]}),
        ("imported", {"flags": ["imported"]}),
        ("last", {"selection": "last"}),
        ("none", {"selection": "none"}),
        ("stale", {"code_hash": "older code"}),
    ],
)
def test_marks_are_shown_and_explained(store, mark, change):
    store.add()
    store.add(seed=1, method="marked", **change)
    page, (symbol, meaning) = store.render(), MARKS[mark]
    assert {row["Method"] for row in table(page)} == {"gpo", f"marked {symbol}"}
    assert f"{symbol} {meaning}." in page
    others = {s for s, _ in MARKS.values()} - {symbol}
    assert not [s for s in others if s in page]


def test_a_row_is_stale_if_one_of_its_runs_is(store):
    store.add(seed=0)
    store.add(seed=1, code_hash="older code")
    (row,) = table(store.render())
    assert row["Method"] == f"gpo {MARKS['stale'][0]}"


def test_code_that_is_not_here_is_marked(store):
    store.add()
    (row,) = table(store.render(current=None))
    assert row["Method"] == f"gpo {MARKS['unchecked'][0]}"


@pytest.mark.parametrize("change", [{"flags": ["limited"], "limit": 10}, {"flags": ["nonstandard_size"]}])
def test_smoke_runs_and_other_sizes_never_appear(store, change):
    store.add(**change)
    assert "### Measured" not in store.render()
    store.add(seed=1)
    (row,) = table(store.render())
    assert row["n"] == "1"


def test_rows_are_sorted_and_ranked_by_significance(store):
    store.add(0.5, method="a")
    store.add(1.0, method="b")
    store.add(0.525, method="c", seed=1)  # better than a on one image, on other images than a
    rows = table(store.render())
    assert [(row["Method"], row["Rank"]) for row in rows] == [("b", "1"), ("c", "2"), ("a", "2")]


def test_published_rows_stand_apart_with_the_difference(store):
    store.add(0.5)
    store.add(0.6, recipe={}, overrides={"optim.lr": 1})
    store.add(0.7, text="BERT")
    page = store.render([make_published(), make_published(method="SCAN", rsum=295.0, setting="x")])
    assert [row["Method"] for row in table(page)] == ["gpo"] * 3
    scan, gpo = table(page, title="### Published")
    assert (scan["Method"], scan["Ours minus published"], scan["Setting"]) == ("SCAN", NONE, "x")
    assert (gpo["Ours minus published"], gpo["rsum"], gpo["i2t R@1"], gpo["Source"]) == (
        "+10.0",
        "290.0",
        "1.0",
        "a table",
    )


@pytest.mark.parametrize(
    "change",
    [{"ensemble": "1"}, {"text": "BERT"}, {"features": "BUTD grid"}, {"setting": "star"}, {"benchmark": "f30k-1k"}],
)
def test_no_difference_between_things_that_are_not_the_same(store, change):
    store.add(0.5)
    published = make_published(**change)
    (row,) = table(store.render([published]), published.benchmark, "### Published")
    assert row["Ours minus published"] == NONE


@pytest.mark.parametrize(
    "ours",
    [
        {"variant": "bigru", "text": "BiGRU"},  # a variant that only names the text encoder
        {"text": "BERT", "overrides": {"text.bert": "bert-base-uncased"}},  # where its weights lie is no override
    ],
)
def test_a_difference_whatever_the_text_encoder_is_called(store, ours):
    store.add(0.5, **ours)
    (row,) = table(store.render([make_published(text=ours["text"])]), title="### Published")
    assert row["Ours minus published"] == "+10.0"


def test_simulated_inputs_are_not_compared_with_published_numbers(store):
    store.add(0.5, flags=["simulated_inputs"])
    assert table(store.render([make_published()]), title="### Published")[0]["Ours minus published"] == NONE


def test_a_benchmark_without_runs_says_so(store):
    page = store.render([make_published(benchmark="coco-5k")])
    assert "## coco-5k\n\nNo run of this benchmark has been recorded yet." in page


def test_one_record_fills_the_tables_of_its_benchmarks(store):
    store.add(0.5, benchmarks=("coco-1k", "coco-5k"), folds=5)
    page = store.render()
    assert len(table(page, "coco-1k")) == len(table(page, "coco-5k")) == 1
    assert "40 images, 200 captions; mean of 5 folds of 8 images." in page


def test_different_test_sets_in_one_table_are_refused(store):
    store.add(method="a")
    store.add(method="b", n_images=20)
    with pytest.raises(RunError, match=r"f8k-1k: .*different test sets.*a-.*on 40 images"):
        store.render()


def test_names_cannot_break_the_table(store):
    store.add(method="a|b\n<script>")
    page = store.render()
    assert "a\\|b &lt;script>" in page
    (line,) = [line for line in page.splitlines() if "script" in line]
    assert line.replace("\\|", "").count("|") == 19


def test_the_same_records_in_any_order_give_the_same_bytes(store):
    for seed in range(3):
        store.add(0.5 + 0.1 * seed, seed=seed)
        store.add(0.3 + 0.2 * seed, seed=seed, method="hrem")
        store.add(0.5, seed=seed, method="gsmn")
        store.add(0.5, seed=seed, method="gsmn", recipe={"lr": 1})
    published = [make_published(), make_published(source="another")]
    before = store.render(published)
    for shuffle in range(5):
        random.Random(shuffle).shuffle(store.records)
        published.reverse()
        assert store.render(published) == before


def test_the_file_is_written_and_rewritten_alike(store, tmp_path):
    record = store.add(benchmarks=("f30k-1k",))
    write_record(record, store.details[record.id], tmp_path)
    path = write_leaderboard(tmp_path)
    before = path.read_bytes()
    assert path == tmp_path / "LEADERBOARD.md"
    (row,) = table(before.decode(), "f30k-1k")
    assert row["Method"] == f"gpo {MARKS['stale'][0]}"
    published = table(before.decode(), "f30k-1k", "### Published")
    (ours,) = [r for r in published if r["Ours minus published"] != NONE]
    assert (ours["Method"], ours["Text"], ours["Ours minus published"]) == ("GPO", "BiGRU", "-198.1")
    path.unlink()
    assert write_leaderboard(tmp_path).read_bytes() == before


def test_a_damaged_record_stops_the_leaderboard(store, tmp_path):
    record = store.add()
    path = write_record(record, store.details[record.id], tmp_path)
    path.with_suffix(".npz").unlink()
    with pytest.raises(RunError, match="is missing"):
        write_leaderboard(tmp_path)
    assert not (tmp_path / "LEADERBOARD.md").exists()


def test_the_current_code_of_a_shipped_method_is_known():
    assert len(current_code_hash("gpo")) == 64
    assert current_code_hash("somebody's own") is None
