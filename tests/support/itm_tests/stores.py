"""Records with a chosen skill, in memory or on disk, for what is made from records."""

from datetime import UTC, datetime

import numpy as np
import torch

from itm_harness.benchmarks.leaderboard.board import Board, boards_of
from itm_harness.benchmarks.leaderboard.published import Published
from itm_harness.benchmarks.leaderboard.rows import Run, make_rows, make_runs
from itm_harness.benchmarks.protocol.ranks import evaluate_matrix, top_items
from itm_harness.benchmarks.records.schema import Details, Direction, Metrics, Record
from itm_harness.benchmarks.records.store import write_record

CURRENT = "code of today"
N_IMAGES, PER_IMAGE = 40, 5


def details_of(i2t, t2i, image_of_text) -> Details:
    """Details with these ranks and empty top lists."""
    return Details(i2t, t2i, image_of_text, *(np.zeros((len(ranks), 1)) for ranks in (i2t, i2t, t2i, t2i)))


def make_details(skill: float, seed: int = 0, n_images: int = N_IMAGES) -> Details:
    """Ranks of a system: the share `skill` of the queries has rank 0, the others rank 50."""
    rng = np.random.default_rng(seed)
    n_texts = n_images * PER_IMAGE
    i2t, t2i = (np.where(rng.permutation(n) < skill * n, 0, 50) for n in (n_images, n_texts))
    return details_of(i2t, t2i, np.repeat(np.arange(n_images), PER_IMAGE))


def ranked_details(similarity: np.ndarray, image_of_text: np.ndarray) -> Details:
    """Details of a similarity matrix (n_images, n_texts), with its ranked lists."""
    matrix, owners = torch.from_numpy(similarity).float(), torch.from_numpy(image_of_text)
    ranks = evaluate_matrix(matrix, owners).ranks
    return Details(ranks.i2t, ranks.t2i, image_of_text, *top_items(matrix), *top_items(matrix.T))


def make_metrics(details: Details, folds: int = 1) -> Metrics:
    """The metrics of these ranks."""
    sides = []
    for ranks in (details.i2t_ranks, details.t2i_ranks):
        r1, r5, r10 = (100 * float((ranks < k).mean()) for k in (1, 5, 10))
        median = 1 + float(np.floor(np.median(ranks)))
        sides.append(Direction(r1=r1, r5=r5, r10=r10, median=median, mean=1 + float(ranks.mean())))
    rsum = sides[0].total + sides[1].total
    sizes = {"n_images": len(details.i2t_ranks), "n_texts": len(details.t2i_ranks)}
    return Metrics(i2t=sides[0], t2i=sides[1], rsum=rsum, folds=folds, **sizes)


class Store:
    """Records and their details."""

    def __init__(self) -> None:
        self.records, self.details = [], {}

    def add(self, skill: float = 0.5, benchmarks=("f8k-1k",), n_images: int = N_IMAGES, folds: int = 1, **changes):
        """A record whose queries are right with this share; changes: any of its fields."""
        details = {name: make_details(skill, changes.get("seed") or 0, n_images) for name in benchmarks}
        return self.add_details(details, folds, **changes)

    def add_details(self, details: dict[str, Details], folds: int = 1, **changes) -> Record:
        """A record with these ranks."""
        values = {
            "method": "gpo", "variant": "gpo", "dataset": "f8k", "text": "BiGRU", "features": "BUTD region", "seed": 0,
            "selection": "dev", "recipe": {"optim": {"lr": 5e-4}}, "data_fingerprint": "d", "code": {},
            "metrics": {name: make_metrics(d, folds) for name, d in details.items()}, "code_hash": CURRENT,
            "versions": {}, "hardware": {"device": "CPU", "cpu": "Some CPU", "cores": 2}, "train_seconds": 90.0,
            "total_seconds": 100.0, "peak_memory": {"host": 2_500_000_000}, "parameters": 12_340_000,
            "created": datetime(2026, 1, 1, tzinfo=UTC),
        }  # fmt: skip
        record = Record(**{**values, **changes})
        self.records.append(record)
        self.details[record.id] = details
        return record

    def runs(self) -> list[Run]:
        """The runs of all records, their files as links."""
        return make_runs((r, self.details[r.id], f"records/{r.id}.json") for r in self.records)

    def boards(self) -> list[Board]:
        """The boards of all benchmarks."""
        return boards_of(self.runs())

    def rows(self, benchmark="f8k-1k"):
        """The rows of a benchmark's table."""
        return make_rows(benchmark, [run for run in self.runs() if benchmark in run.scores])

    def write(self, folder):
        """All of them on disk; returns the paths of their JSON."""
        return [write_record(record, self.details[record.id], folder) for record in self.records]


def make_published(**changes) -> Published:
    """A printed row of GPO on f8k-1k."""
    values = {
        "method": "GPO", "setting": "", "features": "BUTD region", "text": "BiGRU", "ensemble": "0",
        "benchmark": "f8k-1k", "our_method": "gpo", "our_variant": "gpo", "our_features": "BUTD region",
        "i2t_r1": 1, "i2t_r5": 2, "i2t_r10": 3, "t2i_r1": 4, "t2i_r5": 5, "t2i_r10": 6,
        "rsum": 290.0, "source": "a table",
    }  # fmt: skip
    return Published(**{**values, **changes})
