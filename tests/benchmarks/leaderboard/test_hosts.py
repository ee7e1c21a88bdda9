"""A method that extends another one, against that one."""

import pytest

from itm_harness.benchmarks.analysis.evidence import SeedVariance
from itm_harness.benchmarks.leaderboard.hosts import against_hosts, differing_values, hosts_of
from itm_tests.stores import Store


def against(store):
    rows = store.rows()
    return against_hosts(rows, rows, SeedVariance.pooled(row.sample for row in rows))


@pytest.mark.parametrize(
    ("method", "variant", "hosts"),
    [
        ("vsd", "gpo-star", ["gpo"]),
        ("vsd", "hrem-dagger", ["hrem fusion"]),
        ("vsd", "clip-star", ["clip projection", "clip zeroshot"]),
        ("vsd", "mine-star", ["mine"]),
        ("vssr", "vssr", ["gpo"]),
        ("aahr", "aahr", ["hrem fusion"]),
        ("gpo", "gpo", []),
        ("hrem", "fusion", []),
    ],
)
def test_who_the_host_is(method, variant, hosts):
    assert [str(host) for host in hosts_of(Store().add(method=method, variant=variant))] == hosts


def test_a_loss_is_shown_like_a_gain():
    store = Store()
    for seed in range(2):
        store.add(0.6, seed=seed)
    store.add(0.3, method="vssr", variant="vssr")
    store.add(0.9, method="vsd", variant="gpo-star", flags=["extra_pretraining", "simulated_inputs"])
    found, lonely = against(store)
    assert lonely == []
    assert [(f.row.first.method, f.host.first.method, len(f.host.records)) for f in found] == [
        ("vsd", "gpo", 2),
        ("vssr", "gpo", 2),
    ]
    gain, loss = found
    assert (gain.comparison.difference, loss.comparison.difference) == pytest.approx((180, -180))
    for each in found:
        assert each.comparison.low < each.comparison.difference < each.comparison.high
        assert each.comparison.p <= each.adjusted < 0.05
        assert each.comparison.seeds_counted  # the host has two
    assert loss.comparison.high < 0 < gain.comparison.low


def test_holm_runs_over_the_table():
    store = Store()
    store.add(0.2)
    for variant in ("gpo-star", "gpo-dagger"):
        store.add(0.25, method="vsd", variant=variant)
    found, _ = against(store)
    assert [f.adjusted for f in found] == pytest.approx([min(1, 2 * f.comparison.p) for f in found])


def test_the_host_is_the_row_that_is_most_alike():
    store = Store()
    store.add(0.5, recipe={"embed_size": 512, "optim": {"lr": 1}}, data_fingerprint="other data")
    chosen = store.add(0.6, recipe={"embed_size": 256, "optim": {"lr": 1}})
    store.add(0.9, recipe={"embed_size": 64, "optim": {"lr": 1}}, overrides={"embed_size": 64})
    store.add(0.9, variant="max", recipe={"embed_size": 128, "optim": {"lr": 1}})
    store.add(0.9, text="BERT", recipe={"embed_size": 128, "optim": {"lr": 1}})
    store.add(0.9, recipe={"embed_size": 128, "optim": {"lr": 1}}, flags=["imported"])
    recipe = {"host": {"embed_size": 128}, "optim": {"lr": 1}, "prototypes": 31}
    store.add(0.7, method="vsd", variant="gpo-star", recipe=recipe)
    store.add(0.7, method="vsd", variant="gpo-star", recipe={**recipe, "prototypes": 5}, overrides={"prototypes": 5})
    found, _ = against(store)
    assert len(found) == 2
    # all three differ in embed_size alone: one as it comes is taken, which of them the group decides
    assert {f.host.first.recipe["embed_size"] for f in found} <= {256, 512}
    store.records.append(store.add(0.6, seed=1, recipe=chosen.recipe))
    found, _ = against(store)
    assert {f.host.first.recipe["embed_size"] for f in found} == {256}  # more seeds
    assert {f.differing for f in found} == {"embed_size 128 (host: 256)"}
    store.add(0.9, recipe={"embed_size": 128, "optim": {"lr": 1}}, overrides={"embed_size": 128})
    found, _ = against(store)
    assert {(f.host.first.recipe["embed_size"], f.differing) for f in found} == {(128, "")}  # the same but for VSD


def test_what_differs_is_what_both_have():
    host = Store().add(
        recipe={"margin": 0.2, "temperature": 0.07, "bert_lr_factor": 0.1, "phases": {"graph": {"step": 8000}}}
    )
    guest = Store().add(
        selection="last",
        precision="bf16",
        recipe={
            "host": {"margin": 0.05, "heads": 4, "bert_lr_factor": 0.05},
            "temperature": 0.1,
            "phases": {"graph": {"fraction": 0.2}},
            "train": {"select": "last"},
        },
    )
    assert differing_values(guest, host) == [
        "margin 0.05 (host: 0.2)",
        "phases.graph fraction 0.2 (host: step 8000)",
        "precision bf16 (host: fp32)",
        "train.select last (host: dev)",
    ]
    assert differing_values(host, host) == []


def test_a_missing_host_is_said():
    store = Store()
    store.add(0.9, text="BERT")
    store.add(method="vssr", variant="vssr")
    store.add(method="vsd", variant="clip-star")
    store.add(method="clip", variant="zeroshot", selection="none")
    found, lonely = against(store)
    assert [str(f.host.system) for f in found] == ["clip zeroshot"]  # one of the two hosts is enough
    assert len(lonely) == 1
    assert lonely[0].startswith("vssr: no row of gpo with the same text encoder")
