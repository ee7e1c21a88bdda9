"""Can GPO's pooling become the poolings that people know? The data-free check of VSE∞ (supplement, table 6).

For each pattern a fresh GPO is trained on random sets to give what the pattern gives, and its coefficients are compared
with the pattern's, for set sizes of the training and for smaller and larger ones.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.methods.encoders.pooling import GPOPooling, sort_descending

TABLE_6 = Path(__file__).parents[1] / "leaderboard" / "published" / "gpo_pooling.csv"
SIZES = {"seen": (20, 100), "smaller": (10, 19), "larger": (101, 120)}  # first and last, of training and of test
LONGEST = SIZES["larger"][1]

# Pattern -> weight of each rank (0 = the largest) in a set of so many, before they are normalised to the sum 1.
PATTERNS: dict[str, Callable[[Tensor, int], Tensor]] = {
    "average": lambda rank, size: torch.ones_like(rank),
    "max": lambda rank, size: rank < 1,
    "K-max (K = 10)": lambda rank, size: rank < 10,
    "top 50 %": lambda rank, size: rank < size // 2,
    "linear decay": lambda rank, size: size - rank,
}


@dataclass(frozen=True)
class Training:
    """How each GPO is trained: Adam with a cosine schedule on the squared error of the pooled vectors. Ours: the paper
    gives none of this. sets, dimensions: of a step's batch of standard normal sets."""

    steps: int = 800
    sets: int = 16
    dimensions: int = 32
    lr: float = 1e-2
    grad_clip: float = 1.0
    seed: int = 0


def coefficients(pattern: str, longest: int = LONGEST) -> Tensor:
    """A pattern's weights of every size from `longest` down to 1, (longest, longest), as GPOPooling.weight_table."""
    table = torch.zeros(longest, longest)
    for size in range(1, longest + 1):
        weights = PATTERNS[pattern](torch.arange(size), size).float()
        table[longest - size, :size] = weights / weights.sum()
    return table


def coefficient_errors(found: Tensor, wanted: Tensor) -> dict[str, float]:
    """Root mean square error over all ranks of all sizes, for each range of sizes.

    found, wanted: (LONGEST, LONGEST), the sizes from LONGEST down to 1.
    """
    errors = {}
    for name, (first, last) in SIZES.items():
        squares = [(found - wanted)[LONGEST - size, :size].square() for size in range(first, last + 1)]
        errors[name] = float(torch.cat(squares).mean().sqrt())
    return errors


def imitate(pattern: str, training: Training) -> dict[str, float]:
    """Train a GPO to pool like a pattern; its coefficient errors. The same on every call, on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums of several threads round differently
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.seed)
            return coefficient_errors(_trained(pattern, training).weight_table(LONGEST).detach(), coefficients(pattern))
    finally:
        torch.set_num_threads(threads)


def _trained(pattern: str, training: Training) -> GPOPooling:
    pool = GPOPooling()
    first, last = SIZES["seen"]
    wanted = coefficients(pattern, last)
    optimizer = torch.optim.Adam(pool.parameters(), lr=training.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, training.steps)
    for _ in range(training.steps):
        lengths = torch.randint(first, last + 1, (training.sets,))
        sets = torch.randn(training.sets, last, training.dimensions)  # (B, N, d)
        ranked = sort_descending(sets, lengths)  # (B, d, N)
        target = (ranked @ wanted[last - lengths][:, :, None]).squeeze(2)  # (B, d)
        (pool(sets, lengths) - target).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(pool.parameters(), training.grad_clip)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    return pool


def imitate_all(training: Training) -> Iterator[tuple[str, dict[str, float]]]:
    """(pattern, its coefficient errors), one after the other as they are done."""
    for pattern in PATTERNS:
        yield pattern, imitate(pattern, training)


def published_errors(file: Path = TABLE_6) -> dict[str, dict[str, float]]:
    """Pattern -> range of sizes -> error, as the paper prints them. Raises RunError where the file is damaged."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            return {row["pattern"]: {name: float(row[name]) for name in SIZES} for row in csv.DictReader(lines)}
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file} cannot be read ({error!r}); restore it from version control.") from error
