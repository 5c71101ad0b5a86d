"""What the READMEs say is so: commands parse, files exist, figures are those that the program and its files give."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import shlex
from argparse import Namespace
from pathlib import Path

import pytest
from safetensors import safe_open

import make_splits
import report
from config import ModelConfig, SampleConfig, TrainConfig, config_from_arguments, resolve_category
from run_all import PROFILE_SETTINGS
from train_features import FeatureTrainingConfig

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
    name = words[0].removesuffix(".py")
    module = importlib.import_module(name)
    parser = getattr(module, "parse_arguments", None) or module.build_parser().parse_args
    with contextlib.redirect_stdout(io.StringIO()) as shown, pytest.raises(SystemExit):
        parser(["--help"])
    flags = {word for word in words if word.startswith("--")}
    assert flags <= set(re.findall(r"--[a-z-]+", shown.getvalue())), "argparse would take an abbreviation"
    arguments: Namespace = parser(words[1:])
    for kind in CONFIGS.get(name, ()):
        config_from_arguments(kind, arguments)
    category = getattr(arguments, "category", None) or "cat"
    if category != "all":
        resolve_category(category)
    return arguments


@both_readmes
def test_every_command_parses(name: str) -> None:
    found = commands(text_of(name), "python")
    scripts = {words[0] for words in found}
    assert scripts >= {"sample_diffusion.py", "train_diffusion.py", "run_all.py", "make_splits.py"}
    for words in found:
        parse(words)


@both_readmes
def test_every_make_target_exists(name: str) -> None:
    rules = re.findall(r"^([a-z ]+):", text_of("Makefile"), flags=re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    named = {words[0] for words in commands(text_of(name), "make")}
    assert named >= {"run", "test"}
    assert named <= targets


@both_readmes
def test_every_named_file_exists(name: str) -> None:
    text = text_of(name)
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith("http")]
    files = {code for code in inline_code(text) if FILE.fullmatch(code)} | set(links)
    files = {file.replace("<category>", category) for file in files for category in ("cat", "bus", "rabbit")}
    expected = {file for file in files if file not in GENERATED and not file.startswith(GENERATED_FOLDERS)}
    assert [file for file in sorted(expected) if not (ROOT / file).is_file()] == []


def test_the_scripts_write_the_files_that_the_readme_says_they_write() -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("*.py"))
    assert [name for name in sorted(GENERATED) if name not in text_of("README.md") or name not in code] == []


@both_readmes
def test_the_markers_of_the_results_stand_once_and_in_order(name: str) -> None:
    start, end = report.README_MARKERS
    text = text_of(name)
    assert (text.count(start), text.count(end)) == (1, 1)
    assert text.index(start) < text.index(end)


@both_readmes
def test_the_table_of_results_is_the_published_run(name: str) -> None:
    published = ROOT / "results" / "published.json"
    if not published.is_file():
        pytest.skip("nothing is published: python run_all.py --publish")
    start, end = report.README_MARKERS
    between = text_of(name).split(start)[1].split(end)[0]
    assert between.strip() == report.readme_table(published).strip()


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


@pytest.mark.parametrize(("name", "share"), [("README.md", "{:.1f} %"), ("README.tr.md", "% {:.1f}")])
def test_the_accuracy_of_the_feature_network_is_the_one_in_its_file(name: str, share: str) -> None:
    with safe_open(ROOT / "checkpoints" / "sketch_features.safetensors", framework="np") as file:
        accuracy = json.loads(file.metadata()["conditions"])["held_out"]["top1_mean_over_classes"]
    said = share.format(100 * accuracy)
    assert (said.replace(".", ",") if name == "README.tr.md" else said) in text_of(name)


@both_readmes
def test_the_data_are_attributed(name: str) -> None:
    assert "(c) Google" in text_of(name)
    assert "CC BY 4.0" in text_of(name)
    assert "https://github.com/googlecreativelab/quickdraw-dataset" in text_of(name)


@both_readmes
def test_no_figure_is_left_to_fill_in(name: str) -> None:
    assert "TODO" not in text_of(name)
