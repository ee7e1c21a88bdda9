"""One call of `prepare`: its data set, and how a file of it is written, resumed and reported."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.common.interrupt import StopRequest
from itm_harness.benchmarks.preparing.content import Content, Target
from itm_harness.benchmarks.preparing.encoder import ChosenEncoder
from itm_harness.benchmarks.preparing.options import PrepareOptions
from itm_harness.benchmarks.preparing.part_file import discard_part, open_part
from itm_harness.benchmarks.preparing.progress import progress_of
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.manifest import Manifest, read_manifest
from itm_harness.datasets.pictures.model_files import Models
from itm_harness.datasets.precomp import Dataset, root_folder
from itm_harness.datasets.sidecars import find_sidecar
from itm_harness.datasets.spec import DatasetSpec, nearest


class Job:
    """What products share: the options, the data set, its splits that are asked for."""

    def __init__(self, options: PrepareOptions, dataset: Dataset, console: Console, stop: StopRequest) -> None:
        self.options, self.dataset, self.console, self.stop = options, dataset, console, stop
        self.models = Models(root_folder(options.data_root))
        self.encoder = ChosenEncoder(options, dataset, self.models)
        self.splits = known_names(options.splits or list(dataset.spec.splits), list(dataset.spec.splits), "--splits")

    def wanted(self, targets: Sequence[Target]) -> list[Target]:
        """The targets to make: without optional ones that have no source, and without what nobody would read.

        Raises DataError with everything that is missing, RunError where a file of somebody else's is in the way.
        """
        made: set[Path] = set()
        missing, wanted = [], []
        for target in targets:
            sentence = _missing(target, made)
            made |= {target.path} if sentence is None or not target.optional else set()
            if sentence is None:
                wanted += [target] if self._is_read(target) else []
            elif not target.optional and sentence not in missing:
                missing.append(sentence)
        if missing:
            raise DataError("\n".join(missing))
        for target in wanted:
            self._refuse_foreign(target.path)
        return wanted

    def make(self, target: Target) -> Path | None:
        """Make a file, or go on with it; None where it is there already."""
        path, content = target.path, target.content()
        manifest = content.manifest
        if not self.options.force and is_made(path, manifest):
            self.say(f"{self.name(path)}: already made, {_about(manifest)}")
            discard_part(path)
            return None
        began = time.monotonic()
        self._write(path, content, manifest)
        size, seconds = path.stat().st_size / 1e6, time.monotonic() - began
        self.say(f"{self.name(path)}: {_about(manifest)}, {size:,.1f} MB, {seconds:.1f} s")
        return path

    def name(self, path: Path) -> str:
        """A file as it is told: below the precomp folder."""
        return (
            path.relative_to(self.dataset.folder).as_posix() if path.is_relative_to(self.dataset.folder) else path.name
        )

    def say(self, line: str) -> None:
        """A line for the user."""
        self.console.print(line, soft_wrap=True, highlight=False, markup=False)

    def _write(self, path: Path, content: Content, manifest: Manifest) -> None:
        step = content.step
        if self.options.force:
            discard_part(path)
        with open_part(path, manifest, step) as part:
            if part.rows:
                self.say(f"{self.name(path)}: going on after {part.rows:,} of {part.total:,}")
            with progress_of(self.console, self.name(path), part.total, part.rows) as tell:
                while part.rows < part.total:
                    self.stop.raise_if_asked()
                    part.append(content.rows(part.rows, min(part.rows + step, part.total)))
                    tell(part.rows)
            part.finish()

    def _is_read(self, target: Target) -> bool:
        """Does a sidecar of the data set read the target? Raises DataError where it declares none that could."""
        if target.sidecar is None:
            return True
        spec, split = self.dataset.spec, target.split
        names = readers(spec, split, target.sidecar)
        if not names:
            raise DataError(
                f"data set {spec.name} declares no sidecar that reads {target.sidecar}; write `extends: scan` in its "
                f"YAML, or add that name to the files of a sidecar."
            )
        found = [find_sidecar(spec, name, self.dataset.folder, split) for name in names]
        if any(path in (None, target.path) for path in found):
            return True
        if target.alone:
            raise RunError(
                f"{found[0]} is there: vectors of another CLIP model, and a run reads those of one; move the files of "
                f"that model away, or name those to be read in a data set YAML of your own."
            )
        self.say(f"{self.name(target.path)}: not needed, {found[0].name} is there")
        return False

    def _refuse_foreign(self, path: Path) -> None:
        if path.exists() and not self.options.force and not is_made_here(path):
            raise RunError(
                f"{path} is there, and no manifest beside it says that this command made it; "
                f"move it away, or replace it with --force."
            )


def readers(spec: DatasetSpec, split: str, sidecar: str) -> list[str]:
    """The sidecars of a data set that read a file, "{split}_…"."""
    return [
        name
        for name, declared in spec.sidecars.items()
        if any(fnmatchcase(sidecar, pattern) for pattern in declared.patterns(split, "{split}"))
    ]


def is_made_here(path: Path) -> bool:
    """Does a manifest beside a file say that this command made it?"""
    return _made(path) is not None


def is_made(path: Path, manifest: Manifest) -> bool:
    """Is a file there that holds what the manifest says?"""
    made = _made(path) if path.exists() else None
    return made is not None and made.same_content(manifest)


def known_names(names: Sequence[str], known: list[str], option: str) -> list[str]:
    """The names. Raises RunError where one is not known."""
    for name in names:
        if name not in known:
            raise RunError(f"{option} {name}: unknown{nearest(name, known)}; use {', '.join(known)}.")
    return list(names)


def _missing(target: Target, made: set[Path]) -> str | None:
    """What a target would be made of and is neither there nor among those that are made."""
    for source in target.sources:
        if source.path not in made and not source.path.exists():
            return f"{source.path} is missing: {source.what}; write it, or leave it out with --what."
    try:
        target.check()
    except DataError as error:
        return str(error)
    return None


def _made(path: Path) -> Manifest | None:
    """The manifest of a file; None where none describes it, or it is damaged."""
    try:
        return read_manifest(path)
    except DataError:
        return None


def _about(manifest: Manifest) -> str:
    return f"{' x '.join(f'{n:,}' for n in manifest.shape)}, {manifest.label}"
