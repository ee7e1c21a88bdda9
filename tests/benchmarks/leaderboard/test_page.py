"""The leaderboard's page: headline, details and published numbers, and the same text from any order."""

import random

import pytest

from itm_harness.benchmarks.leaderboard.formats import FORMATS, markdown
from itm_harness.benchmarks.leaderboard.page import REAL, SMOKE_TEST, make_page
from itm_harness.benchmarks.leaderboard.rows import MARKS
from itm_tests.stores import Store, make_published


@pytest.fixture
def store() -> Store:
    return Store()


def section(store, benchmark="f8k-1k", published=()):
    page, _ = make_page(store.boards(), list(published))
    (found,) = [s for s in page.sections if s.title == benchmark]
    return found


def table(store, title="Measured", **changes) -> list[dict[str, str]]:
    """A table's rows as other programs could read them: heading -> cell as text, of every column."""
    (found,) = [t for t in section(store, **changes).tables if t.title == title]
    return [{c.heading: c.text(v) for c, v in zip(found.columns, row, strict=True)} for row in found.rows]


DETAILS = "How the numbers came about, and their cost"


def test_the_headline_shows_what_was_measured(store):
    record = store.add(0.5, seconds_per_step=0.25, encode_seconds=2.0, recipe={"optim": {}, "embed_size": 512})
    (row,) = table(store)
    mean, interval = row.pop("rsum (95 % interval)").split(" (")
    assert row == {
        "Track": "One model", "Rank": "unranked", "Method": "gpo", "Group": "–", "i2t R@1": "50.0",  # noqa: RUF001
        "t2i R@1": "50.0", "Seeds": "1", "d": "512", "Train min": "1.5",
    }  # fmt: skip
    low, high = interval.removesuffix(")").split(" to ")
    assert (mean, 230 < float(low) < 300 < float(high) < 370) == ("300.0", True)
    (row,) = table(store, "Recalls")
    assert row == {"Method": "gpo", **{f"{d} R@{k}": "50.0" for d in ("i2t", "t2i") for k in (1, 5, 10)},
                   "i2t medR": "26.0", "t2i medR": "26.0"}  # fmt: skip
    (row,) = table(store, DETAILS)
    assert [row[name] for name in ("Image inputs", "Score", "Step ms", "Encode s", "Records")] == [
        "BUTD region", "pairwise", "250", "2.0", "0"
    ]  # fmt: skip
    assert f"[0](records/{record.id}.json)" in markdown(make_page(store.boards(), [])[0])


def test_the_headline_has_nine_columns_at_most(store):
    store.add(0.5)
    (headline, *_) = section(store).tables
    assert len(headline.visible().columns) == 9


def test_other_programs_get_all_of_a_row(store):
    for seed, skill in enumerate((0.5, 0.75, 0.625)):
        store.add(skill, seed=seed)
    (row,) = section(store, published=[make_published()]).data()["measured"]
    expected = {
        "track": "One model", "rank": 1, "rank_last": 1, "letters": "a", "method": "gpo", "variant": "gpo",
        "marks": "", "seeds": 3, "i2t_r1": 62.5, "i2t_medr": 9.3333, "t2i_r10": 62.5, "rsum": 375.0, "rsum_std": 75.0,
        "selection": "dev", "score": "pairwise", "extra_data": "", "ensemble": False,
        "parameters_million": 12.34, "training_minutes": 1.5, "host_memory_gb": 2.5,
    }  # fmt: skip
    assert {key: row[key] for key in expected} == expected
    assert row["rsum_low"] < 375 < row["rsum_high"]


def test_marks_are_words_that_are_explained_below_the_table(store):
    store.add(selection="last", flags=["simulated_inputs"])
    store.add(0.4, method="hrem")
    measured = section(store).tables[0]
    words = [MARKS[mark] for mark in ("simulated_inputs", "last")]
    assert str(measured.rows[1][2]) == f"gpo ({words[0][0]}, {words[1][0]})"
    assert measured.notes == [" ".join(f"{word}: {meaning}." for word, meaning in words)]


def test_a_published_row_stands_beside_the_row_that_repeats_it(store):
    store.add(0.5)
    store.add(0.6, recipe={}, overrides={"optim.lr": 1})
    store.add(0.7, text="BERT")
    printed = [
        make_published(),
        make_published(source="another", rsum=280.0),
        make_published(method="SCAN", rsum=299.0, our_method=""),
    ]
    rows = table(store, "Published", published=printed)
    assert [(r["Method"], r["rsum"], r["Ours"], r["Difference"]) for r in rows] == [
        ("GPO", "290.0", "300.0", "+10.0"), ("GPO", "280.0", "300.0", "+20.0"), ("SCAN", "299.0", "–", "–")  # noqa: RUF001
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"ensemble": "1"}, {"text": "BERT"}, {"our_features": "BUTD grid"}, {"our_variant": "star"},
        {"our_source": "ViT-B-32"}, {"our_method": ""},
    ],
)  # fmt: skip
def test_no_difference_between_things_that_are_not_the_same(store, change):
    store.add(0.5)
    (row,) = table(store, "Published", published=[make_published(**change)])
    assert row["Difference"] == "–"  # noqa: RUF001


def test_simulated_inputs_are_not_compared_with_published_numbers(store):
    store.add(0.5, flags=["simulated_inputs"])
    (row,) = table(store, "Published", published=[make_published()])
    assert row["Difference"] == "–"  # noqa: RUF001


def test_vectors_are_compared_where_their_encoder_is_the_same(store):
    printed = [make_published(our_source="ViT-B-32, laion2b")]
    store.add(0.5, sidecar_sources={"clip_images": "CLIP (ViT-B-32, laion2b)"})
    assert table(store, "Published", published=printed)[0]["Difference"] == "+10.0"


def test_where_bert_lies_is_no_override(store):
    store.add(0.5, text="BERT", overrides={"text.bert": "bert-base-uncased"})
    assert table(store, "Published", published=[make_published(text="BERT")])[0]["Difference"] == "+10.0"


def test_of_what_others_print_the_best_are_shown_and_the_rest_is_for_programs(store):
    store.add(0.5)
    others = [make_published(method=f"M{k}", our_method="", rsum=200.0 + k) for k in range(9)]
    found = section(store, published=[*others, make_published(note="a note")])
    (printed,) = [t for t in found.tables if t.kind == "published"]
    assert [row[0] for row in printed.visible().rows] == ["GPO", "M8", "M7", "M6", "M5", "M4"]
    assert printed.notes == ["GPO: a note."]
    assert len(found.data()["published"]) == 10
    (alone,) = [t for t in section(store, published=others).tables if t.kind == "published"]
    assert alone.notes == ["None was measured with the inputs of a row above: for scale only."]


def test_an_extension_stands_against_its_host(store):
    for seed, skill in enumerate((0.5, 0.6)):
        store.add(skill, seed=seed, recipe={"embed_size": 256})
    store.add(0.3, method="vsd", variant="gpo-star", recipe={"host": {"embed_size": 128}}, flags=["extra_pretraining"])
    (row,) = table(store, "Against the host")
    names = ("Method", "Host", "Seeds", "Host's", "rsum", "Host's rsum", "Difference")
    assert {k: row[k] for k in names} == {
        "Method": "vsd gpo-star", "Host": "gpo", "Seeds": "1", "Host's": "2", "rsum": "180.0",
        "Host's rsum": "330.0 ± 42.4", "Difference": "-150.0",
    }  # fmt: skip
    assert row["Differing settings"] == "embed_size 128 (host: 256)"
    low, high = map(float, row["95 % interval"].split(" to "))
    assert low < -150 < high
    (data,) = section(store).data()["against_the_host"]
    assert (data["difference"], data["host_rsum_std"]) == (-150.0, 42.4264)


def test_unknown_seeds_and_simulated_inputs_are_said(store):
    store.add(0.5)
    store.add(0.3, method="vsd", variant="gpo-star", flags=["extra_pretraining"])
    store.add(0.3, method="vssr", variant="", flags=["extra_pretraining", "simulated_inputs"])
    (against,) = [t for t in section(store).tables if t.kind == "against_the_host"]
    assert [str(row[0]) for row in against.rows] == ["vsd gpo-star"]
    assert against.notes == [
        "vsd gpo-star: no row has a second seed: only the choice of images is counted.",
        "Not set against their hosts, because their inputs are simulated: vssr.",
    ]


def test_without_an_extension_there_is_no_such_table(store):
    store.add()
    assert [t.title for t in section(store).tables] == ["Measured", "Recalls", DETAILS]


def test_a_benchmark_without_runs_says_so(store):
    store.add()
    printed = [make_published(benchmark="coco-5k")]
    page, _ = make_page(store.boards(), printed)
    assert [(s.title, s.shown) for s in page.sections] == [("f8k-1k", True), ("coco-5k", False)]
    assert section(store, "coco-5k", printed).intro == "No run of this benchmark has been recorded yet."
    assert page.about[-1] == ("Without a run", "coco-5k (1): so many published rows stand in the formats csv and json.")


def test_the_smoke_test_stands_last_under_its_own_heading(store):
    store.add(benchmarks=("demo-500",), dataset="demo")
    store.add(benchmarks=("demo-100",), dataset="demo", folds=5, seed=1)
    store.add()
    page, _ = make_page(store.boards(), [])
    assert [(s.title, s.part, s.shown) for s in page.sections] == [
        ("f8k-1k", REAL, True), ("demo-500", SMOKE_TEST, True), ("demo-100", SMOKE_TEST, False)
    ]  # fmt: skip
    text = markdown(page)
    assert text.index("## Real data") < text.index("## Smoke test: ranks hold for this generator only")
    assert "demo-100" not in text


def test_records_of_an_older_recipe_are_named(store):
    old = store.add(0.9, recipe={"optim": {"lr": 1}}, created="2025-01-01T00:00:00Z")
    store.add(0.5, recipe={"optim": {"lr": 2}})
    (row,) = table(store)
    assert row["rsum (95 % interval)"].startswith("300.0")
    assert any(old.id in note for note in section(store).tables[0].notes)


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
    page, problems = make_page(store.boards(), [])
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
        return FORMATS[name][1](make_page(store.boards(), published)[0])

    before = text()
    for shuffle in range(3):
        random.Random(shuffle).shuffle(store.records)
        published.reverse()
        assert text() == before


def test_names_stay_in_their_cells(store):
    store.add(method="a|b\n<script>", variant="")
    page, _ = make_page(store.boards(), [])
    lines = [line for line in markdown(page).splitlines() if "script" in line]
    assert len(lines) == 3  # headline, recalls, origin
    assert all("a\\|b &lt;script>" in line for line in lines)


def test_a_diverged_run_has_no_row_and_is_listed_below(store):
    store.add(0.5)
    store.add(0.25, seed=1, diverged="no step of epoch 3 had a finite loss")
    store.add(0.0, method="hrem", diverged="the embeddings have collapsed")
    (row,) = table(store)
    assert (row["Method"], row["Seeds"]) == ("gpo", "1")
    assert row["rsum (95 % interval)"].startswith("300.0 ")
    listed = [(r["Method"], r["Seed"], r["Why"]) for r in table(store, "Diverged")]
    assert listed == [
        ("gpo", "1", "no step of epoch 3 had a finite loss"),
        ("hrem gpo", "0", "the embeddings have collapsed"),
    ]
    page, _ = make_page(store.boards(), [])
    for _, render in FORMATS.values():
        assert "the embeddings have collapsed" in render(page)


def test_a_benchmark_of_diverged_runs_alone_says_so(store):
    store.add(diverged="the embeddings have collapsed")
    found = section(store)
    assert [t.title for t in found.tables] == ["Diverged"]
    assert found.intro == "40 images, 200 captions. No run of a shipped recipe is whole."
