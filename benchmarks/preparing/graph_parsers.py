"""What turns captions into scene graphs: FactualSceneGraph, or rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.content import Maker
from itm_harness.benchmarks.preparing.factual import FactualParser
from itm_harness.benchmarks.preparing.options import PrepareOptions
from itm_harness.benchmarks.preparing.rule_graphs import RuleParser
from itm_harness.datasets.pictures.model_files import Models


class GraphParser(Maker, Protocol):
    """step: captions at a time."""

    @property
    def step(self) -> int: ...

    def require(self) -> None:
        """Raises DataError where something that it needs is missing."""
        ...

    def graphs(self, captions: Sequence[str]) -> list[dict[str, Any]]:
        """Per caption entities (name, attributes) and relations (subject, relation, object)."""
        ...


def open_graph_parser(options: PrepareOptions, models: Models) -> GraphParser:
    """The parser that the options name. Raises RunError where it is not known."""
    if options.graph_parser == "rules":
        return RuleParser()
    if options.graph_parser in (None, "factual"):
        return FactualParser(options.graph_model, options.graph_python, models, options.batch_size)
    raise RunError(f"--graph-parser {options.graph_parser}: unknown; use factual or rules.")
