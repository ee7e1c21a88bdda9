"""The quickstart notebook runs as it stands, in a kernel and a folder of its own, and says what its text promises.

After a change, `jupyter execute --inplace docs/quickstart.ipynb` writes its outputs anew; remove docs/quickstart/
before, which an earlier one has left.
"""

import json

import nbformat
import pytest
from nbclient import NotebookClient

from itm_tests.places import ROOT

NOTEBOOK = ROOT / "docs" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("quickstart")


@pytest.fixture(scope="module")
def executed(folder):
    """Its code cells, executed."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        cell.outputs = [] if cell.cell_type == "code" else cell.get("outputs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # threads of several tests at once only wait for each other
        NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell) -> str:
    """What a cell prints and gives, as text."""
    return "".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs)


def records(folder) -> list[dict]:
    """What was filed."""
    return [json.loads(path.read_text()) for path in (folder / "quickstart/results/local/records").glob("*.json")]


def test_every_cell_runs_and_both_runs_are_recorded(executed, folder):
    assert {record["method"] for record in records(folder)} == {"gpo", "mean-softmax"}
    assert {path.name for path in folder.iterdir()} == {"quickstart", "mean.py", "mean.yaml"}


def test_embeddings_give_the_rsum_of_the_record(executed, folder):
    (cell,) = [cell for cell in executed if "as in the record" in cell.source]
    (rsum,) = [r["metrics"]["demo-500"]["rsum"] for r in records(folder) if r["method"] == "gpo"]
    assert shown(cell).split("rsum")[1].split()[0] == f"{rsum:.1f}"


def test_pictures_and_refusals_are_shown(executed):
    pictures = [output for cell in executed for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 2
    assert any("it is transposed" in shown(cell) for cell in executed)
    assert any("✓" in shown(cell) for cell in executed)


def test_the_stored_outputs_are_light_and_of_every_cell():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))  # from top to bottom, at once
    assert NOTEBOOK.stat().st_size < 200_000
    assert str(ROOT) not in NOTEBOOK.read_text(encoding="utf-8")
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
