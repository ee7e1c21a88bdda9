"""`show` in the terminal: the query, the rank, the list with right items marked; what is wrong is one sentence."""

import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from itm_harness.benchmarks.analysis.show import look_up, show
from itm_harness.benchmarks.commands import app as harness
from itm_harness.benchmarks.common.errors import RunError
from itm_tests.stores import Store, ranked_details
from itm_tests.trees import write_f30k, write_pictures

N_IMAGES = 4


@pytest.fixture
def place(tmp_path):
    """Data, two records on it, and one of another benchmark."""
    folder = write_f30k(tmp_path / "data", images=N_IMAGES)
    write_pictures(folder, "test")
    owners = np.repeat(np.arange(N_IMAGES), 5)
    right = (np.arange(N_IMAGES)[:, None] == owners).astype(np.float32)
    order = np.linspace(0, 0.5, 5 * N_IMAGES, dtype=np.float32)  # breaks ties: later captions score better
    store = Store()
    store.add_details({"f30k-1k": ranked_details(right + order, owners)}, dataset="f30k")
    store.add_details({"f30k-1k": ranked_details(order - right, owners)}, dataset="f30k", method="hrem")
    store.add(method="vssr")
    store.write(tmp_path / "results")
    captions = (folder / "test_caps.txt").read_text().splitlines()
    captions[7] = "a [red]dog[/red] <b>runs</b>"
    (folder / "test_caps.txt").write_text("\n".join(captions) + "\n")
    return tmp_path


@pytest.fixture
def shown(place):
    """What it prints."""

    def call(record="gpo", query=1, direction="i2t", against=None, benchmark=None, dataset=None) -> str:
        console = Console(file=io.StringIO(), width=160)
        found = look_up(record, query, direction, against, benchmark, dataset, place / "results", place / "data")
        show(found, console)
        return console.file.getvalue()

    return call


def test_an_image_with_its_captions(shown):
    text = shown()
    assert "picture test_1001.png; its captions:" in text
    assert re.search(r"gpo-f30k-s0-\w+: rank 1 *\n", text)
    rows = re.findall(r"│ (\d+) +│ (✓?) +│ (\d+) +│ (\d\.\d{4}) │", text)
    assert [(place, right, item) for place, right, item, _ in rows[:6]] == [
        (str(i + 1), "✓", str(9 - i)) for i in range(5)
    ] + [("6", "", "19")]
    assert "a [red]dog[/red] <b>runs</b>" in text  # no markup


def test_a_caption_with_its_picture_against_another_record(shown):
    text = shown(query=7, direction="t2i", against="hrem")
    assert "its picture: image 1, test_1001.png" in text
    assert re.search(r"gpo-f30k-s0-\w+: rank 1 *\n", text)
    assert re.search(r"hrem-gpo-f30k-s0-\w+: rank 4 *\n", text)
    assert re.search(r"│ 1 +│ ✓ +│ 1 +│ 1\.\d+ │ test_1001.png: A ", text)


def test_the_same_as_json(place):
    document = look_up("gpo", 7, "t2i", "hrem", None, None, place / "results", place / "data").document()
    assert (document["benchmark"], document["direction"], document["query"]) == ("f30k-1k", "t2i", 7)
    assert document["text"] == "a [red]dog[/red] <b>runs</b>"
    assert document["right"] == [{"item": 1, "text": "test_1001.png"}]
    assert [answer["rank"] for answer in document["answers"]] == [1, 4]
    best = document["answers"][0]["best"][0]
    assert (best["item"], best["right"], best["text"]) == (1, True, "test_1001.png")
    assert document == json.loads(json.dumps(document))


def test_a_rank_beyond_the_list_is_said(shown, place):
    assert "rank 16, not among the best listed" in shown(record="hrem")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"query": 4}, "--query 4: there are 4 images"),
        ({"record": "gsmn"}, "record gsmn is not among those of"),
        ({"against": "vssr"}, "vssr.* was not measured on f30k-1k but on f8k-1k"),
        ({"benchmark": "f30k"}, "no benchmark 'f30k'"),
    ],
)
def test_what_does_not_exist_is_named(shown, wrong, message):
    with pytest.raises(RunError, match=message):
        shown(**wrong)


def test_missing_data_are_one_sentence_and_exit_code_2(place, monkeypatch, capsys):
    arguments = ["show", "gpo", "--query", "0", "--results", str(place / "results"), "--data-root", str(place)]
    monkeypatch.setattr("sys.argv", ["harness.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        harness.main()
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "there is no" in error
    assert "f30k/precomp" in error
