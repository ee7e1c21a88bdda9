"""A miniature data set with pictures, and records with ranked lists on it, for tests of the report page."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from itm_harness.benchmarks.records.schema import Details, Epoch
from itm_tests.stores import Store, ranked_details
from itm_tests.trees import write_f30k, write_pictures

N_IMAGES, PER_IMAGE = 12, 5
OWNERS = np.repeat(np.arange(N_IMAGES), PER_IMAGE)
HOSTILE = (
    "a </script><script>document.title = 'broken'</script> <img src=x onerror=\"document.title='broken'\"> <!-- dog"
)
HOSTILE_TEXT = 7  # the caption that says so, of image 1


def noisy_details(noise: float, seed: int) -> Details:
    """Own captions score best but for the noise."""
    rng = np.random.default_rng(seed)
    similarity = (np.arange(N_IMAGES)[:, None] == OWNERS) + noise * rng.standard_normal((N_IMAGES, len(OWNERS)))
    return ranked_details(similarity.astype(np.float32), OWNERS)


def write_data(root: Path) -> Path:
    """f30k with pictures and a hostile caption; returns the data root."""
    folder = write_f30k(root, images=N_IMAGES)
    write_pictures(folder, "test")
    captions = (folder / "test_caps.txt").read_text().splitlines()
    captions[HOSTILE_TEXT] = HOSTILE
    (folder / "test_caps.txt").write_text("\n".join(captions) + "\n")
    return root


def page_store(seed: int = 0) -> Store:
    """first with two seeds and an override, second, and third with marks; best first, and no shipped method."""
    store = Store()
    history = (Epoch(epoch=0, dev_rsum=100.0), Epoch(epoch=1, dev_rsum=200.0 + seed))

    def add(noise: float, number: int = 0, **changes: object) -> None:
        details = {"f30k-1k": noisy_details(noise, seed + number + int(100 * noise))}
        store.add_details(details, dataset="f30k", history=history, **changes)

    add(0.1, method="first", variant="", seed=0)
    add(0.1, 1, method="first", variant="", seed=1, train_seconds=150.0)
    add(0.6, method="second", variant="fusion", train_seconds=600.0, parameters=3_000_000)
    add(0.9, method="third", variant="", text="BERT", flags=("simulated_inputs",), train_seconds=None)
    add(0.7, method="first", variant="", overrides={"x": "<b>&"}, recipe={"x": "<b>&"})
    return store
