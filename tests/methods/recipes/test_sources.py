"""Where the values of recipes are from: nothing is chosen on a test split."""

import pytest
import yaml

from itm_harness.datasets.spec import dataset_names, find_spec
from itm_harness.methods.registry import RECIPES

BENCHMARKS = {benchmark.name for name in dataset_names() for benchmark in find_spec(name).benchmarks}


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_reason_names_a_benchmark(recipe):
    """A benchmark is measured on test; a figure that decides a value is of dev."""
    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    sections = [content.get("defaults") or []]
    sections += [blocks for name in ("datasets", "variants") for blocks in (content.get(name) or {}).values()]
    sources = [block["source"] for blocks in sections for block in blocks]
    assert sources
    for source in sources:
        assert not [name for name in BENCHMARKS if name in source], f"{recipe.name}: {source}"
