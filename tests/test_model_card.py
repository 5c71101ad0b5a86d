"""Laws of the model card: it is what the program makes of the committed files, and makes up nothing."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import train_diffusion
from config import ATTRIBUTION, CHECKPOINTS, ModelConfig, SampleConfig, TrainConfig
from diffusion_model import TrainedModel, save_weights
from plumbing.command_line import config_from_arguments
from plumbing.files import sha256_of
from reports import checkpoint_history, model_card
from reports.tables import readme_table

ROOT = Path(model_card.__file__).resolve().parent
PUBLISHED = ROOT / "results" / "published.json"
CARD = ROOT / "MODEL_CARD.md"
DIGITS = re.compile(r"sha256|utf-8|\d")
HOSTILE = "<script>x</script>|\n```\n# forged"


def stage(number: int, name: str = "cat", **changes: Any) -> dict[str, Any]:
    """The conditions of a training, each number another one, and another for each `number`."""
    train = dataclasses.asdict(TrainConfig(category=name, steps=7000 + number, learning_rate=0.0123, warmup=17))
    model = dataclasses.asdict(ModelConfig(dropout=0.31))
    return {
        "data": ["data-dir"], "split": ["local"], "recognized_only": False, "train_drawings": {name: 4100 + number},
        "companion_drawings": 3300 + number, "held_out_drawings": 510 + number,
        "left_out_over_max_strokes": 620 + number, "trained_on": [name], "step": 7000 + number,
        "drawings_seen": 88_000 + number, "training_seconds": 930.0 + number, "train": train,
        "start": {"model": model, "init_sha256": None}, "validation_loss": 0.2468 + number,
        "validation_stop_loss": 0.1357 + number,
        "curve": [{"step": 50 * k, "loss": 0.9 / k, "stop_loss": 0.5 / k} for k in range(1, 9)]
        + [{"step": 400, "validation_loss": 0.3, "validation_stop_loss": 0.2}],
    } | changes  # fmt: skip


@pytest.fixture
def folder(tiny_model: TrainedModel, tmp_path: Path) -> Path:
    """A checkout in small: base, and a cat that begins from it, and results of that cat."""
    base = stage(1, "bus", trained_on=["cat", "bus"], train_drawings={"cat": 31, "bus": 42})
    begun = {"model": stage(2)["start"]["model"], "init": "weights.safetensors", "init_sha256": "ab" * 32}
    cat = stage(2, start=begun, lineage=[base])
    write(tmp_path, tiny_model, base=base, cat=cat)
    publish(tmp_path, sha256_of(tmp_path / "checkpoints" / "cat.safetensors"))
    return tmp_path


def write(folder: Path, model: TrainedModel, **conditions: dict[str, Any]) -> None:
    for name, own in conditions.items():
        save_weights(folder / "checkpoints" / f"{name}.safetensors", dataclasses.replace(model, conditions=own))


def publish(folder: Path, sha256: str, *categories: str) -> None:
    copies = {"n_training": 77, "ratio": 0.8642, "nearer_than_real": 0.0975}
    entry = {"scores": {"memorisation": copies}, "conditions": {"checkpoint_sha256": sha256}, "seeds": {"5": {}}}
    results = {"run": {"seeds": [5]}, "categories": dict.fromkeys(categories or ("cat",), entry)}
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results" / "published.json").write_text(json.dumps(results), encoding="utf-8")


def card_of(folder: Path) -> str:
    model_card.write_model_card(folder / "results" / "published.json", folder / "checkpoints", folder / "MODEL_CARD.md")
    return (folder / "MODEL_CARD.md").read_text(encoding="utf-8")


def commands(card: str) -> dict[str, list[str]]:
    """The words of each training command in a card, by the name of its run."""
    (block,) = re.findall(r"^```sh\n(.*?)^```$", card, flags=re.DOTALL | re.MULTILINE)
    found = [shlex.split(line) for line in block.splitlines() if not line.startswith("#")]
    return {words[-1].removeprefix("runs/"): words[2:] for words in found}


# ------------------------------------------------------------------ the committed card


def test_the_card_is_what_the_program_writes_from_the_committed_files(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "published.json").write_bytes(PUBLISHED.read_bytes())
    model_card.main(["--published", str(tmp_path / "results" / "published.json"), "--out", str(tmp_path / CARD.name)])
    made = (tmp_path / CARD.name).read_text(encoding="utf-8")
    assert CARD.read_text(encoding="utf-8") == made, "python model_card.py writes it anew"
    picture = Path("results") / "training_curves.png"
    assert (f"]({picture.as_posix()})" in made) == (tmp_path / picture).is_file() == (ROOT / picture).is_file()


def test_the_card_names_every_file_and_links_only_to_what_is_there() -> None:
    card = CARD.read_text(encoding="utf-8")
    shipped = checkpoint_history.read_checkpoints(CHECKPOINTS)
    for model in shipped:
        assert f"| {model.path.name} |" in card
        assert sha256_of(model.path) in card
    base = next(model for model in shipped if model.path.stem == "base")
    assert f"- base: {base.trained.conditions['note']}." in card
    links = [link for link in re.findall(r"\]\(([^)]+)\)", card) if not link.startswith("http")]
    assert {"README.md", "METRICS.md"} <= set(links)
    assert [link for link in links if not (ROOT / link).is_file()] == []
    assert ATTRIBUTION in card
    assert "MIT License" in card
    assert readme_table(PUBLISHED) in card
    for readme in ("README.md", "README.tr.md"):
        assert "](MODEL_CARD.md)" in (ROOT / readme).read_text(encoding="utf-8")


def test_the_commands_of_the_shipped_models_give_the_stored_settings_back() -> None:
    order = list(json.loads(PUBLISHED.read_text(encoding="utf-8"))["categories"])
    stages = checkpoint_history.named_stages(checkpoint_history.read_checkpoints(CHECKPOINTS, order))
    found = commands(CARD.read_text(encoding="utf-8"))
    assert list(found) == [name for name, _, _ in stages.values()]
    for name, conditions, before in stages.values():
        arguments = train_diffusion.build_parser().parse_args(found[name])
        given = dataclasses.asdict(config_from_arguments(TrainConfig, arguments))
        stored = conditions["train"]
        assert {key: given[key] for key in stored if key in given} == {k: v for k, v in stored.items() if k in given}
        assert arguments.init == (f"runs/{before}/weights.safetensors" if before else None)


# ------------------------------------------------------------------ nothing is made up


@pytest.mark.parametrize("module", [model_card, checkpoint_history])
def test_no_number_of_the_card_is_written_in_the_program(module: Any) -> None:
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    silent: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr):  # docstrings
            silent.add(id(node.value))
        if isinstance(node, ast.FormattedValue) and node.format_spec:
            silent |= {id(inner) for inner in ast.walk(node.format_spec)}
        if isinstance(node, ast.keyword) and node.arg == "color":  # shades of grey in the picture
            silent |= {id(inner) for inner in ast.walk(node.value)}
        if isinstance(node, ast.FormattedValue):  # a literal number in an f-string would be shown
            assert not isinstance(node.value, ast.Constant)
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    shown = [node.value for node in texts if id(node) not in silent]
    assert len(shown) > 50
    assert [text for text in shown if set(DIGITS.findall(text)) - {"sha256", "utf-8"}] == []


def test_every_number_of_a_checkpoint_stands_in_the_card(folder: Path, tiny_model: TrainedModel) -> None:
    card = card_of(folder)
    for number in ("7,001", "7,002", "88,001", "88,002", "931", "932", "3,301", "511", "512", "621", "4,102", "73",
                   "1.2468", "2.1357", "1,863", "cat 0.86 and 9.8 %"):  # fmt: skip
        assert number in card, number
    assert f"{sum(p.numel() for p in tiny_model.model.parameters()):,}" in card
    assert f"At most {tiny_model.model.config.max_strokes} strokes" in card
    assert "| cat | base | 7,002 |" in card
    assert "| base | nothing | 7,001 |" in card
    for spec in dataclasses.fields(SampleConfig):
        flag = f"| --{spec.name.replace('_', '-')} | {spec.default} |"
        assert (flag in card) == (spec.name not in ("n", "seed", "batch_size")), flag


def test_a_command_holds_what_differs_from_the_defaults_and_begins_where_the_training_did(folder: Path) -> None:
    found = commands(card_of(folder))
    assert list(found) == ["base", "cat"]
    cat, base = (train_diffusion.build_parser().parse_args(found[name]) for name in ("cat", "base"))
    assert dataclasses.asdict(config_from_arguments(TrainConfig, cat)) == stage(2)["train"]
    assert dataclasses.asdict(config_from_arguments(TrainConfig, base)) == stage(1, "bus")["train"]
    assert (cat.init, base.init) == ("runs/base/weights.safetensors", None)
    assert (cat.dropout, base.dropout) == (0.31, 0.31)
    assert (cat.split, base.split) == ("local", "local")
    assert "--noise-draws" not in found["cat"]
    assert "--recognized-only" not in found["cat"]


def test_settings_of_another_program_are_named_before_the_command(folder: Path, tiny_model: TrainedModel) -> None:
    odd = stage(3, recognized_only=True, split=["official"])
    del odd["train"]["warmup"]
    odd["train"]["magic"] = 987
    write(folder, tiny_model, odd=odd)
    card = card_of(folder)
    assert "# odd: not stored, so that the defaults apply: warmup, magic 987 (no setting of this program" in card
    words = commands(card)["odd"]
    assert "--recognized-only" in words
    assert words[words.index("--split") + 1] == "official"
    assert "Splits differ between trainings" in card
    assert "The official list repeats lines" in card


def test_figures_of_another_file_than_the_shipped_one_are_called_so(folder: Path, tiny_model: TrainedModel) -> None:
    assert "- cat: figures of the file above." in card_of(folder)
    publish(folder, "cd" * 32, "cat", "rabbit")
    write(folder, tiny_model, car=stage(9, "car"))
    card = card_of(folder)
    assert f"- cat: figures of another file than the one above, sha256 {'cd' * 32}." in card
    assert "- rabbit: figures of a model that is not shipped." in card
    assert "- car: no published figures." in card
    assert "own category: cat 4,102, car 4,109." in card
    assert re.findall(r"^\| (\w+)\.safetensors", card, flags=re.MULTILINE) == ["base", "cat", "car"]


def test_a_shared_training_stands_once_and_the_others_have_numbers(folder: Path, tiny_model: TrainedModel) -> None:
    first, second = stage(1, "bus"), stage(5)
    write(folder, tiny_model, base=stage(6, "bus", lineage=[first]), cat=stage(7, lineage=[first, second]))
    assert list(commands(card_of(folder))) == ["stage-1", "base", "stage-2", "cat"]


def test_an_unfinished_training_says_how_far_it_came(folder: Path, tiny_model: TrainedModel) -> None:
    write(folder, tiny_model, cat=stage(2, step=611))
    assert "| 611 of 7,002 |" in card_of(folder)


def test_what_a_checkpoint_was_tuned_for_is_said(folder: Path, tiny_model: TrainedModel) -> None:
    assert "tuned for, and is drawn" not in card_of(folder)
    write(folder, tiny_model, cat=stage(2, sampling={"guidance": 2.75, "guide": {"file": "base.safetensors"}}))
    assert "- cat: guidance 2.75, guide file base.safetensors\n" in card_of(folder)


# ------------------------------------------------------------------ what is missing or hostile


@pytest.mark.parametrize(("missing", "said"), [
    ("trained_on", "| cat.safetensors | unknown |"), ("train_drawings", "own category: cat unknown."),
    ("companion_drawings", "| 4,102 | unknown | 512 |"), ("held_out_drawings", "| 3,302 | unknown | 622 |"),
    ("left_out_over_max_strokes", "| 512 | unknown | local |"), ("split", "| 622 | unknown | no |"),
    ("recognized_only", "| 622 | local | unknown |"), ("step", "| cat | stage-1 | unknown of 7,002 |"),
    ("train", "| 7,002 of unknown |"), ("train.steps", "| 7,002 of unknown |"),
    ("drawings_seen", "| 7,002 | unknown | 932 |"), ("training_seconds", "| 88,002 | unknown | 2.2468 |"),
    ("validation_loss", "| 932 | unknown | 2.1357 |"), ("validation_stop_loss", "| 2.2468 | unknown |"),
    ("start", "| cat | stage-1 | 7,002 |"), ("start.model", "not stored, so that the defaults apply: dropout"),
    ("data", "--data-dir quickdraw/simplified"), ("curve", "Losses over updates"),
    ("lineage", "| cat | unknown | 7,002"),
])  # fmt: skip
def test_a_field_that_a_checkpoint_lacks_is_unknown(
    missing: str, said: str, folder: Path, tiny_model: TrainedModel
) -> None:
    own = stage(2, lineage=[stage(1, "bus")])
    own["start"]["init"] = "weights.safetensors"
    table, _, key = missing.rpartition(".")
    del (own[table] if table else own)[key]
    write(folder, tiny_model, cat=own)
    assert said in card_of(folder)


@pytest.mark.parametrize("conditions", [
    {}, {key: None for key in stage(0)}, {key: 3 for key in stage(0)}, {key: [1, "x"] for key in stage(0)},
    {key: {"x": float("nan")} for key in stage(0)}, {key: HOSTILE for key in [*stage(0), "lineage"]},
    {"lineage": [3, None, {}], "curve": [3, {"step": "x", "loss": 1}, {"step": 1, "loss": -1}], "sampling": [HOSTILE],
     "train": {HOSTILE: 1, "category": HOSTILE}, "start": {"init": HOSTILE, "model": {HOSTILE: 2}}},
])  # fmt: skip
def test_a_header_of_any_form_gives_a_card_and_cannot_forge_a_part_of_it(
    conditions: dict[str, Any], folder: Path, tiny_model: TrainedModel
) -> None:
    sections = re.findall(r"^#+ .*$", re.sub(r"^# (?!Model).*$", "", card_of(folder), flags=re.M), flags=re.MULTILINE)
    write(folder, tiny_model, base=conditions, cat=conditions)
    card = card_of(folder)
    assert "unknown" in card
    outside = re.sub(r"^```sh\n.*?^```$", "", card, flags=re.DOTALL | re.MULTILINE)
    assert re.findall(r"^#+ .*$", outside, flags=re.MULTILINE) == sections
    assert "<script" not in outside
    assert len(re.findall(r"^ *```", card, flags=re.MULTILINE)) == 2


def test_missing_files_are_answered_in_one_line_before_torch_is_loaded(folder: Path) -> None:
    (folder / "torch.py").write_text("raise SystemExit('torch was imported')")
    (folder / "empty").mkdir()
    for words, message in (
        (["--published", "none.json"], "none.json: no such file"),
        (["--checkpoints", str(folder / "empty")], "empty: no model checkpoints"),
    ):
        done = subprocess.run(
            [sys.executable, str(ROOT / "model_card.py"), *words, "--out", str(folder / "card.md")],
            env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert message in done.stderr
    assert not (folder / "card.md").exists()


def test_a_damaged_checkpoint_leaves_the_card_as_it_was(folder: Path) -> None:
    before = card_of(folder)
    path = folder / "checkpoints" / "cat.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match=r"cat\.safetensors: damaged"):
        card_of(folder)
    assert (folder / "MODEL_CARD.md").read_text(encoding="utf-8") == before


# ------------------------------------------------------------------ curves


def test_points_of_a_curve_leave_out_what_is_missing_or_cannot_be_drawn() -> None:
    rows = [{"step": 1, "loss": 0.5}, {"step": 2, "validation_loss": 0.4}, {"step": 3, "loss": float("inf")},
            {"step": 4, "loss": 0}, {"loss": 0.3}, 7, {"step": 5, "loss": 0.2}]  # fmt: skip
    assert checkpoint_history.points_of({"curve": rows}, "loss") == ([1.0, 5.0], [0.5, 0.2])
    assert checkpoint_history.points_of({"curve": rows}, "validation_loss") == ([2.0], [0.4])
    assert checkpoint_history.points_of({}, "loss") == ([], [])


def test_curves_are_drawn_once_each_and_only_where_there_are_any(folder: Path, tiny_model: TrainedModel) -> None:
    picture = folder / "results" / "training_curves.png"
    assert "](results/training_curves.png)" in card_of(folder)
    with Image.open(picture) as image:
        two = np.asarray(image.convert("RGB")).astype(int)
    assert two.shape[1] > two.shape[0] > 300  # two panels side by side
    blue = (two[..., 2] - two[..., 0] > 60).any(axis=0)
    assert blue[: len(blue) // 2].any()
    assert blue[len(blue) // 2 :].any()
    first = picture.read_bytes()
    card_of(folder)
    assert picture.read_bytes() == first
    without = {name: {k: v for k, v in stage(n).items() if k != "curve"} for n, name in enumerate(("base", "cat"))}
    picture.unlink()
    write(folder, tiny_model, **without)
    assert "No checkpoint has stored its training curve." in card_of(folder)
    assert not picture.exists()


def test_a_panel_shows_the_trainings_that_no_panel_before_it_has(folder: Path, tiny_model: TrainedModel) -> None:
    first = stage(1, "bus")
    write(folder, tiny_model, base=stage(6, "bus", lineage=[first]), cat=stage(7, lineage=[first]))
    panels = checkpoint_history._panels(checkpoint_history.read_checkpoints(folder / "checkpoints"))
    assert {name: [label for label, _ in shown] for name, shown in panels.items()} == {
        "base": ["stage-1", "base"], "cat": ["cat"],
    }  # fmt: skip
