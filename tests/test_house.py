"""The rules of the house: imports point down, everything public is explained, --help is quick, data stay outside."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = (
    ("atomic_files", "config", "devices", "diffusion_process", "distances", "embedded_drawings", "official_data",
     "packed_drawings", "stroke_simplification", "stroke_tokens", "tensor_files"),
    ("dataset_utils", "diffusion_model", "drawing_statistics", "feature_network", "inception", "processes", "rendering",
     "rival_samplers", "weights_header"),
    ("checkpoint", "gallery", "official_metrics", "page_models", "reference", "training_data"),
    ("generation", "metrics", "page_folder", "results_tables", "training_losses"),
    ("checkpoint_history", "performance_tables", "training"),
    ("benchmark_limits", "draw_with_me", "make_splits", "model_card", "pack_drawings", "report", "sample_diffusion",
     "train_diffusion", "train_features"),
    ("ablations", "benchmark_growth", "tune_sampling"),
    ("benchmark", "run_all"),
)  # fmt: skip
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
SCRIPTS = ("ablations", "benchmark", "draw_with_me", "make_splits", "metrics", "model_card", "pack_drawings",
           "run_all", "sample_diffusion", "train_diffusion", "train_features", "tune_sampling")  # fmt: skip
MODULES = sorted(path.stem for path in ROOT.glob("*.py"))

each_module = pytest.mark.parametrize("name", MODULES)


def tree_of(name: str) -> ast.Module:
    return ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8"))


def imports_of(tree: ast.Module) -> set[str]:
    """The project's modules that a module imports anywhere, inside functions and for types too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found.add((node.module or "").split(".")[0])
    return found & set(MODULES)


def project_files() -> list[Path]:
    """What git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_every_module_has_its_layer() -> None:
    assert sorted(LEVEL) == MODULES


@each_module
def test_imports_point_down(name: str) -> None:
    assert [other for other in sorted(imports_of(tree_of(name))) if LEVEL[other] >= LEVEL[name]] == []


@each_module
def test_everything_public_has_a_docstring(name: str) -> None:
    tree = tree_of(name)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    top = [node for node in tree.body if isinstance(node, kinds)]
    methods = [node for owner in top if isinstance(owner, ast.ClassDef) for node in owner.body]
    named = [node for node in (*top, *methods) if isinstance(node, kinds) and not node.name.startswith("_")]
    # argparse's own method, overridden in a private class
    silent = [node.name for node in named if ast.get_docstring(node) is None and node.name != "error"]
    assert silent == []
    assert ast.get_docstring(tree)


def test_the_readme_lists_every_module_in_its_layer() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| `(\w+)\.py` \| \S.* \|$", text, flags=re.MULTILINE)
    assert len(rows) == len(LEVEL)
    assert {name: int(level) for level, name in rows} == LEVEL


def test_these_are_all_the_scripts() -> None:
    guarded = [name for name in MODULES if re.search(r"^if __name__ == ", (ROOT / f"{name}.py").read_text(), re.M)]
    assert guarded == list(SCRIPTS)


def test_nothing_imports_a_script_but_what_runs_everything() -> None:
    importers = {name for name in MODULES if imports_of(tree_of(name)) & (set(SCRIPTS) - {"metrics"})}
    assert importers == {"ablations", "run_all", "tune_sampling"}


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_answers_without_torch(name: str) -> None:
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['{name}.py', '--help']\n"
        "try:\n"
        f"    runpy.run_path('{name}.py', run_name='__main__')\n"
        "finally:\n"
        "    sys.stderr.write('torch was imported' if 'torch' in sys.modules else '')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage" in done.stdout


def test_no_file_names_a_folder_outside_the_checkout() -> None:
    outside = [b"/" + b"work/", b".." + b"/shared"]
    naming = [path for path in project_files() if any(words in path.read_bytes() for words in outside)]
    assert [str(path.relative_to(ROOT)) for path in naming] == []
    # the one place that looks for real drawings beside the checkout
    assert "shared/quickdraw" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_no_drawings_are_committed() -> None:
    files = project_files()
    assert [path.name for path in files if (ROOT / "data") in path.parents] == ["README.md"]
    assert [str(path) for path in files if path.suffix in (".ndjson", ".npz", ".npy", ".part")] == []
