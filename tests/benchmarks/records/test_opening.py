"""Records by the beginning of an id that fits several."""

import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.opening import find_record
from itm_tests.stores import Store

OVERRIDDEN = {"recipe": {"optim": {"lr": 1e-3}}, "overrides": {"optim.lr": 1e-3}}


def test_the_shipped_recipe_is_what_a_beginning_stands_for(tmp_path, capsys):
    store = Store()
    store.add(**OVERRIDDEN)
    shipped = store.add()
    store.add(recipe={"optim": {"lr": 1e-2}}, overrides={"optim.lr": 1e-2})
    store.write(tmp_path)
    assert find_record("gpo-f8k-s0", tmp_path).stem == shipped.id
    out, error = capsys.readouterr()
    assert out == ""
    assert (
        error == f"gpo-f8k-s0 is taken for {shipped.id}, of the shipped recipe; it also fits 2 others with overrides.\n"
    )


def test_a_beginning_of_one_record_is_not_commented(tmp_path, capsys):
    store = Store()
    overridden = store.add(**OVERRIDDEN)
    store.write(tmp_path)
    assert find_record("gpo", tmp_path).stem == overridden.id
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("seeds", [(0, 1), ()])
def test_of_two_shipped_ones_or_of_none_a_longer_id_is_wanted(seeds, tmp_path):
    store = Store()
    store.add(**OVERRIDDEN)
    store.add(recipe={"optim": {"lr": 1e-2}}, overrides={"optim.lr": 1e-2})
    for seed in seeds:
        store.add(seed=seed)
    store.write(tmp_path)
    with pytest.raises(RunError, match=r"record gpo is ambiguous: gpo-f8k-s0-.*; write more of the id"):
        find_record("gpo", tmp_path)
