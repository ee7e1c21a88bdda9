"""prepare --what caption_ids: COCO's id of every caption of files that came without, found by the captions' words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path

from itm_harness.benchmarks.common.errors import RunError
from itm_harness.benchmarks.preparing.job import known_names
from itm_harness.benchmarks.preparing.options import PrepareOptions
from itm_harness.benchmarks.preparing.text_file import TextFile, refuse_foreign, source_name, write_text
from itm_harness.datasets.errors import DataError
from itm_harness.datasets.files.annotations import Annotation, read_annotations
from itm_harness.datasets.files.caption_ids import caption_ids_path
from itm_harness.datasets.precomp import Dataset, open_dataset

NAME = "caption_ids"

Say = Callable[[str], None]


def write_caption_ids(options: PrepareOptions, say: Say) -> list[Path]:
    """Write `{split}_caption_ids.txt` of test, or of the splits that are asked for; returns what was written.

    Raises RunError where no source is named, DataError where a caption is not among its captions.
    """
    if not options.sources:
        raise RunError("--what caption_ids needs COCO's captions: --from captions_val2014.json or dataset_coco.json.")
    dataset = open_dataset(options.dataset, options.data_root)
    splits = known_names(options.splits or ["test"], list(dataset.spec.splits), "--splits")
    known = Captions(chain.from_iterable(read_annotations(Path(source)) for source in options.sources))
    texts = [_of_split(dataset, split, known, options.sources) for split in splits]
    for text in texts:
        refuse_foreign(text.path, options.force)
    return [text.path for text in texts if write_text(text, NAME, options.sources, say)]


def _of_split(dataset: Dataset, split: str, known: Captions, sources: Sequence[str]) -> TextFile:
    layout, path = dataset.layout(split), dataset.captions_path(split)
    captions: list[list[int]] = [[] for _ in range(layout.n_images)]  # lines of each image
    for line, image in enumerate(layout.image_of_text.tolist()):
        captions[image].append(line)
    ids = [0] * layout.n_texts
    for lines in captions:
        found = known.ids([layout.captions[line] for line in lines])
        for line, number in zip(lines, found, strict=True):
            if number is None:
                raise DataError(
                    f"{path}, line {line + 1}: '{layout.captions[line]}' is not among the captions of one picture in "
                    f"{', '.join(map(source_name, sources))}; give the file that this split was made from."
                )
            ids[line] = number
    return TextFile(caption_ids_path(dataset, split), "".join(f"{number}\n" for number in ids), len(ids))


class Captions:
    """Captions with ids, by their words. Every one is handed out once."""

    def __init__(self, annotations: Iterable[Annotation]) -> None:
        """Raises DataError where an annotation has no id."""
        self.of_words: dict[str, list[tuple[str, int]]] = {}  # words -> (picture, caption id)
        for one in annotations:
            if one.caption_id is None:
                raise DataError(f"{one.where} has no caption id; give COCO's captions JSON or Karpathy's of COCO.")
            self.of_words.setdefault(_words(one.caption), []).append((one.file_name, one.caption_id))

    def ids(self, captions: Sequence[str]) -> list[int | None]:
        """The ids of one picture's captions: of the picture that shares most of them; None = not among them."""
        words = [_words(caption) for caption in captions]
        shared = Counter(picture for w in words for picture in {p for p, _ in self.of_words.get(w, ())})
        picture = max(shared, key=shared.__getitem__, default=None)
        return [self._take(w, picture) for w in words]

    def _take(self, words: str, picture: str | None) -> int | None:
        entries = self.of_words.get(words, [])
        where = next((i for i, (of, _) in enumerate(entries) if of == picture), None)
        return None if where is None else entries.pop(where)[1]


def _words(caption: str) -> str:
    """Letters and digits alone: tokenizers differ in the rest."""
    return "".join(re.findall(r"[^\W_]+", caption.lower()))
