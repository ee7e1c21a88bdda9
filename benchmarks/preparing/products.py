"""The products by their name on the command line, in the order in which they are made."""

from __future__ import annotations

from benchmarks.preparing.clip import CLIPVectors
from benchmarks.preparing.content import Product
from benchmarks.preparing.dependencies import Dependencies
from benchmarks.preparing.descriptions import Descriptions
from benchmarks.preparing.graphs import SceneGraphs
from benchmarks.preparing.prototypes import PrototypeVectors
from benchmarks.preparing.regions import Regions
from benchmarks.preparing.sentences import SentenceVectors

PRODUCTS: dict[str, type[Product]] = {
    product.name: product
    for product in (Regions, CLIPVectors, Descriptions, SentenceVectors, PrototypeVectors, SceneGraphs, Dependencies)
}
