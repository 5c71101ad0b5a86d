"""The rules of the house: few rooms, imports that point down, everything public explained, data outside."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = (
    ("config", "plumbing", "diffusion_process", "stroke_tokens", "drawings", "rendering"),
    ("dataset_utils", "diffusion_model", "scoring", "oddity"),
    ("sample_diffusion", "training_data", "train_diffusion", "metrics", "reports", "page"),
    ("families", "studies", "words", "run_all", "draw_with_me", "draw_scene", "check_drawings"),
)
"""Files and folders, from the ground up: a module imports from floors below, and on its floor from what stands left."""
PLACE = {room: (floor, number) for floor, rooms in enumerate(FLOORS) for number, room in enumerate(rooms)}
MOST_AT_ROOT, MOST_LINES, MOST_LINES_OF_FUNCTION, MOST_INNER_IMPORTS = 14, 600, 60, 15
SCRIPTS = ("check_drawings", "dataset_utils", "draw_scene", "draw_with_me", "metrics", "run_all", "sample_diffusion",
           "train_diffusion", "reports/model_card", "reports/tables", "reports/tensorboard", "studies/ablations",
           "studies/all_categories", "studies/attributes",
           "studies/benchmark", "studies/compare_families", "studies/distill", "studies/given_strokes",
           "studies/held_out_losses", "studies/odd_calibration", "studies/odd_drawings", "studies/odd_pays",
           "studies/odd_strokes", "studies/placement", "studies/refine", "studies/train_critics",
           "studies/train_features", "studies/tune_sampling", "words/train_video_network")  # fmt: skip
MODULES = sorted(
    str(path.relative_to(ROOT)).removesuffix(".py")
    for path in [*ROOT.glob("*.py"), *(path for room in PLACE for path in (ROOT / room).glob("*.py"))]
)
NODES = {name: list(ast.walk(ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8")))) for name in MODULES}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
IMPORTS = (ast.Import, ast.ImportFrom)


def rooms_of(node: ast.AST) -> set[str]:
    """The rooms of the project that a node imports from."""
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names} & set(PLACE)
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative import"
        return {str(node.module).split(".")[0]} & set(PLACE)
    return set()


def project_files() -> list[Path]:
    """What git tracks or would track."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def test_every_room_has_its_floor_and_few_files_stand_at_the_root() -> None:
    assert {name.split("/")[0] for name in MODULES} == set(PLACE)
    assert len(list(ROOT.glob("*.py"))) <= MOST_AT_ROOT


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_down(name: str) -> None:
    own = name.split("/")[0]
    others = {room for node in NODES[name] for room in rooms_of(node)} - {own}
    assert [room for room in sorted(others) if PLACE[room] >= PLACE[own]] == []


@pytest.mark.parametrize("room", [room for room in PLACE if (ROOT / room).is_dir()])
def test_no_two_modules_of_a_room_import_each_other(room: str) -> None:
    modules = {name.split("/")[1] for name in MODULES if name.startswith(f"{room}/")}
    needs = {
        module: {
            imported
            for node in NODES[f"{room}/{module}"]
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == room
            for imported in [*str(node.module).split(".")[1:], *(alias.name for alias in node.names)]
        }
        & modules
        for module in modules
    }
    while needs:
        free = {module for module, needed in needs.items() if not needed & set(needs)}
        assert free, f"in a circle: {needs}"
        needs = {module: needed for module, needed in needs.items() if module not in free}


def test_imports_stand_at_the_top_of_the_file() -> None:
    inner = [
        f"{name}: {ast.unparse(node)}"
        for name in MODULES
        for function in NODES[name]
        if isinstance(function, FUNCTIONS)
        for node in ast.walk(function)
        if isinstance(node, IMPORTS)
    ]
    assert len(inner) <= MOST_INNER_IMPORTS, inner


@pytest.mark.parametrize("name", MODULES)
def test_files_and_functions_are_of_a_length_that_can_be_read(name: str) -> None:
    lines = (ROOT / f"{name}.py").read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES
    functions = [node for node in NODES[name] if isinstance(node, FUNCTIONS)]
    long = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {function: lines for function, lines in long.items() if lines > MOST_LINES_OF_FUNCTION} == {}


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_has_a_docstring(name: str) -> None:
    tree = next(node for node in NODES[name] if isinstance(node, ast.Module))
    kinds = (*FUNCTIONS, ast.ClassDef)
    top = [node for node in tree.body if isinstance(node, kinds)]
    methods = [node for owner in top if isinstance(owner, ast.ClassDef) for node in owner.body]
    named = [node for node in (*top, *methods) if isinstance(node, kinds) and not node.name.startswith("_")]
    # methods of libraries, overridden in private classes
    silent = [node.name for node in named if ast.get_docstring(node) is None and node.name != "error"]
    assert silent == []
    assert ast.get_docstring(tree)


@pytest.mark.parametrize("name", [name for name in SCRIPTS if not name.startswith(("dataset_utils", "reports"))])
def test_scripts_that_compute_ask_for_threads_that_do_not_spin_before_torch_is_loaded(name: str) -> None:
    tree = ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8"))
    first = [node for node in tree.body if isinstance(node, IMPORTS)][1]  # behind __future__
    assert ast.unparse(first) == "import plumbing.threads"


SUBSTANCE = {
    "diffusion_process": ("cosine_alpha_bar", "diffuse", "ddim_sampler", "ancestral_sampler"),
    "diffusion_model": ("StrokeDiffusionModel", "DenoiserBlock", "save_weights", "load_weights"),
    "train_diffusion": ("losses", "learning_rate_at", "train"),
    "sample_diffusion": ("generate_drawings", "guided_denoiser"),
    "dataset_utils": ("read_ndjson", "load_category", "write_ndjson"),
    "metrics": ("frechet_distance", "kernel_distance", "density_and_coverage"),
}


@pytest.mark.parametrize("name", SUBSTANCE)
def test_a_file_holds_what_its_name_says(name: str) -> None:
    defined = {node.name for node in NODES[name] if isinstance(node, (*FUNCTIONS, ast.ClassDef))}
    assert set(SUBSTANCE[name]) - defined == set()


def test_these_are_all_the_scripts() -> None:
    guarded = [n for n in MODULES if re.search(r"^if __name__ == ", (ROOT / f"{n}.py").read_text("utf-8"), re.M)]
    assert sorted(guarded) == sorted(SCRIPTS)


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
