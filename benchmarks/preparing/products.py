"""The products by their name on the command line, in the order in which they are made."""

from __future__ import annotations

from itm_harness.benchmarks.preparing.clip import CLIPVectors
from itm_harness.benchmarks.preparing.dependencies import Dependencies
from itm_harness.benchmarks.preparing.descriptions import Descriptions
from itm_harness.benchmarks.preparing.graphs import SceneGraphs
from itm_harness.benchmarks.preparing.product import Product
from itm_harness.benchmarks.preparing.prototypes import PrototypeVectors
from itm_harness.benchmarks.preparing.regions import Regions
from itm_harness.benchmarks.preparing.sentences import SentenceVectors

PRODUCTS: dict[str, type[Product]] = {
    product.name: product
    for product in (Regions, CLIPVectors, Descriptions, SentenceVectors, PrototypeVectors, SceneGraphs, Dependencies)
}
