"""What may be contributed: each thing that speaks against a record, and what is copied where nothing does."""

import pytest

from itm_harness.benchmarks.audit.contribution import Terms, contribute
from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.records.store import read_details, read_records
from itm_tests.stores import Store, make_details

COMMITTED = {"code": {"commit": "0123456789", "dirty": False}, "dataset": "demo"}


@pytest.fixture
def own(tmp_path):
    """Files records of a user's own below a results folder; returns their ids."""

    def write(*changes: dict, folder=tmp_path / "local") -> list[str]:
        store = Store()
        for one in changes:
            store.add_details({"demo-500": make_details(0.5, n_images=500)}, **{**COMMITTED, **one})
        store.write(folder)
        return [record.id for record in store.records]

    return write


def refusal(names, results, terms=Terms()) -> str:
    with pytest.raises(RunError) as refused:
        contribute(names, results, terms)
    assert read_records(results) == []
    return str(refused.value)


def test_three_seeds_are_copied_with_who_submitted_them(own, tmp_path):
    ids = own(*({"seed": seed} for seed in range(3)))
    paths = contribute([*ids, "gpo-demo-s0"], tmp_path, Terms(submitter="A. Name"))
    assert paths == [tmp_path / "records" / f"{name}.json" for name in ids]
    before, after = read_records(tmp_path / "local"), read_records(tmp_path)
    assert [r.model_copy(update={"submitter": ""}) for r in after] == before
    assert [(r.submitter, r.identity) for r in after] == [("A. Name", r.identity) for r in before]
    np_before, np_after = (read_details(before[0], folder)["demo-500"] for folder in (tmp_path / "local", tmp_path))
    assert (np_before.i2t_ranks == np_after.i2t_ranks).all()


def test_seeds_that_are_contributed_already_count(own, tmp_path):
    own({"seed": 0}, {"seed": 1}, folder=tmp_path)
    assert len(contribute(own({"seed": 2}), tmp_path, Terms())) == 1


def test_fewer_seeds_need_a_reason(own, tmp_path):
    ids = own({"seed": 0}, {"seed": 4})
    assert f"{ids[0]}, {ids[1]}: a row needs 3 seeds; run and name the others" in refusal(ids, tmp_path)
    others = own(*({"seed": seed, "text": "BERT"} for seed in range(3)))
    contribute([*ids, *others], tmp_path, Terms(fewer_seeds="no more time"))
    told = {record.id: record.fewer_seeds for record in read_records(tmp_path)}
    assert told == dict.fromkeys(ids, "no more time") | dict.fromkeys(others, "")


def test_a_record_without_a_seed_stands_alone(own, tmp_path):
    assert len(contribute(own({"seed": None, "selection": "none"}), tmp_path, Terms())) == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"flags": ["limited"], "limit": 500}, "of a smoke run (--limit)"),
        ({"code": {"commit": "unknown"}}, "outside of a git checkout"),
        ({"code": {"commit": "0123", "dirty": True}}, "changes that no commit holds"),
        ({"code": {"commit": "0123"}}, "changes that no commit holds"),
        ({"method": "mine"}, "is of mine, which is not part of this harness"),
        ({"dataset": "mine"}, "is of mine, which is not part of this harness"),
        ({"flags": ["gallery_score"]}, "the flag gallery_score does not fit the method"),
        ({"steps": 1, "skipped_steps": 2}, "more steps were skipped than made"),
    ],
)
def test_what_speaks_against_a_record(own, tmp_path, changes, told):
    (name,) = own(changes)
    (sentence, last) = refusal([name], tmp_path, Terms(fewer_seeds="a test")).split("\n")
    assert sentence.startswith(name)
    assert told in sentence
    assert last == "nothing was copied."


def test_one_that_is_refused_keeps_the_others_back(own, tmp_path):
    ids = own({"seed": 0}, {"seed": 1}, {"seed": 2}, {"seed": 3, "flags": ["limited"], "limit": 500})
    assert "smoke run" in refusal(ids, tmp_path)


def test_an_older_record_of_the_same_run_is_replaced(own, tmp_path):
    own({"seed": 0, "total_seconds": 1.0}, folder=tmp_path)
    contribute(own({"seed": 0, "total_seconds": 2.0}), tmp_path, Terms(fewer_seeds="a test"))
    assert [r.total_seconds for r in read_records(tmp_path)] == [2.0]
