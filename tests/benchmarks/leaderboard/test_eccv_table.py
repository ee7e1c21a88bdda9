"""The leaderboard's table of ECCV Caption and CxC: measured rows, what AAHR prints, in every format."""

import json

import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.eccv_table import FILE, read_eccv
from itm_harness.benchmarks.leaderboard.formats import FORMATS
from itm_harness.benchmarks.leaderboard.page import make_page
from itm_harness.benchmarks.records.schema import ECCVCaption, Judged
from itm_tests.stores import Store, make_details, make_metrics


def judged(value):
    names = ("map_at_r", "r_precision", "r1", "cxc_r1", "cxc_r5", "cxc_r10")
    sides = [Judged(**{name: value + 10 * side + i for i, name in enumerate(names)}) for side in (0, 1)]
    return ECCVCaption(i2t=sides[0], t2i=sides[1])


def add(store, skill, value, **changes):
    metrics = make_metrics(make_details(skill, changes.get("seed", 0)))
    metrics = metrics.model_copy(update={"eccv": None if value is None else judged(value)})
    return store.add(skill, benchmarks=("coco-5k",), dataset="coco", metrics={"coco-5k": metrics}, **changes)


@pytest.fixture
def page():
    store = Store()
    add(store, 0.5, 20.0)
    add(store, 0.5, 21.0, seed=1)
    add(store, 0.5, None, seed=2)  # before the ids were there
    add(store, 0.4, None, method="gsmn", variant="dense")
    add(store, 0.7, 40.0, method="aahr", flags=["extra_pretraining"])
    return make_page(store.boards(), [], read_eccv())[0]


def test_measured_rows_stand_above_printed_ones(page):
    (table,) = [t for t in page.sections[0].tables if t.kind == "eccv_caption"]
    gpo, aahr, printed = [[c.text(v) for c, v in zip(table.columns, row, strict=True)] for row in table.rows]
    assert aahr[:3] == ["aahr gpo (extra data)", "BiGRU", "1"]
    assert gpo[0] == "gpo"
    assert gpo[2:] == ["2", "20.5", "21.5", "22.5", "30.5", "31.5", "32.5", "23.5", "24.5", "25.5", "33.5", "34.5",
                       "35.5", "measured here"]  # fmt: skip
    assert printed[:1] + printed[3:9] == ["AAHR", "34.2", "44.8", "81.3", "49.7", "57.4", "90.3"]
    assert printed[9:15] == ["–"] * 6  # noqa: RUF001
    assert printed[-1] == "comment in AAHR's evaluation script"


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_shows_them(page, name):
    text = FORMATS[name][1](page)
    assert "34.2" in text
    assert "measured here" in text
    if name == "json":
        rows = json.loads(text)["benchmarks"][0]["eccv_caption"]
        assert (rows[0]["eccv_i2t_map_at_r"], rows[0]["cxc_t2i_r10"], rows[2]["cxc_i2t_r1"]) == (20.5, 35.5, None)


def test_they_belong_to_coco_5k_alone():
    store = Store()
    store.add(0.5)
    page, _ = make_page(store.boards(), [], read_eccv())
    assert "eccv_caption" not in page.sections[0].data()


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "eccv.csv"
    path.write_text(FILE.read_text().replace("34.2", "high"))
    with pytest.raises(RunError, match=r"eccv\.csv cannot be read"):
        read_eccv(path)
