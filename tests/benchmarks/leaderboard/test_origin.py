"""How a row's numbers came about, and what they cost."""

import pytest

from itm_harness.benchmarks.leaderboard.origin import (
    COST,
    ORIGIN,
    cost,
    encoder_notes,
    extra_data,
    mixed_notes,
    origin,
    skipped_notes,
    width,
)
from itm_harness.benchmarks.leaderboard.tables import Link
from itm_tests.stores import Store


def cells(columns, values) -> dict:
    return {column.key: value for column, value in zip(columns, values, strict=True)}


def one_row(**changes):
    store = Store()
    store.add(**changes)
    (row,) = store.rows()
    return row


def test_a_plain_row():
    row = one_row()
    link = f"records/{row.first.id}.json"
    assert cells(ORIGIN, origin(row)) == {
        "features": "BUTD region", "text": "BiGRU", "selection": "dev", "score": "pairwise", "extra_data": "",
        "ensemble": False, "weights": "trained", "torch": "", "records": (Link("0", link),),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ({"selection": "last"}, "selection", "last"),
        ({"selection": "none"}, "weights", "not trained"),
        ({"flags": ["imported"], "selection": "none"}, "weights", "imported"),
        ({"flags": ["gallery_score"]}, "score", "gallery"),
        ({"flags": ["ensemble"]}, "ensemble", True),
        ({"versions": {"torch": "2.14.1"}}, "torch", "2.14.1"),
    ],
)
def test_what_sets_a_row_apart(change, key, value):
    assert cells(ORIGIN, origin(one_row(**change)))[key] == value


def test_every_record_of_a_row_is_linked():
    store = Store()
    ids = [store.add(seed=seed).id for seed in range(3)]
    ids.append(store.add(0.3, seed=None, method="clip", selection="none").id)
    trained, untrained = store.rows()
    assert cells(ORIGIN, origin(trained))["records"] == tuple(
        Link(str(seed), f"records/{ids[seed]}.json") for seed in range(3)
    )
    assert cells(ORIGIN, origin(untrained))["records"] == (Link("record", f"records/{ids[3]}.json"),)


def test_a_board_that_mixes_versions_of_torch_says_so():
    store = Store()
    store.add(versions={"torch": "2.14.1"})
    assert mixed_notes(store.rows()) == []
    store.add(versions={"torch": "2.15.0"}, method="hrem")
    assert mixed_notes(store.rows()) == ["Trained with different versions of torch: 2.14.1, 2.15.0."]


@pytest.mark.parametrize(
    ("recipe", "d"),
    [
        ({"optim": {}, "embed_size": 256}, "256"),
        ({"optim": {}, "host": {"embed_size": 128}, "prototypes": 3}, "128"),
        ({"1 gpo": {"optim": {}, "embed_size": 256}, "2 vsd": {"optim": {}, "host": {"embed_size": 128}}}, "256 + 128"),
        ({"dense": {"optim": {}, "embed_size": 128}, "sparse": {"optim": {}, "embed_size": 128}}, "128"),
        ({"optim": {}}, ""),
    ],
)
def test_the_width_of_the_embeddings(recipe, d):
    assert width(Store().add(recipe=recipe)) == d


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({"sidecars": ["boxes", "dependencies"]}, []),
        ({"sidecars": ["descriptions_star", "caption_vectors"]}, ["descriptions", "sentence vectors"]),
        ({"sidecars": ["factual_entities", "factual_relations"]}, ["entities"]),
        ({"sidecars": ["clip_texts", "clip_images"], "flags": ["simulated_inputs"]}, ["CLIP", "simulated"]),
        ({"features": "BUTD region + descriptions"}, ["descriptions"]),  # a record that does not note them
        ({"features": "BUTD region + CLIP ViT-B/32"}, ["CLIP"]),
        ({"features": "CLIP vectors", "text": "CLIP"}, ["CLIP"]),
        ({"features": "BUTD region + descriptions", "sidecars": []}, []),
    ],
)
def test_extra_data_is_what_other_models_made(change, kinds):
    assert extra_data(Store().add(**change)) == kinds


def test_encoders_are_noted_where_they_are_not_the_usual_ones():
    sources = {"caption_vectors": "embedded", "boxes": "as supplied", "clip_images": "simulated"}
    rows = [one_row(sidecar_sources=sources), one_row(method="hrem")]
    assert encoder_notes(rows) == ["gpo: caption_vectors by embedded."]


def test_skipped_steps_are_noted_where_there_are_any():
    rows = [one_row(steps=2000, skipped_steps=3), one_row(method="hrem", steps=2000)]
    assert skipped_notes(rows) == ["gpo, seed 0: 3 of 2,000 steps skipped (loss or gradient not finite)."]


def test_cost_is_shown_in_units_of_people():
    gpu = {"device": "H200", "cpu": "Some CPU", "cores": 8, "processes": 2}
    row = one_row(
        seconds_per_step=0.25, encode_seconds=3.0, hardware=gpu, precision="bf16",
        peak_memory={"host": 2_500_000_000, "device": 10**10},
    )  # fmt: skip
    assert cells(COST, cost(row)) == pytest.approx({
        "parameters_million": 12.34, "training_minutes": 1.5, "step_milliseconds": 250.0, "encode_seconds": 3.0,
        "score_seconds": None, "host_memory_gb": 2.5, "gpu_memory_gb": 10.0, "hardware": "2 x H200, bf16",
    })  # fmt: skip
    assert cells(COST, cost(one_row()))["hardware"] == "Some CPU, 2 cores"
    assert cells(COST, cost(one_row()))["gpu_memory_gb"] is None
