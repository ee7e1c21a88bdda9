"""The leaderboard's tables: results with ranks, intervals and published numbers, and the same text from any order."""

import random

import pytest

from itm_harness.benchmarks.leaderboard.formats import FORMATS, markdown
from itm_harness.benchmarks.leaderboard.page import make_page
from itm_harness.benchmarks.leaderboard.rows import MARKS
from itm_tests.stores import CURRENT, Store, make_published


@pytest.fixture
def store() -> Store:
    return Store()


def section(store, benchmark="f8k-1k", published=(), current=CURRENT):
    page, _ = make_page(store.runs(current), list(published))
    (found,) = [s for s in page.sections if s.title == benchmark]
    return found


def table(store, title="Measured", **changes) -> list[dict[str, str]]:
    """A table's rows as people read them."""
    (found,) = [t for t in section(store, **changes).tables if t.title == title]
    return [dict(zip([c.heading for c in found.columns], row, strict=True)) for row in found.texts()]


def test_a_row_shows_what_was_measured(store):
    store.add(0.5, seconds_per_step=0.25, encode_seconds=2.0, score_seconds=0.5)
    (row,) = table(store)
    interval = row.pop("95 % interval").split(" to ")
    assert row == {
        "Rank": "1", "Method": "gpo", "Marks": "", "Overrides": "–", "Text": "BiGRU", "n": "1",  # noqa: RUF001
        **{f"{d} R@{k}": "50.0" for d in ("i2t", "t2i") for k in (1, 5, 10)}, "i2t medR": "26.0", "t2i medR": "26.0",
        "rsum": "300.0", "Published": "–", "Difference": "–",  # noqa: RUF001
    }  # fmt: skip
    assert 230 < float(interval[0]) < 300 < float(interval[1]) < 370
    (row,) = table(store, "What they cost")
    assert (row["Training (min)"], row["Step (ms)"], row["Encode (s)"], row["Score (s)"]) == (
        "1.5",
        "250",
        "2.0",
        "0.5",
    )
    (row,) = table(store, "How the numbers came about")
    assert (row["Image inputs"], row["Score"], row["Stale"]) == ("BUTD region", "pairwise", "no")


def test_other_programs_get_all_of_a_row(store):
    store.add(0.5)
    store.add(0.75, seed=1)
    (row,) = section(store, published=[make_published()]).data()["measured"]
    expected = {
        "rank": 1, "method": "gpo", "variant": "gpo", "marks": "", "overrides": "", "seeds": 2, "i2t_r1": 62.5,
        "i2t_medr": 13.5, "t2i_r10": 62.5, "rsum": 375.0, "rsum_std": 106.066, "published": 290.0,
        "published_difference": 85.0, "selection": "dev", "score": "pairwise", "extra_data": "", "ensemble": False,
        "stale": False, "parameters_million": 12.34, "training_minutes": 1.5, "host_memory_gb": 2.5,
    }  # fmt: skip
    assert {key: row[key] for key in expected} == expected
    assert row["rsum_low"] < 375 < row["rsum_high"]


def test_marks_are_explained_below_the_table(store):
    store.add(selection="last")
    store.add(method="hrem")
    (measured, *_) = section(store).tables
    assert measured.notes == [f"{MARKS['last'][0]} {MARKS['last'][1]}."]


def test_rows_are_ranked_by_significance(store):
    store.add(0.5, method="a", variant="")
    store.add(1.0, method="b", variant="")
    store.add(0.525, method="c", variant="", seed=1)  # better than a on one image, on other images than a
    assert [(row["Method"], row["Rank"]) for row in table(store)] == [("b", "1"), ("c", "2"), ("a", "2")]


def test_the_published_number_stands_beside_the_same_system(store):
    store.add(0.5)
    store.add(0.6, recipe={}, overrides={"optim.lr": 1})
    store.add(0.7, text="BERT")
    printed = [
        make_published(),
        make_published(source="another", rsum=280.0),
        make_published(method="SCAN", rsum=299.0),
    ]
    rows = {(r["Text"], r["Overrides"]): r for r in table(store, published=printed)}
    assert {key: (r["Published"], r["Difference"]) for key, r in rows.items()} == {
        ("BiGRU", "–"): ("290.0", "+10.0"),  # noqa: RUF001
        ("BiGRU", "optim.lr=1"): ("–", "–"),  # noqa: RUF001
        ("BERT", "–"): ("–", "–"),  # noqa: RUF001
    }
    assert [row["Method"] for row in table(store, "Published", published=printed)] == ["SCAN", "GPO", "GPO"]


@pytest.mark.parametrize(
    "change",
    [{"ensemble": "1"}, {"text": "BERT"}, {"features": "BUTD grid"}, {"setting": "star"}, {"benchmark": "f30k-1k"}],
)
def test_no_difference_between_things_that_are_not_the_same(store, change):
    store.add(0.5)
    assert table(store, published=[make_published(**change)])[0]["Published"] == "–"  # noqa: RUF001


def test_simulated_inputs_are_not_compared_with_published_numbers(store):
    store.add(0.5, flags=["simulated_inputs"])
    assert table(store, published=[make_published()])[0]["Published"] == "–"  # noqa: RUF001


@pytest.mark.parametrize(
    "ours",
    [
        {"variant": "bigru", "text": "BiGRU"},  # a variant that only names the text encoder
        {"text": "BERT", "overrides": {"text.bert": "bert-base-uncased"}},  # where its weights lie is no override
    ],
)
def test_a_difference_whatever_the_text_encoder_is_called(store, ours):
    store.add(0.5, **ours)
    assert table(store, published=[make_published(text=ours["text"])])[0]["Difference"] == "+10.0"


def test_an_extension_stands_against_its_host(store):
    for seed, skill in enumerate((0.5, 0.6)):
        store.add(skill, seed=seed, recipe={"embed_size": 256})
    store.add(0.3, method="vsd", variant="gpo-star", recipe={"host": {"embed_size": 128}}, flags=["simulated_inputs"])
    (row,) = table(store, "Against the host")
    assert {k: row[k] for k in ("Method", "Host", "n", "Host n", "rsum", "Host rsum", "Difference")} == {
        "Method": "vsd gpo-star", "Host": "gpo", "n": "1", "Host n": "2", "rsum": "180.0",
        "Host rsum": "330.0 ± 42.4", "Difference": "-150.0",
    }  # fmt: skip
    assert row["Differing settings"] == "embed_size 128 (host: 256)"
    low, high = map(float, row["95 % interval"].split(" to "))
    assert low < -150 < high < 0
    assert float(row["p"]) < 0.05
    (data,) = section(store).data()["against_the_host"]
    assert (data["difference"], data["host_rsum_std"]) == (-150.0, 42.4264)


def test_without_an_extension_there_is_no_such_table(store):
    store.add()
    assert [t.title for t in section(store).tables] == ["Measured", "How the numbers came about", "What they cost"]


def test_a_benchmark_without_runs_says_so(store):
    store.add()
    printed = [make_published(benchmark="coco-5k")]
    page, _ = make_page(store.runs(), printed)
    assert [s.title for s in page.sections] == ["f8k-1k", "coco-5k"]  # what was measured comes first
    assert section(store, "coco-5k", printed).intro == "No run of this benchmark has been recorded yet."


def test_one_record_fills_the_tables_of_its_benchmarks(store):
    store.add(0.5, benchmarks=("coco-1k", "coco-5k"), folds=5)
    for benchmark in ("coco-1k", "coco-5k"):
        assert len(table(store, benchmark=benchmark)) == 1
    found = section(store, "coco-1k")
    assert found.intro == "40 images, 200 captions; mean of 5 folds of 8 images."
    assert found.about == {"images": 40, "captions": 200, "folds": 5}


def test_a_run_on_another_test_set_is_left_out_and_named(store):
    store.add(method="a")
    store.add(method="a", seed=1)
    wrong = store.add(method="b", n_images=20)
    page, problems = make_page(store.runs(), [])
    assert len(page.sections[0].tables[0].rows) == 1
    assert len(problems) == 1
    assert wrong.id in problems[0]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_records_in_any_order_give_the_same_text(store, name):
    for seed in range(3):
        store.add(0.5 + 0.1 * seed, seed=seed)
        store.add(0.3 + 0.2 * seed, seed=seed, method="vssr")
        store.add(0.5, seed=seed, method="gsmn")
        store.add(0.5, seed=seed, method="gsmn", recipe={"lr": 1})
    published = [make_published(), make_published(source="another")]

    def text():
        return FORMATS[name][1](make_page(store.runs(), published)[0])

    before = text()
    for shuffle in range(3):
        random.Random(shuffle).shuffle(store.records)
        published.reverse()
        assert text() == before


def test_names_stay_in_their_cells(store):
    store.add(method="a|b\n<script>", variant="")
    page, _ = make_page(store.runs(), [])
    lines = [line for line in markdown(page).splitlines() if "script" in line]
    assert len(lines) == 3
    assert all("a\\|b &lt;script>" in line for line in lines)


def test_a_diverged_run_has_no_row_and_is_listed_below(store):
    store.add(0.5)
    store.add(0.25, seed=1, diverged="no step of epoch 3 had a finite loss")
    store.add(0.0, method="hrem", diverged="the embeddings have collapsed")
    (row,) = table(store)
    assert (row["Method"], row["n"], row["rsum"]) == ("gpo", "1", "300.0")
    listed = [(r["Method"], r["Seed"], r["Why"]) for r in table(store, "Diverged")]
    assert listed == [
        ("gpo", "1", "no step of epoch 3 had a finite loss"),
        ("hrem gpo", "0", "the embeddings have collapsed"),
    ]
    page, _ = make_page(store.runs(), [])
    for _, render in FORMATS.values():
        assert "the embeddings have collapsed" in render(page)


def test_a_benchmark_of_diverged_runs_alone_says_so(store):
    store.add(diverged="the embeddings have collapsed")
    found = section(store)
    assert [t.title for t in found.tables] == ["Diverged"]
    assert found.intro == "Every run of this benchmark has diverged."
