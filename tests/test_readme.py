"""The documents are right: commands parse, links lead somewhere, numbers are those of the files they come from."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import agreement
import pytest
from safetensors import safe_open

import metrics
from config import CATEGORIES, NETWORK_PATH, RECOGNISER_PATH, REFERENCE_PATH
from reports.tables import README_MARKERS, readme_table
from scoring.feature_network import load_feature_network
from scoring.reference import load_reference

ROOT = Path(__file__).resolve().parent.parent
GENERATED = {"docs/MODEL_CARD.md", "docs/RESULTS.md"}
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data/README.md", ROOT / "results/README.md")
)
every_document = pytest.mark.parametrize("name", DOCUMENTS)
README_LINES = 150


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands(text: str) -> list[list[str]]:
    """The words of every command of python and make in blocks and in a line."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()] + re.findall(r"`([^`\n]+)`", rest)
    found = [shlex.split(line, comments=True) for line in lines if line.startswith(("python ", "make ", "torchrun "))]
    return [words for words in found if len(words) > 1]


def parse(words: list[str]) -> None:
    """Parse a command line as its script does, or find its make target; nothing is run."""
    if words[0] == "make":
        rules = re.findall(r"^([a-z -]+):", text_of("Makefile"), flags=re.MULTILINE)
        assert words[1] in {target for rule in rules for target in rule.split()}
        return
    if words[0] == "torchrun":
        words = ["python", *(word for word in words[3:] if word != "--")]
    module, rest = (words[2], words[3:]) if words[1] == "-m" else (words[1].removesuffix(".py"), words[2:])
    if module.startswith("tests/"):
        assert (ROOT / words[1]).is_file()
    elif rest != ["--help"]:
        importlib.import_module(module).build_parser().parse_args(rest)


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if name not in GENERATED])
def test_every_command_parses(name: str) -> None:
    for words in commands(text_of(name)):
        parse(words)


def test_the_readme_names_the_commands_that_everyone_needs() -> None:
    named = {words[1] for words in commands(text_of("README.md"))}
    assert named >= {"run", "draw", "test", "sample_diffusion.py", "train_diffusion.py", "metrics.py", "run_all.py"}


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_every_link_leads_to_a_file_and_to_a_heading(name: str) -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text_of(name)) if not link.strip().startswith("http")]
    for link in links:
        file, _, anchor = link.strip().partition("#")
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), link
        assert not anchor or anchor in anchors(path.read_text(encoding="utf-8")), link


def test_every_document_is_found_from_the_readme() -> None:
    index = text_of("docs/README.md")
    assert "](docs/README.md)" in text_of("README.md")
    assert [path.name for path in (ROOT / "docs").glob("*.md") if f"{path.name})" not in index and path.stem != "README"
            ] == []  # fmt: skip


@pytest.mark.parametrize("name", ["README.md", "README.tr.md"])
def test_the_readme_is_short(name: str) -> None:
    assert len(text_of(name).splitlines()) <= README_LINES


@pytest.mark.parametrize("name", ["README.md", "README.tr.md", "data/README.md", "results/README.md", "docs/DATA.md",
                                  "docs/HONESTY.md", "docs/METRICS.md", "docs/MODEL_CARD.md"])  # fmt: skip
def test_the_drawings_are_attributed(name: str) -> None:
    text = " ".join(text_of(name).split())
    assert "Quick, Draw!" in text
    assert "(c) Google, CC BY 4.0" in text


@pytest.mark.parametrize(("name", "turkish"), [("README.md", False), ("README.tr.md", True)])
def test_the_table_of_results_is_the_published_run(name: str, turkish: bool) -> None:
    start, end = README_MARKERS
    shown = text_of(name).split(start)[1].split(end)[0]
    assert shown.strip() == readme_table(ROOT / "results" / "published.json", turkish).strip()


def test_the_turkish_readme_has_the_commands_of_the_english_one() -> None:
    english, turkish = (commands(text_of(name).replace("kedi", "cat")) for name in ("README.md", "README.tr.md"))
    assert turkish == english


# ------------------------------------------------------------------ numbers of DATA.md and METRICS.md


def row(document: str, head: str, name: str) -> list[str]:
    """The cells of the row `name` in the table of a document whose head begins like this, without the name."""
    (body,) = re.findall(rf"^\| {re.escape(head)}.*\n\|[-:|]+\n((?:\|.*\n)+)", text_of(document), flags=re.MULTILINE)
    cells = [line.strip("| ").split(" | ") for line in body.splitlines()]
    return next(rest for first, *rest in cells if first == name)


@pytest.mark.parametrize("category", CATEGORIES)
def test_the_flaws_of_the_official_split_are_those_of_its_files(category: str) -> None:
    split = json.loads(text_of(f"subset/{category}/indices.json"))
    train, test = set(split["train"]), set(split["test"])
    counts = (len(train), len(test), len(test & train), len(test - train))
    assert row("docs/DATA.md", "| lines in the file", category)[1:] == [f"{number:,}" for number in counts]


def test_the_accuracy_of_the_feature_network_is_the_one_in_its_file() -> None:
    with safe_open(NETWORK_PATH, framework="np") as file:
        kept = file.metadata()
    held_out = json.loads(kept.get("metadata") or kept["conditions"])["held_out"]
    said = f"{100 * held_out['top1_mean_over_classes']:.1f} %"
    assert said in text_of("README.md")
    assert said in text_of("docs/METRICS.md")
    assert "% " + said.removesuffix(" %").replace(".", ",") in text_of("README.tr.md")
    recogniser = load_feature_network(RECOGNISER_PATH)
    accuracy: Any = recogniser.conditions["held_out"]
    for share in ("top1_mean_over_classes", "top5_mean_over_classes", "top1"):
        assert f"{100 * accuracy[share]:.1f} %" in text_of("docs/METRICS.md").split("## The second judge")[1]
    assert recogniser.sha256 in text_of("docs/METRICS.md")


def test_the_table_of_agreement_is_the_measured_one() -> None:
    shown = text_of("docs/METRICS.md").split("<!-- agreement -->")[1].split("<!-- /agreement -->")[0]
    assert shown.strip() == agreement.markdown(json.loads(text_of("results/agreement.json"))["rows"])


@pytest.mark.parametrize(("column", "category"), enumerate((*CATEGORIES, "car")))
def test_the_baselines_are_those_of_the_shipped_reference(column: int, category: str) -> None:
    shipped = load_reference(REFERENCE_PATH, category, load_feature_network(NETWORK_PATH))
    found = metrics.with_floor(metrics.feature_distances, shipped.independent.features, shipped.real.features, seed=0)
    for label, name, scale in (("FID", "fid", 1), ("KID × 10³", "kid", 1000), ("Density", "density", 1),
                               ("Coverage", "coverage", 1), ("Two-sample accuracy", "two_sample", 1)):  # fmt: skip
        shown = row("docs/METRICS.md", "| cat | bus | rabbit | car", label)[column].replace("−", "-").split(" / ")
        for text, key in zip(shown, ("floor", "at_floor_n"), strict=True):
            decimals = len(text.partition(".")[2])
            assert abs(float(text) - scale * float(found[name][key] or 0)) < 0.6 * 10**-decimals, (label, key)
