"""The notebooks explain and show: they define nothing, are kept without output, and run from top to bottom."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

MAIN = ROOT / "Technical_Assignment.ipynb"
STUDIES = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST_CELLS, MOST_COLUMNS = 60, 130
SHORTER = {"--steps 400 --warmup 40": "--steps 20 --warmup 5", "--validate-every 100": "--validate-every 10",
           "n=250": "n=24", "n=120": "n=12", "n=300": "n=40"}  # fmt: skip
"""What the notebooks say, and in its place here: fewer updates and drawings, for the whole takes many minutes."""

each_notebook = pytest.mark.parametrize("path", [MAIN, *STUDIES], ids=lambda path: path.stem)


def cells_of(path: Path) -> list[dict[str, Any]]:
    cells: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"source": "".join(cell["source"])} for cell in cells]


def nodes_of(path: Path) -> list[ast.AST]:
    sources = [cell["source"] for cell in cells_of(path) if cell["cell_type"] == "code"]
    return [node for source in sources for node in ast.walk(ast.parse(source))]


@each_notebook
def test_cells_define_nothing_and_each_is_explained_before_it(path: Path) -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert [ast.unparse(node) for node in nodes_of(path) if isinstance(node, kinds)] == []
    cells = cells_of(path)
    types = [cell["cell_type"] for cell in cells]
    assert types[0] == "markdown"
    assert [i for i in range(1, len(types)) if types[i] == types[i - 1] == "code"] == []
    assert len(cells) <= MOST_CELLS
    assert all(len(line) <= MOST_COLUMNS for c in cells if c["cell_type"] == "code" for line in c["source"].split("\n"))


@each_notebook
def test_no_output_is_stored(path: Path) -> None:
    for cell in cells_of(path):
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@each_notebook
def test_every_imported_name_exists(path: Path) -> None:
    for node in nodes_of(path):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == [], node.module


@each_notebook
def test_links_lead_somewhere_and_nothing_is_written_outside_its_own_folder(path: Path) -> None:
    text = "\n".join(cell["source"] for cell in cells_of(path) if cell["cell_type"] == "markdown")
    headings = {line.lstrip("# ").replace(" ", "-") for line in text.splitlines() if re.match(r"#{2,} ", line)}
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [link for link in links if link.startswith("#") and link[1:] not in headings] == []
    files = [link for link in links if not link.startswith(("#", "https://"))]
    assert [file for file in files if not (path.parent / file).is_file()] == []
    texts = [node.value for node in nodes_of(path) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [text for text in texts if text.startswith(("/", "~")) or re.match(r"[A-Z]:\\", text)] == []


def test_every_study_is_linked_from_the_main_notebook() -> None:
    text = MAIN.read_text(encoding="utf-8")
    assert [path.name for path in STUDIES if f"notebooks/{path.name}" not in text] == []


def executed(path: Path, folder: Path, count: int | None, long_form: bool) -> list[Any]:
    """Run the first `count` cells in a fresh kernel whose working folder is `folder`; return them with output."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for said, here in () if long_form else SHORTER.items():
            cell.source = cell.source.replace(said, here)
    notebook.cells = notebook.cells[:count]
    client = NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.execute()
    cells: list[Any] = notebook.cells
    return cells


def shown(cell: Any) -> tuple[str, list[Any]]:
    """What a cell printed, in one piece however the kernel cut it, and what it displayed; progress bars apart."""
    outputs = cell.get("outputs", [])
    printed = "".join(output["text"] for output in outputs if output.get("name") == "stdout")
    return printed, [output["data"] for output in outputs if "data" in output]


@each_notebook
def test_it_finds_the_project_from_other_folders_or_says_in_a_line_that_it_does_not(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a package there is called as a module of the project."""
    source = next(cell["source"] for cell in cells_of(path) if cell["cell_type"] == "code")
    begin = source[: source.index("import plumbing.threads")] + "import config; print(config.CATEGORIES)"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "__init__.py").touch()
    (tmp_path / "checkout").symlink_to(ROOT)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    for folder in (ROOT, ROOT / "docs", tmp_path):
        done = subprocess.run([sys.executable, "-c", begin], cwd=folder, capture_output=True, text=True, timeout=60)
        assert done.stdout.startswith("('cat', 'bus', 'rabbit')"), (folder, done.stderr)
    (tmp_path / "checkout").unlink()
    done = subprocess.run([sys.executable, "-c", begin], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "start Jupyter in its folder" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.timeout(2400)
def test_it_runs_and_does_the_same_twice_up_to_its_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long_form: bool
) -> None:
    """The long form runs it whole, as it is."""
    # the modules find data and weights by their own place, so the working folder may be an empty one
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cells = cells_of(MAIN)
    training = next(i for i, cell in enumerate(cells) if "train_diffusion.main" in cell["source"])
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    one = executed(MAIN, first, None if long_form else training + 1, long_form)
    assert (first / "results" / "notebook" / "cat" / "weights.safetensors").is_file()
    outputs = [output for cell in one for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]
    assert [output["metadata"] for output in outputs if not output["metadata"].get("image/png", {}).get("alt")] == []
    if long_form:
        assert sorted(path.name for path in first.rglob("*.gif")) == ["bus.gif", "cat.gif", "rabbit.gif"]
        other = executed(MAIN, second, training, long_form)
        for a, b in zip(other, one[:training], strict=True):
            assert shown(a) == shown(b), a.source


@pytest.mark.timeout(2400)
@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_runs_on_its_own(path: Path, long_form: bool) -> None:
    if not long_form:
        pytest.skip("in the long form: make test-long")
    executed(path, path.parent, None, False)
