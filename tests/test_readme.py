"""What the documents say is so: commands parse, files exist, figures are those that the program and its files give."""

from __future__ import annotations

import ast
import contextlib
import importlib
import io
import json
import re
import shlex
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

import dataset_utils
import make_splits
import metrics
from config import CATEGORIES, NETWORK_PATH, REFERENCE_PATH, ModelConfig, SampleConfig, TrainConfig, resolve_category
from plumbing.command_line import config_from_arguments
from rendering import FEATURE_RENDERING
from reports import tables as results_tables
from run_all import PROFILE_SETTINGS
from scoring import inception, reference
from scoring import official as official_metrics
from scoring.feature_network import LoadedNetwork, load_feature_network
from scoring.stroke_statistics import STATISTICS
from studies.train_features import CONFUSION_OF, FeatureTrainingConfig

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = {
    "train_diffusion": (TrainConfig, ModelConfig),
    "sample_diffusion": (SampleConfig,),
    "train_features": (FeatureTrainingConfig,),
}
# written by the scripts, so their names must stand in the code and not in the repository
GENERATED = {"grid.png", "sheet.svg", "animation.gif", "denoising.gif", "conditions.json", "drawings.ndjson",
             "weights.safetensors", "metrics.jsonl"}  # fmt: skip
GENERATED_FOLDERS = ("data/", "results/", "runs/", "samples/")
FILE = re.compile(r"[\w.<>/-]+\.(?:py|md|json|jsonl|txt|toml|gif|png|svg|ipynb|html|safetensors)|LICENSE|Makefile")

both_readmes = pytest.mark.parametrize("name", ["README.md", "README.tr.md"])
every_document = pytest.mark.parametrize("name", ["README.md", "README.tr.md", "METRICS.md"])


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def inline_code(text: str) -> list[str]:
    without_blocks = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"`([^`\n]+)`", without_blocks)


def commands(text: str, program: str) -> list[list[str]]:
    """The words of every command in the text, in blocks or in a line, that starts with `program`."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()] + inline_code(text)
    split = [shlex.split(line, comments=True) for line in lines if line.split()[:1] == [program]]
    return [words[1:] for words in split if len(words) > 1]


def parse(words: list[str]) -> Namespace:
    """Parse a script's command line as the script does, its ranges included; nothing is run."""
    assert (ROOT / words[0]).is_file()
    name = Path(words[0]).stem
    module = importlib.import_module(name)
    parser = getattr(module, "parse_arguments", None)
    if parser is None:
        parser = module.build_parser().parse_args if hasattr(module, "build_parser") else module.main
    subcommand = [word for word in words[1:2] if not word.startswith("-")]
    with contextlib.redirect_stdout(io.StringIO()) as shown, pytest.raises(SystemExit) as stopped:
        parser([*subcommand, "--help"])
    assert stopped.value.code == 0, "no such subcommand"
    flags = {word for word in words if word.startswith("--")}
    assert flags <= set(re.findall(r"--[a-z-]+", shown.getvalue())), "argparse would take an abbreviation"
    if parser is module.main:  # would do its work
        assert flags == set(words[1:])
        return Namespace()
    arguments: Namespace = parser(words[1:])
    for kind in CONFIGS.get(name, ()):
        config_from_arguments(kind, arguments)
    category = getattr(arguments, "category", None) or "cat"
    if category != "all":
        resolve_category(category)
    return arguments


@every_document
def test_every_command_parses(name: str) -> None:
    found = commands(text_of(name), "python")
    scripts = {words[0] for words in found}
    of_readmes = {"sample_diffusion.py", "train_diffusion.py", "make_splits.py"}
    assert scripts >= {"run_all.py", "metrics.py"} | (of_readmes if "README" in name else {"train_features.py"})
    subcommands = {words[1] for words in found if words[0] == "metrics.py"}
    assert subcommands == {"score", "official", "pictures"}
    for words in found:
        parse(words)


def test_a_command_that_a_script_does_not_have_is_seen() -> None:
    for words in ("metrics.py --generated a.ndjson", "metrics.py scores --generated a.ndjson",
                  "metrics.py score --inception-weights a.pth --generated a.ndjson",
                  "train_features.py --data-dir a --picture b", "metric.py score --generated a.ndjson"):  # fmt: skip
        with pytest.raises((AssertionError, SystemExit)), contextlib.redirect_stderr(io.StringIO()):
            parse(words.split())


@every_document
def test_every_make_target_exists(name: str) -> None:
    rules = re.findall(r"^([a-z -]+):", text_of("Makefile"), flags=re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    named = {words[0] for words in commands(text_of(name), "make")}
    assert named >= ({"run", "test", "table"} if "README" in name else {"table"})
    assert named <= targets


@every_document
def test_every_named_file_exists(name: str) -> None:
    text = text_of(name)
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    files = {code for code in inline_code(text) if FILE.fullmatch(code)} | set(links)
    files |= {word for words in commands(text, "pip") for word in words if FILE.fullmatch(word)}
    files = {file.replace("<category>", category) for file in files for category in ("cat", "bus", "rabbit")}
    expected = {file for file in files if file not in GENERATED and not file.startswith(GENERATED_FOLDERS)}
    assert [file for file in sorted(expected) if not (ROOT / file).is_file()] == []


def test_the_scripts_write_the_files_that_the_readme_says_they_write() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("*.py"))
    assert [name for name in sorted(GENERATED) if name not in text_of("README.md") or name not in code] == []


@both_readmes
def test_the_markers_of_the_results_stand_once_and_in_order(name: str) -> None:
    start, end = results_tables.README_MARKERS
    text = text_of(name)
    assert (text.count(start), text.count(end)) == (1, 1)
    assert text.index(start) < text.index(end)


@both_readmes
def test_the_table_of_results_is_the_published_run(name: str) -> None:
    published = ROOT / "results" / "published.json"
    if not published.is_file():
        pytest.skip("nothing is published: python run_all.py --publish")
    start, end = results_tables.README_MARKERS
    between = text_of(name).split(start)[1].split(end)[0]
    assert "not measured" not in between
    assert between.strip() == results_tables.readme_table(published).strip()


@both_readmes
def test_training_on_the_full_data_is_what_the_full_profile_does(name: str) -> None:
    profile = PROFILE_SETTINGS["full"]
    wanted = ["train_diffusion.py", "--category", "cat", "--split", profile.split, *profile.training.split()]
    assert parse(wanted) in [parse(words) for words in commands(text_of(name), "python") if words[0] == wanted[0]]


def test_the_sizes_of_the_official_split_are_those_of_its_files(capsys: pytest.CaptureFixture[str]) -> None:
    text, turkish = text_of("README.md"), text_of("README.tr.md")
    all_sizes = make_splits.main(["--check"])
    for category, sizes in all_sizes.items():
        leaked = sizes["test_unique"] - sizes["test_leak_free"]
        numbers = [sizes["train_unique"], sizes["test_unique"], leaked, sizes["test_leak_free"]]
        row = re.search(rf"^\| {category} \| [\d,]+ \| (.*) \|$", text, flags=re.MULTILINE)
        assert row is not None
        assert row[1] == " | ".join(f"{number:,}" for number in numbers)
        assert f"{make_splits.OFFICIAL[category].num_drawings:,}" in row[0]
        assert f"{sizes['test_leak_free']:,}".replace(",", ".") in turkish


# ------------------------------------------------------------------ what METRICS.md says of the shipped files


def network_header() -> dict[str, Any]:
    with safe_open(NETWORK_PATH, framework="np") as file:
        return {name: json.loads(file.metadata()[name]) for name in ("conditions", "sha256")}


@pytest.fixture(scope="module")
def loaded() -> LoadedNetwork:
    return load_feature_network(NETWORK_PATH)


def table_rows(head: str) -> list[list[str]]:
    """The cells of a table in METRICS.md, without head and rule, that is found by the beginning of its head."""
    pattern = rf"^\| {re.escape(head)}.*\n\|[-:|]+\n((?:\|.*\n)+)"
    (body,) = re.findall(pattern, text_of("METRICS.md"), flags=re.MULTILINE)
    return [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in body.splitlines()]


def prose_of(name: str) -> str:
    """A document's text without its line breaks."""
    return " ".join(text_of(name).split())


@pytest.mark.parametrize(("name", "share"), [("README.md", "{:.1f} %"), ("README.tr.md", "% {:.1f}"),
                                             ("METRICS.md", "{:.1f} %")])  # fmt: skip
def test_the_accuracy_of_the_feature_network_is_the_one_in_its_file(name: str, share: str) -> None:
    held_out = network_header()["conditions"]["held_out"]
    said = share.format(100 * held_out["top1_mean_over_classes"])
    assert (said.replace(".", ",") if name == "README.tr.md" else said) in text_of(name)


def test_all_accuracies_of_the_feature_network_are_those_in_its_file() -> None:
    held_out = network_header()["conditions"]["held_out"]
    mean1, mean5, top1, top5 = (
        f"{100 * held_out[key]:.1f} %" for key in ("top1_mean_over_classes", "top5_mean_over_classes", "top1", "top5")
    )
    assert f"it names {mean1} rightly as the mean over categories (top-5: {mean5})" in prose_of("METRICS.md")
    assert f"and {top1} over all drawings (top-5: {top5})" in prose_of("METRICS.md")


def test_the_feature_network_is_described_as_its_file_is(loaded: LoadedNetwork) -> None:
    text, header = prose_of("METRICS.md"), network_header()
    made = header["conditions"]
    assert f"`{header['sha256']}`" in text
    assert f"{sum(p.numel() for p in loaded.network.parameters()):,} parameters" in text
    assert f"for {made['epochs']} epochs on {made['train_drawings']:,} drawings of all {len(loaded.classes)}" in text
    assert f"at most {made['cap']} of a category" in text
    assert f"Of {made['held_out_drawings']:,} held-out drawings" in text
    assert "{}, {} and {} channels".format(*loaded.network.config.widths[1:]) in text
    assert FEATURE_RENDERING == made["rendering"]
    assert FEATURE_RENDERING in text


def test_the_confusion_is_the_one_in_the_file() -> None:
    confusion = network_header()["conditions"]["confusion"]
    assert list(confusion) == list(CONFUSION_OF)
    expected = [
        [name, f"{found['n']:,}", ", ".join(f"{other} {100 * s:.1f} %" for other, s in found["taken_for"].items())]
        for name, found in confusion.items()
    ]
    assert table_rows("drawn") == expected


def test_the_sizes_of_the_references_are_those_in_the_file() -> None:
    with safe_open(REFERENCE_PATH, framework="np") as file:
        counts = json.loads(file.metadata()["counts"])
    parts = ("real", "held_out", "training", "independent")
    expected = [[name, *(f"{counts[name][part]:,}" for part in parts)] for name in CATEGORIES]
    assert table_rows("| pictures of official test drawings") == expected
    held_out = [counts[name]["held_out"] for name in CATEGORIES]
    assert "{} held-out cats, {} buses and {} rabbits".format(*held_out) in prose_of("README.md")
    assert "{} kedi, {} otobüs ve {} tavşan".format(*held_out) in prose_of("README.tr.md")


def near(shown: str, value: float, scale: float = 1) -> bool:
    """Tell whether a number as it is shown is the value, but for its last digit by little more than a half."""
    decimals = len(shown.partition(".")[2])
    return abs(float(shown.replace("\N{MINUS SIGN}", "-")) - scale * value) < 0.6 * 10**-decimals


def test_the_floors_and_ceilings_are_those_of_the_shipped_reference(loaded: LoadedNetwork) -> None:
    def measure(a: Any, b: Any) -> dict[str, float]:
        density, coverage = metrics.density_and_coverage(a, b)
        kid, _ = metrics.kernel_distance(a, b)
        return {"FID": metrics.frechet_distance(a, b), "KID × 10³": kid, "Density": density, "Coverage": coverage}

    rows = {row[0]: [cell.split(" / ") for cell in row[1:]] for row in table_rows("| cat | bus | rabbit")}
    assert list(rows) == ["FID", "KID × 10³", "Density", "Coverage", "Top-1, %"]
    ratios = []
    for column, category in enumerate(CATEGORIES):
        shipped = reference.load_reference(REFERENCE_PATH, category, loaded)
        figures = metrics.with_floor(measure, shipped.independent.features, shipped.real.features, seed=0)
        for name, figure in figures.items():
            assert figure["floor_n"] == 125
            for shown, key in zip(rows[name][column], ("floor", "at_floor_n"), strict=True):
                assert near(shown, float(figure[key] or 0), 1000 if name.startswith("KID") else 1), (category, name)
        for shown, side in zip(rows["Top-1, %"][column], (shipped.real, shipped.independent), strict=True):
            assert near(shown, metrics.recognisability(side.logits, loaded.classes, category)["top1"], 100)
        assert shipped.training is not None
        sides = shipped.independent.features, shipped.real.features, shipped.training
        ratios.append(f"{metrics.memorisation(*sides)['ratio']:.2f}")
    assert "ratios of {}, {} and {}".format(*ratios) in prose_of("METRICS.md")


def test_the_extrapolated_distances_are_those_of_halves_of_the_training_cats(loaded: LoadedNetwork) -> None:
    cats = reference.load_reference(REFERENCE_PATH, "cat", loaded).training
    assert cats is not None
    assert f"halves of the {len(cats):,} training cats" in prose_of("METRICS.md")
    (head,) = re.findall(r"^\| n a side \| (.*) \|$", text_of("METRICS.md"), flags=re.MULTILINE)
    sizes = [int(n) for n in head.split(" | ")]
    (_, *shown), (_, *shown_infinity) = table_rows("n a side")
    rng = np.random.default_rng(0)
    for n, fid, infinity in zip(sizes, shown, shown_infinity, strict=True):
        order = rng.permutation(len(cats))
        halves = cats[order[:n]], cats[order[n : 2 * n]]
        assert near(fid, metrics.frechet_distance(*halves)), n
        assert near(infinity, metrics.frechet_distance_at_infinity(*halves)), n


def test_the_figures_of_strokes_have_the_names_and_units_of_the_program() -> None:
    named = [row[:2] for row in table_rows("figure | unit")]
    assert named == [[label, unit or "–"] for _, label, unit in STATISTICS]


@pytest.mark.parametrize("said", [
    f"means over {metrics.NUM_SPLITS} random halvings",
    f"fewer than {metrics.MINIMUM_FLOOR} drawings a side",
    f"FIDs of {metrics.EXTRAPOLATION_SIZES} sizes n",
    f"mean over {metrics.SUBSETS} subsets ({metrics.FLOOR_SUBSETS} in floors) of min({metrics.SUBSET_SIZE}, N, M)",
    f"k = {metrics.NEIGHBOURS}.",
    f"k = 1 … {reference.MOST_STROKES} ",
    f"clean-fid {official_metrics.CLEAN_FID} draws",
    f"{official_metrics.NUM_SUBSETS} subsets of min({official_metrics.SUBSET_SIZE}, N, M)",
    f"against {official_metrics.OFFICIAL_N:,} generated drawings",
    f"sha256 begins {official_metrics.PUBLISHED_SHA256};",
    f"[{inception.INCEPTION_WEIGHTS}](",
    f"{inception.NUM_FEATURES:,} of the TensorFlow Inception-v3",
])  # fmt: skip
def test_the_numbers_of_the_protocols_are_those_of_the_program(said: str) -> None:
    assert said in prose_of("METRICS.md")


def test_the_test_drawings_are_written_by_the_lines_that_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lines,) = re.findall(r"^```python\n(.*?)^```$", text_of("METRICS.md"), flags=re.DOTALL | re.MULTILINE)
    assert 'data_dir="data", split="official"' in lines
    monkeypatch.chdir(tmp_path)
    # the official files are not at hand in a test; the lines are the same for any others
    exec(lines.replace('"data"', '"embedded"').replace('"official"', '"local"'), {})
    written, _ = dataset_utils.read_ndjson(tmp_path / "real_cats.ndjson")
    expected = dataset_utils.load_category("cat", data_dir="embedded", split="local").test
    assert len(written) == len(expected) > 1
    for i in (0, len(expected) - 1):
        for ours, theirs in zip(written.drawing(i), expected.drawing(i), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@every_document
def test_the_data_are_attributed(name: str) -> None:
    assert "(c) Google" in text_of(name)
    assert "CC BY 4.0" in text_of(name)
    assert "https://github.com/googlecreativelab/quickdraw-dataset" in text_of(name)


@every_document
def test_no_figure_is_left_to_fill_in(name: str) -> None:
    assert "TODO" not in text_of(name)


def test_every_fault_is_held_by_tests_that_exist() -> None:
    tests = {
        node.name
        for path in (ROOT / "tests").glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    rows = [line for line in text_of("FAULTS.md").splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 25
    for row in rows:
        named = re.findall(r"`(test_\w+)`", row.rsplit("|", 2)[1])
        assert named, row
        assert [name for name in named if name not in tests] == []
