"""The notebook explains and shows: it defines nothing, is kept without output, and runs from top to bottom."""

from __future__ import annotations

import ast
import importlib
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import train_diffusion
from config import CATEGORIES, SampleConfig
from drawings.embedded import embedded_drawings
from reports import tables as results_tables
from scoring.stroke_statistics import STATISTICS
from studies import ablations

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK = json.loads((ROOT / "Technical_Assignment.ipynb").read_text(encoding="utf-8"))
MAX_LINES, MAX_COLUMNS = 15, 120
PUBLISHED = tuple(f"{category}_fake_sample_animation.gif" for category in ("cat", "bus", "rabbit"))
THIRD_PARTY = {"IPython", "PIL", "matplotlib", "numpy", "torch"}
STANDARD = {"collections", "json", "pathlib", "shutil", "subprocess", "sys", "time"}


def sources(kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == kind]


def nodes() -> list[ast.AST]:
    return [node for source in sources("code") for node in ast.walk(ast.parse(source))]


def test_cells_define_nothing() -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert [ast.unparse(node) for node in nodes() if isinstance(node, kinds)] == []


def test_cells_are_short() -> None:
    for source in sources("code"):
        lines = source.splitlines()
        assert len(lines) <= MAX_LINES, source
        assert max(map(len, lines)) <= MAX_COLUMNS, source


def test_each_code_cell_is_explained_before_it() -> None:
    kinds = [cell["cell_type"] for cell in NOTEBOOK["cells"]]
    assert kinds[0] == "markdown"
    assert [i for i in range(1, len(kinds)) if kinds[i] == kinds[i - 1] == "code"] == []


def test_no_output_is_stored() -> None:
    for cell in NOTEBOOK["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
    assert NOTEBOOK["metadata"]["kernelspec"]["name"] == "python3"
    assert set(NOTEBOOK["metadata"]) == {"kernelspec", "language_info"}


def test_every_import_is_a_module_of_the_project_or_a_pinned_package() -> None:
    own = {path.stem for path in ROOT.glob("*.py")}
    imported = set()
    for node in nodes():
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module).split(".")[0])
    assert imported - THIRD_PARTY - STANDARD <= own
    shown = {"dataset_utils", "stroke_tokens", "diffusion_process", "train_diffusion", "sample_diffusion"}
    assert shown | {"metrics", "reference", "distances", "drawing_statistics", "results_tables"} <= imported


def test_every_imported_name_exists() -> None:
    for node in nodes():
        if isinstance(node, ast.ImportFrom) and (ROOT / f"{node.module}.py").is_file():
            defined = (ROOT / f"{node.module}.py").read_text(encoding="utf-8")
            missing = [alias.name for alias in node.names if not re.search(rf"\b{alias.name}\b", defined)]
            assert missing == [], node.module


def test_commands_are_understood() -> None:
    """Each `python script.py ...` of the text is parsed by that script, each `make target` is in the Makefile."""
    text = "\n".join(sources("markdown"))
    lines = re.findall(r"^(?: {4})?python (\w+)\.py (.*)$", text, re.M)
    assert {script for script, _ in lines} == {
        *("ablations", "metrics", "model_card", "run_all", "sample_diffusion", "train_diffusion", "tune_sampling")
    }
    for script, arguments in lines:
        importlib.import_module(script).build_parser().parse_args(shlex.split(arguments, comments=True))
    heads = re.findall(r"^([a-z ]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    targets = re.findall(r"(?:^|`)make (\w+)", text, re.M)
    assert {"run", "test", "table", "models"} <= set(targets) <= set(" ".join(heads).split())


def test_every_figure_is_explained_in_the_scoring_chapter() -> None:
    text = "\n".join(sources("markdown"))
    chapter = text[text.index("\n## 8 ") : text.index("\n## 9 ")].lower()
    formulas = [section for section in chapter.split("\n### ") if "$$" in section]
    for name in ("fid∞", "kid", "density", "coverage", "top-1", "wasserstein-1", "order of drawing", "nearest"):
        assert any(name in section for section in formulas), name
    assert [label for _, label, _ in STATISTICS if label.lower() not in chapter] == []


def test_links_lead_somewhere() -> None:
    text = "\n".join(sources("markdown"))
    headings = {line.lstrip("# ").replace(" ", "-") for line in text.splitlines() if re.match(r"#{2,} ", line)}
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [link for link in links if link.startswith("#") and link[1:] not in headings] == []
    files = [link for link in links if not link.startswith(("#", "https://"))]
    assert sorted(files) == sorted(PUBLISHED)
    if not (ROOT / "results" / "published.json").is_file():
        pytest.skip("no animation is published: python run_all.py --publish")
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_nothing_is_written_outside_its_own_folder() -> None:
    paths = [node.value for node in nodes() if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert [text for text in paths if text.startswith(("/", "~", "..")) or re.match(r"[A-Z]:\\", text)] == []
    assert "results/notebook" in paths


def chapter_cells(heading: str) -> list[str]:
    """Return the code of the section that begins with `heading`, up to the next heading."""
    found: list[str] = []
    inside = False
    for cell in NOTEBOOK["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and source.startswith("#"):
            inside = source.startswith(heading)
        elif inside and cell["cell_type"] == "code":
            found.append(source)
    return found


def ablation_table(groups: set[str]) -> dict[str, Any]:
    """Return a table as ablations.py writes it, of the lines of `groups`; each is 1 % worse than the one before."""
    rows = []
    for i, line in enumerate(ablations.LINES):
        figures = {"kid_share": 1.01**i, "fid_at_floor_n": 2 * 1.01**i, "fid_floor": 2.0, "top1": 0.5, "seconds": 3.0}
        sampling = {"sampler": line.sampling.sampler, "steps": line.sampling.steps}
        categories = {name: dict(figures) for name in ablations.SCORED}
        rows.append({"group": line.group, "name": line.name, "sampling": sampling, "categories": categories})
    budgets = {"budget": ablations.BUDGET, "small": ablations.SMALL, "fine_tuned": ablations.FINE_TUNED}
    return budgets | {"lines": [row for row in rows if row["group"] in groups]}


ALL_GROUPS = {line.group for line in ablations.LINES}


@pytest.mark.parametrize(
    "groups",
    [None, {"from scratch"}, {"from scratch", "tokens", "size"}, ALL_GROUPS - {"sampler"}, ALL_GROUPS],
    ids=["no file", "seeds", "scratch only", "no samplers", "whole"],
)
def test_ablations_are_shown_as_far_as_they_are_measured(
    groups: set[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ablations.json"
    if groups is not None:
        path.write_text(json.dumps(ablation_table(groups)), encoding="utf-8")
    monkeypatch.setattr(ablations, "RESULTS", path)
    shown: list[str] = []
    plt.close("all")
    plt.switch_backend("Agg")
    known = {"json": json, "np": np, "plt": plt, "display": shown.append, "Markdown": str}
    known |= {"train_diffusion": train_diffusion, "ACCENT": "red", "HISTORY": "grey"}
    known["markdown_table"] = results_tables.markdown_table
    for source in chapter_cells("### 8.14 "):
        exec(compile(source, "8.14", "exec"), known)
    text = "\n".join(shown)
    assert ("Not measured yet" in text) == (groups is None or "sampler" not in groups)
    assert [line.name for line in ablations.LINES if groups and line.group in groups and line.name not in text] == []
    baselines = {base for base, changed in (("from scratch", "tokens"), ("fine-tuned", "history"))
                 if groups and {base, changed} <= groups}  # fmt: skip
    assert len(plt.get_fignums()) == len(baselines) + ("sampler" in (groups or ()))
    printed = capsys.readouterr().out
    assert [name for name in baselines if f"{name}: " not in printed or "unchanged" not in printed] == []
    for axes in (plt.figure(number).axes for number in plt.get_fignums()):
        assert [axis.get_title() for axis in axes][:2] == ["car, KID share", "car, FID / floor"]
    if groups == ALL_GROUPS:  # a change costs the more, the later its line stands
        best, worst = next(line.name for line in ablations.LINES if line.group == "tokens"), "base model, 3"
        least, most = text.index("least KID"), text.index("most KID")
        assert least < text.index(best, least) < most < text.index(worst, most)
    plt.close("all")


def test_continued_drawings_stand_beside_their_original_and_what_was_given_is_told_by_its_colour() -> None:
    (source,) = (source for source in sources("code") if source.startswith("fig") and "prefix=" in source)
    new = np.array([[0, 0], [9, 9]])

    def sample(model: str, category: str, config: SampleConfig, prefix: list[list[np.ndarray]]) -> SimpleNamespace:
        return SimpleNamespace(drawings=[[*given, new] for given in prefix])

    wholes = {name: embedded_drawings(name, 40) for name in CATEGORIES}
    known = {"np": np, "plt": plt, "CATEGORIES": CATEGORIES, "SampleConfig": SampleConfig, "sample": sample}
    known |= {"held_out": wholes, "drawings": wholes, "kind": "real", "models": dict.fromkeys(CATEGORIES)}
    plt.close("all")
    plt.switch_backend("Agg")
    exec(compile(source, "continued", "exec"), known | {"ACCENT": "red", "HISTORY": "grey"})
    axes = plt.gcf().axes
    assert len(axes) == 9 * len(CATEGORIES)
    for row, category in zip((axes[i : i + 9] for i in range(0, len(axes), 9)), CATEGORIES, strict=True):
        (ink, *_), *_ = colors = [[line.get_color() for line in axis.lines] for axis in row]
        whole = next(drawing for drawing in wholes[category] if len(drawing) > 5)
        assert colors == [[ink] * 2 + ["grey"] * (len(whole) - 2), [ink] * 2, *[[ink] * 2 + ["red"]] * 7]
        assert ink not in ("red", "grey")
    plt.close("all")


SHORTER = {
    "--steps 700 --warmup 50": "--steps 60 --warmup 10", "--validate-every 100": "--validate-every 20",
    "SampleConfig(n=500, seed=0)": "SampleConfig(n=120, seed=0)",
    "SampleConfig(n=200, seed=0,": "SampleConfig(n=24, seed=0,",
}  # fmt: skip
"""What the notebook says, and in its place here: fewer updates and drawings, for the whole takes many minutes."""


def executed(folder: Path, count: int | None, long_form: bool) -> list[Any]:
    """Run the first `count` cells in a fresh kernel whose working folder is `folder`; return them with output."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "Technical_Assignment.ipynb", as_version=4)
    for said, here in () if long_form else SHORTER.items():
        assert sum(cell.source.count(said) for cell in notebook.cells) == 1, said
        for cell in notebook.cells:
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


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_it_runs_from_top_to_bottom_and_begins_the_same_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long_form: bool
) -> None:
    """With fewer updates and drawings than the notebook says; the long form runs it as it is."""
    # the modules find data and weights by their own place, so the working folder may be an empty one
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    cells = executed(first, None, long_form)
    assert (first / "results" / "notebook" / "cat" / "weights.safetensors").is_file()
    assert sorted(path.name for path in first.rglob("*.gif")) == ["bus.gif", "cat.gif", "rabbit.gif"]
    kinds = [kind for cell in cells for output in cell.get("outputs", []) for kind in output.get("data", {})]
    assert (kinds.count("image/png") >= 30, kinds.count("image/svg+xml") >= 8) == (True, True)
    # The whole again would cost minutes more; what comes before the training is cheap and must be the same.
    training = next(i for i, cell in enumerate(cells) if "train_diffusion.main" in cell.source)
    again = executed(second, training, long_form)
    for one, other in zip(again, cells[:training], strict=True):
        assert shown(one) == shown(other), one.source
