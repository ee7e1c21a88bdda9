"""The leaderboard as a frame holds what its CSV holds."""

import io

import pandas as pd
import pytest

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.build import read_page
from itm_harness.benchmarks.leaderboard.formats import csv_text
from itm_harness.benchmarks.leaderboard.frames import leaderboard_frame
from itm_tests.stores import Store


@pytest.fixture
def page(tmp_path):
    store = Store()
    store.add(0.6, seed=0)
    store.add(0.62, seed=1)
    store.add(0.9, method="gsmn", variant="dense")
    store.write(tmp_path)
    return read_page(tmp_path)[0]


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


def test_an_unknown_kind_is_refused_with_the_known_ones(page):
    with pytest.raises(RunError, match=r"no rows of kind 'mesured' \(did you mean 'measured'"):
        leaderboard_frame(page, "mesured")
