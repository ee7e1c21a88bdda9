"""The charts' specifications: compiled, without data of their own, without a scale for colours."""

import base64
import json
import zlib

import pytest

from itm_harness.benchmarks.report.charts import chart_specs, vega_library

DATA = {"minutes": {"rows", "frontier"}, "parameters": {"rows", "frontier"}, "recall": {"lines"}, "learning": {"lines"},
        "ablation": {"bars"}}  # fmt: skip


@pytest.mark.parametrize(("name", "needed"), DATA.items())
def test_a_chart_is_vega_with_empty_named_data(name, needed):
    spec = chart_specs()[name]
    assert spec["$schema"].startswith("https://vega.github.io/schema/vega/")
    sources = {source["name"] for source in spec["data"] if not {"source", "values", "url"} & set(source)}
    assert sources == needed


def test_colours_are_the_style_sheets():
    text = json.dumps(chart_specs())
    assert "var(--ink)" in text
    assert "#4c78a8" not in text  # Vega's own blue
    for spec in chart_specs().values():
        assert {scale["name"] for scale in spec["scales"]} <= {"x", "y"}


def test_the_library_unpacks_to_a_script_that_names_it():
    script = zlib.decompress(base64.b64decode(vega_library())).decode()
    assert "self.vegaEmbed" in script
