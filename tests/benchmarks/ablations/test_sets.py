"""Ablation sets, what is missing of them, and their tables."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from itm_harness.benchmarks.ablations import report, sets
from itm_harness.benchmarks.ablations.report import make_page, write_ablations
from itm_harness.benchmarks.ablations.runs import listing, plan, run_missing
from itm_harness.benchmarks.ablations.sets import AblationRow, has_recipe, load_set, read_set, set_names
from itm_harness.benchmarks.analysis.evidence import Sample, SeedVariance, compare
from itm_harness.benchmarks.analysis.statistics import image_scores
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.code_hash import method_code_hash
from itm_harness.benchmarks.records.store import read_records
from itm_harness.benchmarks.runs.job import Job, RunOptions
from itm_harness.benchmarks.runs.ready import jobs_to_train
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.spec import dataset_names
from itm_harness.methods.recipe import known_keys
from itm_harness.methods.registry import find_method, method_names
from itm_tests.stores import Store, details_of
from itm_tests.trees import write_f30k

LABELS = {row.label: (name, row) for name in set_names() for row in read_set(name).rows()}
FULL, INTRA = "HREM", "intra-modal only"


# The sets


def test_every_trained_method_with_ablations_has_a_set():
    assert set_names() == ["aahr", "gpo", "gsmn", "hrem", "vsd", "vssr"]
    assert set(set_names()) <= set(method_names())


@pytest.mark.parametrize("name", set_names())
@pytest.mark.parametrize("dataset", dataset_names())
def test_every_row_resolves_on_every_data_set(name, dataset):
    """A key or value that a method's configuration does not know raises here."""
    ablation = read_set(name)
    for row in ablation.rows():
        assert ablation.expected(row, dataset, {})


@pytest.mark.parametrize("name", set_names())
def test_rows_of_a_table_are_different_runs(name):
    """On the paper's data every row of a table changes something, but for the one whose note says that it does not."""
    ablation = read_set(name)
    for table in ablation.tables:
        recipes = {row.label: ablation.expected(row, "f30k", {}) for row in table.rows if not row.absent}
        same = [label for label, recipe in recipes.items() if recipe == recipes[table.full] and label != table.full]
        assert same == (["w/o neighbor batch sampling"] if table.title.startswith("Parts of") else [])


def test_a_wrong_key_is_refused_with_the_nearest():
    ablation = read_set("hrem")
    with pytest.raises(Exception, match="did you mean 'cross_loss'"):
        ablation.expected(AblationRow(label="x", overrides={"cros_loss": False}), "f30k", {})
    assert "cross_loss" in known_keys(find_method("hrem").method)


@pytest.mark.parametrize("file", ["hrem_ablation.csv", "gpo_extra.csv"])
def test_every_printed_ablation_has_a_row_with_its_numbers(file):
    with (sets.PUBLISHED / file).open(encoding="utf-8", newline="") as lines:
        printed = [
            (row.get("row") or row["setting"], *(float(row[k]) for k in ("i2t_r1", "i2t_r5", "t2i_r1", "t2i_r5")))
            for row in csv.DictReader(lines)
        ]
    tables = [table for name in ("hrem", "gpo") for table in read_set(name).tables]
    shown = [
        (label, *numbers.values()) for t in tables if t.published.file == file for label, numbers in t.printed.items()
    ]
    assert sorted(shown) == sorted(printed)


def test_printed_numbers_of_a_known_row():
    (interaction,) = [table for table in read_set("hrem").tables if table.title == "Interaction"]
    assert interaction.printed["mean of fusion and standalone"]["t2i_r10"] == 84.3
    (vsd,) = [table for table in read_set("vsd").tables if table.title == "GPO+VSD"]
    assert vsd.printed["GPO star"]["i2t_r1"] == 83.1


@pytest.mark.parametrize("name", set_names())
def test_a_label_is_found_once_in_a_printed_table(name):
    for published in (table.published for table in read_set(name).tables if table.published):
        with (sets.PUBLISHED / published.file).open(encoding="utf-8", newline="") as lines:
            rows = [r for r in csv.DictReader(lines) if all(r[c] == v for c, v in published.where.items())]
        assert rows
        assert len({row[published.row] for row in rows}) == len(rows)


def test_the_switches_that_the_hrem_page_names():
    changes = {row.label: row.overrides for row in read_set("hrem").rows()}
    assert changes["no instance relations"] == {"intra_modal": False, "inter_modal": False}
    assert changes[INTRA] == {"inter_modal": False}
    assert changes["text fragments only"] == {"visual_fragments": False}
    assert changes["w/o regularization L_reg"] == {"reg_weight": 0}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("tables: [{title: a, full: b, rows: [{label: b}, {label: b}]}]", "same label"),
        ("tables: [{title: a, full: c, rows: [{label: bb}, {label: cc}]}]", "no row has the label 'c'"),
        ("tables: [{title: a, full: b, rows: [{label: b}, {label: c, overide: {}}]}]", "overide"),
        ("tables: [{title: a, full: b, rows: [{label: b}, {label: 'c, d'}]}]", "label"),
        ("tables: []", "tables"),
        ("- 1", "cannot be read"),
        ("tables: [", "cannot be read"),
        (
            "tables: [{title: a, full: b, rows: [{label: b}, {label: c}]}, "
            "{title: d, full: b, rows: [{label: b}, {label: c, variant: standalone}]}]",
            "two different changes",
        ),
    ],
)
def test_a_wrong_set_is_refused_with_its_file(tmp_path, text, part):
    (tmp_path / "hrem.yaml").write_text(text)
    with pytest.raises(RunError, match=part) as error:
        load_set(tmp_path / "hrem.yaml")
    assert "hrem.yaml" in str(error.value)


def test_an_unknown_method_and_an_unknown_row():
    with pytest.raises(RunError, match="did you mean 'hrem'"):
        read_set("hremm")
    with pytest.raises(RunError, match=r"clip has no ablation set.*gpo"):
        read_set("clip")
    with pytest.raises(RunError, match="did you mean 'intra-modal only'"):
        read_set("hrem").chosen(["intra-modal onl"])
    assert [row.label for row in read_set("hrem").chosen([FULL, INTRA])] == [FULL, INTRA]


# A row and its records


@pytest.fixture(scope="module")
def f30k(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_f30k(root, vectors=16)
    return root


SMALL = {"text.bert": None, "train.batch_size": 8, "train.epochs": 1}


@pytest.mark.parametrize(("name", "label"), sorted((name, label) for label, (name, _) in LABELS.items()))
def test_a_run_of_a_row_is_recognised_by_its_row_alone(f30k, name, label):
    """What a job would record, against what the set expects of all rows."""
    ablation = read_set(name)
    row = LABELS[label][1]
    common = SMALL | ({"embed_size": 32} if name != "vsd" else {"host.embed_size": 16})
    options = RunOptions(name, "f30k", f30k, row.variant, {**common, **row.changes("f30k")})
    jobs = jobs_to_train(Job(options))
    recorded = {job.recipe.variant: {**job.recipe.values(), **job.config.model_dump(mode="json")} for job in jobs}
    store = Store()
    record = store.add(recipe=recorded if len(jobs) > 1 else next(iter(recorded.values())))
    expected = {other.label: ablation.expected(other, "f30k", common) for other in ablation.rows()}
    found = [other for other, recipe in expected.items() if has_recipe(record, recipe)]
    assert found == [other for other, recipe in expected.items() if recipe == expected[label]]
    assert label in found


def test_a_size_that_the_recipe_sets_is_compared():
    ablation = read_set("hrem")
    recipe = ablation.expected(ablation.rows()[0], "demo", {})
    store = Store()
    assert has_recipe(store.add(recipe={**recipe, "region_dim": 64}), recipe)
    assert not has_recipe(store.add(recipe={**recipe, "embed_size": 512}), recipe)
    assert not has_recipe(store.add(recipe={**recipe, "more": 1}), recipe)


# What is missing


def add_row(store, label, skill=0.5, method="hrem", dataset="demo", common=None, **changes):
    """A record of a row, as a run would file it."""
    ablation = read_set(method)
    (row,) = ablation.chosen([label])
    values = {
        "method": method, "variant": row.variant or "fusion", "dataset": dataset,
        "recipe": ablation.expected(row, dataset, common or {}),
        "overrides": {**(common or {}), **row.changes(dataset)}, "benchmarks": (f"{dataset}-500", f"{dataset}-100"),
    }  # fmt: skip
    return store.add(skill, **{**values, **changes})


def current_hash(method="hrem"):
    return method_code_hash(find_method(method).files)


def missing(store, seeds=(0, 1), labels=(FULL, INTRA), **changes):
    options = replace(RunOptions("hrem", "demo"), **changes)
    ablation = read_set("hrem")
    return {p.row.label: p.missing for p in plan(ablation, ablation.chosen(list(labels)), options, list(seeds), store)}


def test_only_seeds_without_a_record_are_missing():
    store = Store()
    add_row(store, FULL, seed=0, code_hash=current_hash())
    add_row(store, INTRA, seed=1, code_hash=current_hash())
    assert missing(store.records) == {FULL: [1], INTRA: [0]}
    assert missing(store.records, seeds=[0]) == {FULL: [], INTRA: [0]}


@pytest.mark.parametrize(
    "change",
    [
        {"code_hash": "older code"},
        {"dataset": "f8k", "common": None},
        {"precision": "bf16"},
        {"flags": ["limited"], "limit": 100},
        {"flags": ["imported"]},
        {"common": {"optim.lr": 1.0}},
    ],
)
def test_a_record_of_something_else_does_not_count(change):
    store = Store()
    add_row(store, FULL, **{"code_hash": current_hash(), **change})
    assert missing(store.records, seeds=[0]) == {FULL: [0], INTRA: [0]}


def test_a_run_without_training_has_no_seed_and_is_made_once():
    store = Store()
    add_row(store, FULL, seed=None, code_hash=current_hash())
    assert missing(store.records)[FULL] == []


def test_two_labels_of_one_run_run_once():
    assert missing([], labels=("w/o neighbor batch sampling", FULL)) == {
        "w/o neighbor batch sampling": [0, 1], FULL: []
    }  # fmt: skip


def test_common_overrides_count_and_must_not_be_those_of_rows():
    store = Store()
    add_row(store, FULL, common={"train.epochs": 3}, code_hash=current_hash())
    assert missing(store.records, seeds=[0], overrides={"train.epochs": 3})[FULL] == []
    with pytest.raises(RunError, match="--set reg_weight"):
        missing(store.records, overrides={"reg_weight": 1.0})


def test_the_listing_says_what_is_recorded():
    store = Store()
    add_row(store, INTRA, seed=1, code_hash=current_hash())
    add_row(store, INTRA, seed=0, code_hash=current_hash())
    ablation = read_set("hrem")
    rows = ablation.chosen([FULL, INTRA, "standalone"])
    planned = plan(ablation, rows, RunOptions("hrem", "demo", overrides={"optim.lr": 1e-3}), [0], [])
    assert {line.partition("; ")[2] for line in listing(planned, "demo")} == {"not recorded"}
    planned = plan(ablation, rows, RunOptions("hrem", "demo"), [0], store.records)
    assert listing(planned, "demo") == [
        "HREM: the recipe as it is; not recorded",
        "intra-modal only: inter_modal=false; recorded seeds 0, 1",
        "standalone: variant standalone; not recorded",
    ]


def small_options(data, tmp_path, **changes):
    yaml = tmp_path / "small.yaml"
    yaml.write_text("extends: f30k\nname: f30k\nbenchmarks: [{name: f30k-12, images: 12}]\n")
    overrides = {**SMALL, "embed_size": 32, "phases.graph.epoch": 0}
    return RunOptions("hrem", str(yaml), data, overrides=overrides, output=tmp_path, **changes)


def test_missing_rows_are_run_once_and_stand_in_the_table(f30k, tmp_path, accelerator, quiet):
    ablation, options = read_set("hrem"), small_options(f30k, tmp_path)
    rows = ablation.chosen([FULL, INTRA])
    planned = plan(ablation, rows, options, [0], [])
    assert len(run_missing(planned, accelerator, quiet)) == 2
    records = read_records(tmp_path / "results" / "local")
    assert [p.missing for p in plan(ablation, rows, options, [0], records)] == [[], []]
    path, problems = write_ablations(tmp_path / "results" / "local")
    assert problems == []
    text = path.read_text()
    assert "## hrem on f30k (embed_size=32, phases.graph.epoch=0, text.bert=null" in text
    (full,) = [r for r in records if not set(r.overrides) & {"inter_modal"}]
    assert f"| {full.metrics['f30k-12'].rsum:.1f} |" in " ".join(text.split()).replace("  ", " ")
    path.unlink()
    assert write_ablations(tmp_path / "results" / "local")[0].read_text() == text


def test_a_missing_file_is_named_before_anything_trains(tmp_path, accelerator, quiet):
    write_f30k(tmp_path / "data")
    (tmp_path / "data" / "f30k" / "precomp" / "dev_ims.npy").unlink()
    ablation, options = read_set("hrem"), small_options(tmp_path / "data", tmp_path)
    planned = plan(ablation, ablation.chosen([FULL]), options, [0], [])
    with pytest.raises(DataError, match=r"dev_ims\.npy"):
        run_missing(planned, accelerator, quiet)
    assert not (tmp_path / "runs").exists()


# The tables


def page_of(store):
    page, problems = make_page(store.runs())
    assert problems == []
    return page


def tables_of(store):
    """Title of a section -> title of a table -> label -> heading -> cell as shown."""
    return {
        section.title: {
            table.title: {
                str(row[0]): {c.heading: c.text(v) for c, v in zip(table.columns, row, strict=True)}
                for row in table.rows
            }
            for table in section.tables
        }
        for section in page_of(store).sections
    }


def notes_of(store, title):
    (table,) = [t for section in page_of(store).sections for t in section.tables if t.title == title]
    return table.notes


FRAGMENTS = "Fragment and instance relations"
NO_CHANGE = ("–",) * 3  # noqa: RUF001


def add_seeds(store, label, skills, **changes):
    return [add_row(store, label, skill, seed=seed, **changes) for seed, skill in enumerate(skills)]


def test_a_change_is_measured_against_the_full_row_which_stands_first():
    """Skill s: a share s of the queries has rank 0, so every recall is 100 s and the rsum 600 s."""
    store = Store()
    add_row(store, INTRA, 0.5)
    add_row(store, FULL, 0.6)
    table = tables_of(store)["hrem on demo"][FRAGMENTS]
    assert list(table) == [FULL, INTRA]
    row, full = table[INTRA], table[FULL]
    assert (row["Seeds"], row["i2t R@1"], row["t2i R@1"], row["rsum"]) == ("1", "50.0", "50.0", "300.0")
    assert (row["Variant and overrides"], row["Change"]) == ("inter_modal=false", "-60.0")
    assert (full["rsum"], full["Change"], full["95 % interval"], full["p (Holm)"]) == ("360.0", *NO_CHANGE)


def test_the_interval_counts_images_and_seeds():
    store = Store()
    full = add_seeds(store, FULL, (0.55, 0.6, 0.65))
    (row,) = add_seeds(store, INTRA, (0.5,))
    scores = np.stack([image_scores(store.details[r.id]["demo-500"]) for r in full])
    alone = image_scores(store.details[row.id]["demo-500"])
    samples = Sample(alone, np.array([alone.mean()])), Sample(scores.mean(axis=0), scores.mean(axis=1))
    expected = compare(*samples, SeedVariance.pooled(samples))
    shown = tables_of(store)["hrem on demo"][FRAGMENTS][INTRA]
    assert shown["95 % interval"] == f"{expected.low:+.1f} to {expected.high:+.1f}"
    assert shown["p (Holm)"] == f"{expected.p:.4f}"
    assert tables_of(store)["hrem on demo"][FRAGMENTS][FULL]["rsum"] == "360.5 ± 29.3"  # of 40 images 22, 24, 26


def test_holm_runs_over_the_changes_of_a_table():
    store = Store()
    add_seeds(store, FULL, (0.55, 0.6, 0.65))
    add_seeds(store, INTRA, (0.5,))
    alone = float(tables_of(store)["hrem on demo"][FRAGMENTS][INTRA]["p (Holm)"])
    add_seeds(store, "visual fragments only", (0.6,))
    both = float(tables_of(store)["hrem on demo"][FRAGMENTS][INTRA]["p (Holm)"])
    assert both == pytest.approx(min(1, 2 * alone), abs=1e-4)


def test_one_sentence_says_what_was_learnt():
    store = Store()
    add_seeds(store, FULL, (0.6, 0.602, 0.604))
    add_seeds(store, INTRA, (0.2, 0.202, 0.204))
    add_seeds(store, "visual fragments only", (0.6, 0.602, 0.604))
    notes = notes_of(store, FRAGMENTS)
    assert (
        notes[0] == "Learnt: rsum changes by intra-modal only (-240.0); of visual fragments only nothing can be told."
    )
    add_seeds(store, "text fragments only", (0.6,))
    add_seeds(store, "inter-modal only", (0.6,))
    assert notes_of(store, FRAGMENTS)[0].endswith("; of the other 3 nothing can be told.")


def test_where_nothing_was_learnt_it_says_so():
    store = Store()
    add_row(store, FULL, 0.6)
    add_row(store, INTRA, 0.2)  # no row has a second seed: that seeds differ as much is not excluded
    told = "Learnt: nothing can be told; no change differs from the full row by more than chance."
    assert notes_of(store, FRAGMENTS)[0] == told


def test_rows_that_were_not_run_are_one_line():
    store = Store()
    add_row(store, FULL)
    add_row(store, INTRA)
    labels = (
        "no fragment relations; text fragments only; visual fragments only; no instance relations; inter-modal only"
    )
    assert notes_of(store, FRAGMENTS)[1] == f"Not run: {labels}."
    (section,) = page_of(store).sections
    assert section.intro.endswith("Not run: Parts of the instance graph, and batches; Interaction.")


def test_a_row_stands_alone_where_the_full_one_was_not_run():
    store = Store()
    add_row(store, INTRA, 0.5)
    row = tables_of(store)["hrem on demo"][FRAGMENTS][INTRA]
    assert (row["rsum"], row["Change"], row["95 % interval"], row["p (Holm)"]) == ("300.0", *NO_CHANGE)
    assert notes_of(store, FRAGMENTS)[0] == "Learnt: nothing can be told, because the full row was not run."


def test_full_rows_alone_make_no_section():
    store = Store()
    add_row(store, FULL)
    add_row(store, "standalone", 0.6, dataset="f8k")
    assert list(tables_of(store)) == ["hrem on f8k"]


def test_data_sets_precisions_and_common_overrides_are_kept_apart():
    store = Store()
    for changes in ({}, {"dataset": "f8k"}, {"precision": "bf16"}, {"common": {"train.epochs": 3}}):
        add_row(store, FULL, 0.6, **changes)
        add_row(store, INTRA, 0.5, **changes)
    sections = tables_of(store)
    assert list(sections) == ["hrem on demo", "hrem on demo (train.epochs=3)", "hrem on demo (bf16)", "hrem on f8k"]
    assert {s[FRAGMENTS][INTRA]["Seeds"] for s in sections.values()} == {"1"}


def test_an_override_that_changes_nothing_makes_no_section_of_its_own():
    store = Store()
    add_row(store, FULL, 0.6)
    row = add_row(store, INTRA, 0.5, common={"train.epochs": 12})  # demo's own number
    assert row.overrides == {"train.epochs": 12, "inter_modal": False}
    assert list(tables_of(store)) == ["hrem on demo"]
    assert tables_of(store)["hrem on demo"][FRAGMENTS][INTRA]["Change"] == "-60.0"


def test_a_record_of_an_older_recipe_is_not_taken_for_the_row():
    store = Store()
    add_row(store, FULL, 0.6)
    recipe = read_set("hrem").expected(LABELS[INTRA][1], "demo", {})
    add_row(store, INTRA, recipe={**recipe, "threshold": 0.4})
    add_row(store, "standalone")
    assert FRAGMENTS not in tables_of(store)["hrem on demo"]


def test_the_full_run_under_another_name_is_no_change():
    store = Store()
    add_row(store, FULL, 0.6)
    add_row(store, "w/o connection matrix A", 0.5)
    title = "Parts of the instance graph, and batches"
    assert list(tables_of(store)["hrem on demo"][title]) == [FULL, "w/o connection matrix A"]
    notes = notes_of(store, title)
    assert any(note.startswith("w/o neighbor batch sampling: our full recipe") for note in notes)
    assert not any("Not run" in note and "w/o neighbor batch sampling" in note for note in notes)


def test_other_variants_are_other_rows():
    store = Store()
    add_row(store, FULL, 0.5)
    add_row(store, "standalone", 0.4)
    add_row(store, "mean of fusion and standalone", 0.6, flags=["ensemble"])
    table = tables_of(store)["hrem on demo"]["Interaction"]
    mean = "mean of fusion and standalone (ensemble)"  # what sets it apart from the full row
    assert [table[label]["Change"] for label in ("standalone", mean)] == ["-60.0", "+60.0"]
    assert table["standalone"]["Variant and overrides"] == "standalone"


def test_printed_numbers_stand_beside_those_of_the_same_benchmark_and_text_encoder():
    store = Store()
    for label, skill in ((FULL, 0.6), (INTRA, 0.5)):
        add_row(store, label, skill, dataset="f30k", benchmarks=("f30k-1k",), text="BERT")
    row = tables_of(store)["hrem on f30k"][FRAGMENTS][INTRA]
    # 80.5 + 94.7 + 61.2 + 85.2 = 321.6 against 83.3 + 96.0 + 63.5 + 87.1 = 329.9, and four recalls of ten points each
    assert (row["Published change"], row["Our change"]) == ("-8.3", "-40.0")
    assert "Published: HREM, ablation table a, on Flickr30K 1K with BERT." in notes_of(store, FRAGMENTS)


@pytest.mark.parametrize("change", [{}, {"dataset": "f30k", "benchmarks": ("f30k-1k",)}])
def test_other_printed_numbers_do_not(change):
    """demo with the BiGRU, and Flickr30K with the BiGRU: HREM printed BERT's."""
    store = Store()
    for label, skill in ((FULL, 0.6), (INTRA, 0.5)):
        add_row(store, label, skill, **change)
    (section,) = tables_of(store).values()
    assert not {"Published change", "Our change"} & set(section[FRAGMENTS][INTRA])
    (note,) = [note for note in notes_of(store, FRAGMENTS) if note.startswith("Published")]
    assert note.endswith("; not comparable, the numbers are in published/hrem_ablation.csv.")


def test_what_no_one_built_is_said():
    store = Store()
    add_row(store, "BiGRU", 0.6, method="gpo", variant="bigru")
    add_row(store, "none", 0.5, method="gpo", variant="bigru")
    tables = tables_of(store)["gpo on demo"]
    assert tables["Size augmentation"]["none"]["Change"] == "-60.0"  # against the same run under another name
    assert "Sequence model that generates the coefficients" not in tables  # its only change cannot be run


def test_simulated_inputs_are_said():
    store = Store()
    for label in ("VSSR", "w/o descriptions"):
        add_row(store, label, method="vssr", variant="", flags=["simulated_inputs"])
    (section,) = page_of(store).sections
    assert report.SIMULATED in section.intro


def test_overrides_that_no_set_names_stand_against_the_recipe_as_it_comes():
    store = Store()
    for seed in range(3):
        store.add(0.6, seed=seed, method="clip", variant="projection", recipe={"lr": 1})
    store.add(0.3, method="clip", variant="projection", recipe={"lr": 2}, overrides={"lr": 2})
    store.add(0.3, method="clip", variant="projection", recipe={"lr": 1}, dataset="demo")
    table = tables_of(store)
    assert list(table) == ["clip projection on f8k"]
    rows = table["clip projection on f8k"][report.OTHERS]
    assert list(rows) == ["the recipe as it is", "lr=2"]
    assert rows["lr=2"]["Change"] == "-180.0"


def test_a_row_of_a_set_is_not_told_again_as_another_override():
    store = Store()
    add_row(store, FULL, 0.6)
    add_row(store, INTRA, 0.5)
    add_row(store, FULL, 0.4, common={"embed_size": 64})  # a full row alone: of no table of the set
    assert list(tables_of(store)) == ["hrem on demo", "hrem fusion on demo"]
    assert list(tables_of(store)["hrem fusion on demo"][report.OTHERS]) == ["the recipe as it is", "embed_size=64"]


def test_records_that_do_not_belong_are_left_out():
    store = Store()
    add_row(store, FULL, flags=["limited"], limit=100)
    add_row(store, INTRA, flags=["imported"], seed=3)
    assert make_page(store.runs()) == (report.Page(report.TITLE, report.SOURCE, report.NOTHING, []), [])


def test_another_test_set_is_named_and_left_out():
    store = Store()
    add_row(store, FULL)
    add_row(store, "standalone")
    swapped = details_of(np.zeros(40), np.zeros(200), np.repeat(np.arange(40)[::-1], 5))
    recipe = read_set("hrem").expected(LABELS[INTRA][1], "demo", {})
    wrong = store.add_details({"demo-500": swapped}, method="hrem", variant="fusion", dataset="demo", recipe=recipe)
    page, (sentence,) = make_page(store.runs())
    assert wrong.id in sentence
    assert [table.title for table in page.sections[0].tables] == ["Interaction"]


def test_a_damaged_record_is_named_and_the_rest_written(tmp_path):
    store = Store()
    add_row(store, FULL, 0.6)
    add_row(store, INTRA, 0.5)
    damaged = store.write(tmp_path)[0]
    whole = write_ablations(tmp_path)[0].read_bytes()
    assert write_ablations(tmp_path)[0].read_bytes() == whole
    content = json.loads(damaged.read_text())
    damaged.write_text(json.dumps({**content, "schema_version": 99}))
    path, problems = write_ablations(tmp_path)
    assert damaged.name in problems[0]
    assert "intra-modal only" in path.read_text()
    with pytest.raises(RunError, match="does not exist"):
        write_ablations(tmp_path / "none")


def test_without_records_the_page_says_so(tmp_path):
    (tmp_path / "records").mkdir()
    assert "No ablation" in write_ablations(tmp_path)[0].read_text()
