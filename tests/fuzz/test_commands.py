"""Bad input through the command line: exit code 2, a sentence that names what is wrong, no traceback."""

from __future__ import annotations

import io
import json
import pickle
import sys

import numpy as np
import pytest
import yaml

from itm_harness.benchmarks.commands import app as harness
from itm_harness.benchmarks.records.store import write_record
from itm_tests.fuzz.inputs import BOMB, DATASET
from itm_tests.stores import Store
from itm_tests.trees import write_f30k

RUN = ("run", "--method", "gpo", "--dataset", "f30k", "--data-root", "{data}", "--output", "{out}", "--device", "cpu",
       "--set", "text.bert=null")  # fmt: skip
MINE = ("data", "check", "--dataset", "{folder}/mine.yaml", "--data-root", "{data}")
CHECKPOINT = ("evaluate", *RUN[1:7], "--checkpoint", "{folder}/x.pth")
MATRIX = ("evaluate", "--similarity", "{folder}/sims.npy", "--benchmark", "f30k-1k")
BOARD = ("leaderboard", "--results", "{results}")


def array(values) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def dataset(**changes) -> bytes:
    return yaml.safe_dump({**DATASET, **changes}).encode()


FEATURES, CAPTIONS, IDS = "{precomp}/train_ims.npy", "{precomp}/train_caps.txt", "{precomp}/train_ids.txt"
CORPUS = {  # name: (command, file, its bytes, what the sentence names)
    "an empty features file": (RUN, FEATURES, b"", "train_ims.npy"),
    "pickled features": (RUN, FEATURES, array(np.array([{"a": 1}], object)), "could run code"),
    "features without images": (RUN, FEATURES, array(np.zeros((0, 6, 16), np.float32)), "train_ims.npy"),
    "features of whole numbers": (RUN, FEATURES, array(np.ones((12, 6, 16), np.int64)), "float32"),
    "captions that are no text": (RUN, CAPTIONS, b"\xff\xfe\x00dog", "UTF-8"),
    "an empty captions file": (RUN, CAPTIONS, b"", "train_caps.txt"),
    "one caption of ten megabytes": (RUN, CAPTIONS, b"dog " * 2_500_000, "characters"),
    "ids of other images": (RUN, IDS, b"1\n2\n3\n", "60 captions of 3 images"),
    "a YAML bomb": (MINE, "{folder}/mine.yaml", BOMB.encode(), "aliases"),
    "YAML that runs code": (MINE, "{folder}/mine.yaml", b"!!python/object/apply:os.system ['true']", "mine.yaml"),
    "a name that leads elsewhere": (MINE, "{folder}/mine.yaml", dataset(name="../../etc"), "name = '../../etc'"),
    "a split that leads elsewhere": (MINE, "{folder}/mine.yaml", dataset(splits={"train": "../x"}), "splits.train"),
    "a sidecar that leads elsewhere": (
        MINE, "{folder}/mine.yaml",
        dataset(sidecars={"boxes": {**DATASET["sidecars"]["boxes"], "files": ["/etc/passwd"]}}), "without .."),
    "a terminal's control codes": (MINE, "{folder}/mine.yaml", dataset(**{"\x1b[2Jgone": 1}), r"\x1b[2Jgone"),
    "a pickle for a checkpoint": (CHECKPOINT, "{folder}/x.pth", pickle.dumps(print), "x.pth"),
    "text for a checkpoint": (CHECKPOINT, "{folder}/x.pth", b"hello", "damaged"),
    "a matrix of another size": (MATRIX, "{folder}/sims.npy", array(np.ones((3, 15), np.float32)), "3 x 15"),
    "a pickled matrix": (MATRIX, "{folder}/sims.npy", array(np.array([[None]], object)), "could run code"),
    "a record nested too deeply": (BOARD, "{record}", b"[" * 100_000, "is not valid JSON"),
    "a record of another schema": (BOARD, "{record}", json.dumps({"schema_version": 99}).encode(), "schema version 99"),
    "ranks of nobody": (BOARD, "{ranks}", b"PK\x03\x04", "does not hold the ranks"),
    "a vocabulary with holes": (
        RUN, "{data}/vocab/f30k_precomp_vocab.json", b'{"word2idx": {"<pad>": 0, "dog": 9}}', "word2idx"),
}  # fmt: skip


@pytest.fixture
def places(tmp_path):
    """Names that commands and files of the corpus use."""
    store = Store()
    record = store.add()
    path = write_record(record, store.details[record.id], tmp_path / "results")
    return {
        "data": tmp_path / "data", "precomp": write_f30k(tmp_path / "data"), "out": tmp_path / "out",
        "folder": tmp_path, "results": tmp_path / "results", "record": path, "ranks": path.with_suffix(".npz"),
    }  # fmt: skip


@pytest.mark.parametrize("case", CORPUS)
def test_bad_input_is_answered_with_a_sentence(case, places, tmp_path, monkeypatch, capsys):
    command, file, content, named = CORPUS[case]
    (tmp_path / file.format(**places)).write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["harness.py", *(part.format(**places) for part in command)])
    with pytest.raises(SystemExit) as stop:
        harness.main()
    shown = "".join(capsys.readouterr())
    assert stop.value.code == 2, shown
    assert named in " ".join(shown.split()), shown
    assert "Traceback" not in shown
    assert "\x1b" not in shown
