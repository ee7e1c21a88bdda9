"""The code hash changes with what the code that counts means, and with nothing else."""

from pathlib import Path

import pytest

from itm_harness.benchmarks.records import code_hash as module
from itm_harness.benchmarks.records.code_hash import SCHEME, Tree, code_behind, code_hash, method_code_hash

ENTRIES = ("benchmarks/engine.py",)


@pytest.fixture
def tree(tmp_path) -> Tree:
    """Two methods, one of which hosts the other, with what they share."""
    contents = {
        "methods/base.py": "from itm_harness.datasets.batch import Batch\n\n\nclass Method:\n    batch = Batch\n",
        "methods/gpo.py": "import torch\nfrom itm_harness.methods.base import Method\nclass GPO(Method):\n    d = 1\n",
        "methods/hrem.py": "from itm_harness.methods import base\n\n\nclass HREM(base.Method):\n    d = 2\n",
        "methods/vsd.py": "from itm_harness.methods.gpo import GPO\n\n\nclass VSD:\n    host = GPO\n",
        "methods/registry.py": "SHIPPED = 1\n",
        "datasets/batch.py": "class Batch:\n    size = 3\n",
        "datasets/precomp.py": "def f():\n    from itm_harness.datasets.demo.make import a\n    a\n",
        "datasets/demo/__init__.py": "",
        "datasets/demo/make.py": "ensure_demo = 1\n",
        "datasets/check.py": "check = 1\n",
        "benchmarks/engine.py": "from itm_harness.datasets import precomp\n"
        "from itm_harness.benchmarks.display import y\nread, show = precomp.f, y\n",
        "benchmarks/display.py": "y = 1\n",
        "benchmarks/board.py": "z = 1\n",
    }
    for name, content in contents.items():
        write(tmp_path / name, content)
    not_behind = ("benchmarks/display.py", "datasets/demo/", "methods/registry.py")
    return Tree(tmp_path.resolve(), entries=ENTRIES, not_behind=not_behind)


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def behind(tree: Tree, name: str) -> set[str]:
    return {tree.name(path) for path in code_behind([tree.root / name], tree)}


def hashed(tree: Tree, name: str = "methods/gpo.py") -> str:
    return method_code_hash([tree.root / name], tree)


def test_a_method_stands_on_its_own_file_and_on_all_that_trains_and_measures(tree):
    shared = {"methods/base.py", "datasets/batch.py", "datasets/precomp.py", "benchmarks/engine.py"}
    assert behind(tree, "methods/gpo.py") == shared | {"methods/gpo.py"}


def test_a_hosted_method_counts_too(tree):
    found = behind(tree, "methods/vsd.py")
    assert {"methods/vsd.py", "methods/gpo.py"} <= found
    assert "methods/hrem.py" not in found


def test_a_users_method_may_lie_anywhere(tree, tmp_path_factory):
    content = "from itm_harness.methods.gpo import GPO\n\n\nclass Mine(GPO):\n    pass\n"
    one, other = (write(tmp_path_factory.mktemp(place) / "mine.py", content) for place in ("here", "there"))
    assert {one, tree.root / "methods/gpo.py"} <= set(code_behind([one], tree))
    assert method_code_hash([one], tree) == method_code_hash([other], tree)
    other.write_text(content.replace("pass", "d = 5"))
    assert method_code_hash([one], tree) != method_code_hash([other], tree)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("methods/gpo.py", '"""What it is."""\nimport torch\nfrom itm_harness.methods.base import Method\n'
         'class GPO(Method):\n    """Words."""\n    d = (1)  # why\n'),
        ("methods/gpo.py", "import torch\r\nfrom itm_harness.methods.base import (\r\n    Method,\r\n)\r\n"
         "class GPO(Method):\r\n    d = 1\r\n"),
        ("methods/hrem.py", "HREM = 'another method'\n"),
        ("datasets/batch.py", "class Batch:\n    size = 3\n\n\ndef nobody_calls_it():\n    return 4\n"),
        ("benchmarks/display.py", "y = 2\n"),
        ("datasets/demo/make.py", "ensure_demo = 2\n"),
        ("benchmarks/board.py", "z = 2\n"),
    ],
)  # fmt: skip
def test_what_says_nothing_new_or_decides_no_number_changes_nothing(tree, name, content):
    before = hashed(tree)
    write(tree.root / name, content)
    assert hashed(tree) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("methods/gpo.py", "d = 1", "d = 1.0"),
        ("methods/base.py", "batch = Batch", "batch = None"),
        ("datasets/batch.py", "size = 3", "size = 4"),
        ("datasets/precomp.py", "def f():\n", "def f(x=1):\n"),
        ("benchmarks/engine.py", "read, show = ", "STEPS = 1\nread, show = "),
        ("datasets/batch.py", "class Batch", "print('imported')\n\n\nclass Batch"),
    ],
)
def test_what_says_something_else_changes_it(tree, name, old, new):
    before, path = hashed(tree), tree.root / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    assert hashed(tree) != before


def test_a_definition_may_move_and_a_file_be_cut_or_renamed(tree):
    before = hashed(tree)
    write(tree.root / "datasets/sizes.py", (tree.root / "datasets/batch.py").read_text())
    (tree.root / "datasets/batch.py").unlink()
    base = (tree.root / "methods/base.py").read_text()
    write(tree.root / "methods/base.py", base.replace("datasets.batch", "datasets.sizes"))
    assert hashed(tree) == before


def test_a_name_that_stands_for_something_else_changes_it(tree):
    """Two definitions of one name, both in the code behind a method: which of them is used counts."""
    write(tree.root / "datasets/other.py", "class Batch:\n    size = 9\n")
    engine = tree.root / "benchmarks/engine.py"
    engine.write_text(engine.read_text() + "from itm_harness.datasets.other import Batch as Other\nused = Other\n")
    before, base = hashed(tree), tree.root / "methods/base.py"
    base.write_text(base.read_text().replace("datasets.batch", "datasets.other"))
    assert hashed(tree) != before


def test_the_order_of_files_does_not_count(tree):
    files = [tree.root / "methods/gpo.py", tree.root / "methods/base.py"]
    assert code_hash(files, tree) == code_hash(files[::-1], tree)
    assert code_hash(files, tree).startswith(SCHEME)


def test_all_that_decides_or_does_not_is_there():
    assert all((module.ROOT / name).exists() for name in (*module.ENTRIES, *module.NOT_BEHIND_A_RUN))
