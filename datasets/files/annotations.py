"""Pictures with captions as others publish them: Karpathy's dataset_*.json, COCO's captions JSON, a JSON list of pairs
such as N24News', a CSV of a user."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from itm_harness.datasets.errors import DataError

# Karpathy's restval, COCO's validation images that he leaves over, belongs to the training split, as in SCAN.
SPLITS = {
    **dict.fromkeys(("train", "restval", "training"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation"), "dev"),
    "test": "test",
}
COLUMNS = ("image", "caption", "split", "image_id", "caption_id")  # of a CSV; the last two may be missing
KINDS = (
    "give Karpathy's dataset_*.json, COCO's captions_*.json, a JSON list of objects with image and caption, or a CSV"
)
LONGEST_NAME = 255  # bytes of a file name
NAMED = 8  # keys that a sentence names
CSV_SUFFIXES = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Annotation:
    """A caption of a picture, as a file says it; None where it says no id or no split. where: its place in the file."""

    file_name: str
    caption: str
    split: str | None
    where: str
    image_id: str | None = None
    caption_id: int | None = None


@dataclass
class Annotated:
    """A picture with its captions, in the order of the file. caption_ids: None where the file gives none."""

    image_id: str
    file_name: str
    captions: list[str]
    caption_ids: list[int] | None


@dataclass(frozen=True)
class Collection:
    """Splits of a data set: split -> its pictures. notes: sentences about what was found odd and kept or left out."""

    splits: dict[str, list[Annotated]]
    notes: list[str]


def collect(annotations: Iterable[Annotation], at_most: int | None = None) -> Collection:
    """Pictures with their captions, in the order of appearance.

    at_most: captions kept per picture. Raises DataError, with the place, where a caption is empty, a split is not
    known, a file name leads out of its folder, one picture stands in two splits, or two have one id.
    """
    pictures: dict[str, tuple[str, Annotated]] = {}  # file name -> split and picture
    owner: dict[str, str] = {}  # image id -> file name
    twice = left_out = 0
    for one in annotations:
        name, split, caption = _file_name(one), _split(one), _caption(one)
        if name not in pictures:
            image_id = str(len(pictures)) if one.image_id is None else one.image_id
            if owner.setdefault(image_id, name) != name:
                raise DataError(f"{one.where}: {name} has the id {image_id} of {owner[image_id]}; give it its own.")
            pictures[name] = split, Annotated(image_id, name, [], None if one.caption_id is None else [])
        there, picture = pictures[name]
        if there != split:
            raise DataError(f"{one.where}: {name} is in {split}, but before it was in {there}; keep it in one split.")
        if one.image_id not in (None, picture.image_id):
            raise DataError(f"{one.where}: {name} has the id {one.image_id}, but before {picture.image_id}.")
        if at_most is not None and len(picture.captions) == at_most:
            left_out += 1
            continue
        twice += caption in picture.captions
        picture.captions.append(caption)
        if picture.caption_ids is not None:
            picture.caption_ids = None if one.caption_id is None else [*picture.caption_ids, one.caption_id]
    splits: dict[str, list[Annotated]] = {}
    for split, picture in pictures.values():
        splits.setdefault(split, []).append(picture)
    return Collection(splits, _notes(twice, left_out, at_most))


def _notes(twice: int, left_out: int, at_most: int | None) -> list[str]:
    notes = [f"{twice:,} captions repeat one of the same picture; they are kept."] if twice else []
    return notes + ([f"{left_out:,} captions are left out: {at_most} per picture are kept."] if left_out else [])


def _file_name(one: Annotation) -> str:
    """The picture's name below its folder, with slashes."""
    name = one.file_name.strip()
    windows, posix = PureWindowsPath(name), PurePosixPath(name)
    strange = "\\" in name or any(ord(c) < 32 for c in name) or not _is_unicode(name)
    strange = strange or any(len(part.encode()) > LONGEST_NAME for part in posix.parts)
    if not name or strange or windows.drive or windows.root or ".." in posix.parts or posix == PurePosixPath("."):
        raise DataError(
            f"{one.where}: {name[:60]!r} is no file name below the folder of the pictures; write one without .., "
            f"without \\, without a leading / and no longer than {LONGEST_NAME} bytes."
        )
    return str(posix)


def _split(one: Annotation) -> str:
    if one.split is None:
        raise DataError(f"{one.where} says no split; name it before the file: --from test=FILE (train, dev or test).")
    split = SPLITS.get(one.split.strip().lower())
    if split is None:
        raise DataError(f"{one.where}: split {one.split[:60]!r} is unknown; write train, dev or test.")
    return split


def _caption(one: Annotation) -> str:
    """In one line."""
    caption = " ".join(one.caption.split())
    if not caption:
        raise DataError(f"{one.where}: the caption of {one.file_name} is empty; write one, or remove it.")
    if not _is_unicode(caption):
        raise DataError(f"{one.where}: the caption of {one.file_name} has half of a character pair; write it anew.")
    return caption


def _is_unicode(text: str) -> bool:
    """JSON can spell halves of characters, which no file takes."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def read_annotations(path: Path, split: str | None = None) -> Iterator[Annotation]:
    """The captions of a file, whichever of the four kinds it is. split: of the whole file, which itself says none.

    Raises DataError where the file cannot be read, lacks something, or says its splits although `split` is given.
    """
    found = _read_csv(path) if path.suffix.lower() in CSV_SUFFIXES else _read_json(path)
    for one in found:
        if split is not None and one.split is not None:
            raise DataError(f"{one.where} says its split itself; leave out the name before the file: --from {path}.")
        yield one if split is None else Annotation(**{**vars(one), "split": split})


def _read_csv(path: Path) -> Iterator[Annotation]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, delimiter=CSV_SUFFIXES[path.suffix.lower()], strict=True)
            reader.fieldnames = _columns(path, reader.fieldnames or [])
            for row in reader:
                yield _of_row(f"{path}, line {reader.line_num}", row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _unreadable(path, error) from error


def _columns(path: Path, names: Iterable[str]) -> list[str]:
    found = [name.strip().lower() for name in names]
    missing = [name for name in ("image", "caption") if name not in found]
    if missing:
        raise DataError(
            f"{path} has the columns {', '.join(found) or 'none'}, but no {' and no '.join(missing)}; its first line "
            f"has to name the columns image, caption and split."
        )
    return found


def _of_row(where: str, row: Mapping[Any, Any]) -> Annotation:
    if None in row or None in row.values():
        raise DataError(f"{where} has not as many cells as the first line; put quotes around captions with commas.")
    image, caption, split, image_id, caption_id = (row.get(name) for name in COLUMNS)
    if caption_id is not None and not caption_id.strip().isdecimal():
        raise DataError(f"{where}: caption_id '{caption_id}' is no whole number; correct it.")
    number = None if caption_id is None else int(caption_id)
    return Annotation(image, caption, split, where, None if image_id is None else _id(image_id, where), number)


def _read_json(path: Path) -> Iterator[Annotation]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _unreadable(path, error) from error
    if isinstance(content, list):
        yield from _of_pairs(path, content)
        return
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise DataError(f"{path} is no list, and has no list 'images'; {KINDS}.")
    if isinstance(content.get("annotations"), list):
        yield from _of_coco(path, content)
    else:
        yield from _of_karpathy(path, content["images"])


def _of_karpathy(path: Path, images: list[Any]) -> Iterator[Annotation]:
    """{"images": [{"filename", "filepath"?, "split", "imgid"?, "cocoid"?, "sentences": [{"raw", "sentid"?}]}]}."""
    for number, image in enumerate(images):
        where = f"{path}, images[{number}]"
        folder, name = _get(image, "filepath", where, str, ""), _get(image, "filename", where, str)
        image_id = image.get("cocoid", image.get("imgid", number))
        for sentence in _get(image, "sentences", where, list):
            yield Annotation(
                f"{folder}/{name}" if folder else name,
                _get(sentence, "raw", where, str),
                _get(image, "split", where, str),
                where,
                _id(image_id, where),
                _get(sentence, "sentid", where, int, None) if "cocoid" in image else None,
            )


def _of_coco(path: Path, content: dict[str, Any]) -> Iterator[Annotation]:
    """{"images": [{"id", "file_name"}], "annotations": [{"id", "image_id", "caption"}]}, in the order of the images."""
    captions: dict[Any, list[tuple[str, Any]]] = {}
    for number, caption in enumerate(content["annotations"]):
        where = f"{path}, annotations[{number}]"
        captions.setdefault(_get(caption, "image_id", where, int), []).append((where, caption))
    for number, image in enumerate(content["images"]):
        where = f"{path}, images[{number}]"
        image_id, name = _get(image, "id", where, int), _get(image, "file_name", where, str)
        for place, caption in captions.pop(image_id, []):
            text, own = _get(caption, "caption", place, str), _get(caption, "id", place, int)
            yield Annotation(name, text, None, place, str(image_id), own)
    if captions:
        image_id, ((where, _), *_) = next(iter(captions.items()))
        raise DataError(f"{where} is of image {image_id}, which is not among the images; download the file again.")


def _of_pairs(path: Path, pairs: list[Any]) -> Iterator[Annotation]:
    """[{"image" or "image_id", "caption", "split"?}].

    N24News is read so, with names as far as its paper and its repository's description tell them: its file itself was
    not at hand. Whoever's has other names is told those that it has.
    """
    for number, pair in enumerate(pairs):
        where = f"{path}, [{number}]"
        if not isinstance(pair, dict) or "caption" not in pair or not {"image", "image_id"} & set(pair):
            raise DataError(f"{where} {_keys(pair)}, but has to have 'caption', and 'image' or 'image_id'; {KINDS}.")
        caption, split = _get(pair, "caption", where, str), _get(pair, "split", where, str, None)
        yield Annotation(_picture(pair, where), caption, split, where)


def _picture(pair: dict[str, Any], where: str) -> str:
    """The file name that an object of a list gives; .jpg follows where it has no ending, as behind a number."""
    names = [pair[key] for key in ("image", "image_id") if key in pair]
    name = next((n for n in names if not (isinstance(n, str) and "://" in n)), None)  # an address is no file
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise DataError(f"{where}: its picture is {json.dumps(names[0])[:60]}, which is no file name and no number.")
    text = str(name).strip()
    return f"{text}.jpg" if text and not PurePosixPath(text).suffix else text


def _keys(entry: Any) -> str:
    if not isinstance(entry, dict):
        return f"is {json.dumps(entry)[:60]}"
    return f"has {', '.join(json.dumps(key)[:40] for key in list(entry)[:NAMED]) or 'nothing'}"


NOTHING = object()


def _get(entry: Any, key: str, where: str, kind: type, default: Any = NOTHING) -> Any:
    """A value of an entry. Raises DataError where it is missing and has no default, or is of another kind."""
    value = entry.get(key, default) if isinstance(entry, dict) else NOTHING
    if value is NOTHING:
        raise DataError(f"{where} has no '{key}'; {KINDS}.")
    if value is not default and (not isinstance(value, kind) or isinstance(value, bool)):
        raise DataError(f"{where}: '{key}' is {json.dumps(value)[:60]}, which is no {kind.__name__}; correct it.")
    return value


def _id(value: Any, where: str) -> str:
    text = str(value).strip()
    if not re.fullmatch(r"[\w.-]{1,100}", text):
        raise DataError(f"{where}: '{text[:60]}' is no image id; use letters, digits, dots, - and _.")
    return text


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())
    return DataError(f"{path} cannot be read ({reason}); give a UTF-8 .json, .csv or .tsv file.")
