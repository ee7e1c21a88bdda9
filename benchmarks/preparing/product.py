"""Something that `prepare` makes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from itm_harness.benchmarks.preparing.content import Content, Target
from itm_harness.benchmarks.preparing.job import Job


class Product(ABC):
    """Something that prepare makes: a --what. name: on the command line."""

    name: str

    def __init__(self, job: Job) -> None:
        self.job = job

    @abstractmethod
    def targets(self) -> list[Target]:
        """The files, in the order in which they are made."""

    def target(self, split: str, sidecar: str, content: Callable[[], Content], **details: object) -> Target:
        """A file of a split that a sidecar reads."""
        dataset = self.job.dataset
        path = dataset.folder / sidecar.replace("{split}", dataset.spec.file_split(split))
        return Target(path, split, content, sidecar=sidecar, **details)
