"""The leaderboard as a frame holds what its CSV holds."""

import io

import pandas as pd
import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.formats import csv_text
from itm_harness.benchmarks.leaderboard.frames import leaderboard_frame
from itm_harness.benchmarks.leaderboard.page import make_page
from itm_tests.stores import Store, make_published


@pytest.fixture
def page():
    store = Store()
    store.add(0.6, seed=0)
    store.add(0.62, seed=1)
    store.add(0.9, method="gsmn", variant="dense")
    return make_page(store.runs(), [make_published()])[0]


@pytest.mark.parametrize("kind", ["measured", "published"])
def test_a_kind_of_rows_is_that_of_the_csv(page, kind):
    frame = leaderboard_frame(page, kind)
    listed = pd.read_csv(io.StringIO(csv_text(page))).query("kind == @kind").reset_index(drop=True)
    assert frame.rsum.tolist() == listed.rsum.tolist()
    assert frame.method.tolist() == listed.method.tolist()
    assert set(frame.columns) <= set(listed.columns)


def test_rows_are_means_over_seeds(page):
    frame = leaderboard_frame(page, "measured").set_index("method")
    assert frame.seeds.to_dict() == {"gsmn": 1, "gpo": 2}
    assert frame.i2t_r1.to_dict() == {"gsmn": 90, "gpo": 61.25}  # of 40 images 24 and 25
    assert list(frame.index) == ["gsmn", "gpo"]


def test_an_unknown_kind_is_refused_with_the_known_ones(page):
    with pytest.raises(RunError, match=r"no rows of kind 'mesured' \(did you mean 'measured'"):
        leaderboard_frame(page, "mesured")
