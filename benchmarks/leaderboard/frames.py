"""The leaderboard as a pandas frame."""

from __future__ import annotations

import pandas as pd

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.leaderboard.tables import Page
from itm_harness.datasets.spec import nearest


def leaderboard_frame(page: Page, kind: str) -> pd.DataFrame:
    """A row per row of the tables of a kind, with the keys that CSV and JSON have, and its benchmark.

    Raises RunError where the page has no table of that kind.
    """
    rows = page.rows()
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    if kind not in kinds:
        raise RunError(
            f"the leaderboard has no rows of kind '{kind}'{nearest(kind, kinds)}; it has: {', '.join(kinds)}."
        )
    return pd.DataFrame([row for row in rows if row["kind"] == kind]).drop(columns="kind")
