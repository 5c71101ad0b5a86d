"""Do everything: find the data, train where weights are missing, draw, score, make pictures and one report.

    python run_all.py                     # quick: the shipped models draw 250 each and are scored, one to two minutes
    python run_all.py --profile smoke     # tiny models from scratch on embedded drawings, under two minutes
    python run_all.py --profile full      # the official split: downloads, trains and scores; needs a GPU

Writes into results/: report.html, NAME.json, and NAME/CATEGORY/ with drawings, pictures and trainings. What an earlier
call has trained is used again; --retrain starts anew. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

import sample_diffusion
import train_diffusion
from config import (
    ATTRIBUTION,
    CATEGORIES,
    CHECKPOINTS,
    NETWORK_PATH,
    OWN_MODELS,
    PRESETS,
    QUALITIES,
    REFERENCE_PATH,
    SampleConfig,
    resolve_category,
    shipped_checkpoint,
)
from dataset_utils import DATA_FOLDER, CategoryData, available_categories, data_files, learned_from, load_category
from diffusion_model import TrainedModel
from metrics import scores_against
from plumbing import result_folder
from plumbing.command_line import add_device_argument, check_folder, run_script, script_parser
from plumbing.files import locked_folder, refuse_overwriting, write_atomically
from plumbing.processes import best_device
from plumbing.run_folder import LOG_FILE, STATE_FILE, refuse_folder_of_others, remove_training
from reports import gallery
from reports.model_card import write_model_card
from reports.report import CategoryResult, logged_losses, write_report
from reports.tables import publish_tables
from scoring.copies import Drawing, TrainingStrokes
from scoring.feature_network import LoadedNetwork, load_feature_network
from scoring.reference import Reference, describe_drawings, load_reference, reference_categories, reference_of
from studies import tune_sampling

ROOT = Path(__file__).resolve().parent
NO_SCORES = {"not_measured": "no real drawings of this category are at hand, nor in the shipped reference"}
SECONDS_PER_TOKEN = 0.4 / 768
"""What training a model of the full size takes per stroke token of a batch on one CPU core, as measured."""


@dataclass(frozen=True)
class Profile:
    """How many drawings of which categories a profile makes, from where, and the preset that trains a missing model."""

    drawings: int
    data_dir: str | None
    split: str
    download: bool
    shipped_weights: bool
    preset: str
    categories: tuple[str, ...] = CATEGORIES
    guide: str = ""
    """Preset of the weaker model that guides a trained one; without, it is drawn unguided."""
    tuning: tuple[str, ...] = ()


PROFILES = {
    "smoke": Profile(64, "embedded", "local", False, False, "smoke", guide="smoke-guide",
                     tuning=("--strengths", "1.5", "--n", "64")),
    "quick": Profile(250, None, "auto", False, True, "quick", OWN_MODELS),
    "full": Profile(2000, None, "official", True, False, "full", guide="full-guide", tuning=("--n", "2000")),
}  # fmt: skip


@dataclass(frozen=True)
class Task:
    """A category, the real drawings at hand, None where there are none, and its shipped model, None to train one."""

    category: str
    data: CategoryData | None
    shipped: TrainedModel | None
    network: LoadedNetwork


class Progress:
    """Says which stage begins and how much time is left.

    `plan` has, in order, every stage with the seconds that it takes on two slow cores, a first guess: what the stages
    so far have really taken scales the rest.
    """

    def __init__(self, plan: list[tuple[str, float]]) -> None:
        self.plan, self.done, self.began = plan, 0, time.perf_counter()

    def begin(self) -> None:
        """Print the line of the next stage."""
        seconds = [guess for _, guess in self.plan]
        past, ahead = sum(seconds[: self.done]), sum(seconds[self.done :])
        pace = (time.perf_counter() - self.began) / past if past else 1.0
        print(f"[{self.done + 1}/{len(self.plan)}] {self.plan[self.done][0]} (about {duration(pace * ahead)} left)")
        self.done += 1


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it: "85 s", "12 min", "5 h", "97 days"."""
    units = ((86_400, "days"), (3600, "h"), (60, "min"), (1, "s"))
    size, unit = next((size, unit) for size, unit in units if seconds >= 2 * size or size == 1)
    return f"{seconds / size:,.0f} {unit}"


def stages_of(task: Task, profile: Profile, arguments: argparse.Namespace) -> list[tuple[str, float]]:
    """Return what is done for a category, with a guess of the seconds."""
    count, recipe = arguments.seeds * (arguments.n or profile.drawings), PRESETS[profile.preset]
    is_tiny = recipe.model.width < 100
    training = 20.0 if is_tiny else recipe.train.steps * recipe.train.batch_strokes * SECONDS_PER_TOKEN
    stages = {"training": training, f"drawing {count:,} drawings": count * (0.003 if is_tiny else 0.025),
              "scoring": 1 + count * 0.01, "pictures": 4.0}  # fmt: skip
    skipped = "training" if task.shipped else ""
    return [(f"{task.category}: {name}", seconds) for name, seconds in stages.items() if name != skipped]


# ------------------------------------------------------------------ what there is


def task_of(category: str, network: LoadedNetwork, profile: Profile, arguments: argparse.Namespace) -> Task:
    """Return what there is of a category.

    A shipped model needs no drawings, and embedded ones are nothing to compare it with, since it learned from people.
    Raises FileNotFoundError or ValueError as ``load_category`` does, and for damaged weights.
    """
    path = shipped_checkpoint(category, arguments.quality)
    data_dir = arguments.data_dir or profile.data_dir
    named, known = data_dir or os.environ.get("QUICKDRAW_DIR"), available_categories(data_dir)
    shipped, data = None, None
    if profile.shipped_weights and not arguments.retrain and path.is_file():
        shipped = sample_diffusion.load_model(path, device=arguments.device)
    is_at_hand = category in known if named else any(DATA_FOLDER.glob(f"{category}.*"))
    if shipped is None or (is_at_hand and named != "embedded"):
        data = load_category(category, data_dir=data_dir, split=profile.split, allow_download=profile.download)
    return Task(category, data, shipped, network)


def refuse_losing_files(out: Path, name: str, categories: list[str], read: Sequence[Path]) -> None:
    """Raise ValueError where this program would write over a file of `read`, or one that it has not made."""
    results = {out / f"{name}.json": '"categories"'} | dict.fromkeys((out / "report.html", out / name / "report.html"),
                                                                     "drawn stroke by stroke")  # fmt: skip
    refuse_overwriting(read, results)
    for path, mark in results.items():
        if path.exists() and not (path.is_file() and mark in path.read_text(encoding="utf-8", errors="replace")):
            raise ValueError(f"{path}: was not written by run_all.py; choose another --out or --name")
    for folder in (out / name / category for category in categories):
        result_folder.refuse_losing_files(folder, result_folder.SVG_FILES, read, tuple(gallery.CAPTIONS))
        refuse_folder_of_others(folder / "training")


# ------------------------------------------------------------------ one category


def train(category: str, profile: Profile, run: Path, arguments: argparse.Namespace) -> Path:
    """Return the weights of a category, of an earlier run, or trained and tuned now in the folder `run`."""
    if arguments.retrain and run.exists():
        if not any((run / name).is_file() for name in (STATE_FILE, LOG_FILE)):
            raise ValueError(f"{run}: is no training (it has no {STATE_FILE}), so --retrain does not remove it")
        remove_training(run / "weaker")
        remove_training(run, ("guide.safetensors", "tuned.safetensors"))
    data_dir = arguments.data_dir or profile.data_dir
    common = ["--category", category, "--split", profile.split, *(["--data-dir", data_dir] if data_dir else [])]
    common += ["--device", arguments.device] if arguments.device != "auto" else []
    weights = train_diffusion.main([*common, "--preset", profile.preset, "--out", str(run)])
    if not profile.guide:
        return weights
    weaker = train_diffusion.main([*common, "--preset", profile.guide, "--out", str(run / "weaker")])
    guide, tuned = run / "guide.safetensors", run / "tuned.safetensors"
    if not tuned.is_file() or tuned.stat().st_mtime < max(path.stat().st_mtime for path in (weights, weaker)):
        write_atomically(guide, weaker.read_bytes())
        files = ["--checkpoint", str(weights), "--guide", str(guide), "--out", str(tuned)]
        tune_sampling.main([*common, *files, *profile.tuning])
    return tuned


def reference_for(task: Task, training: Sequence[Drawing] = ()) -> Reference | None:
    """Return the best reference at hand, which names itself, or None; `training` are drawings a model learned from.

    Drawings of the official test split are compared as they are, and so are embedded ones (that is a test of the
    program, no more). A part of the dataset with a split of its own is no official test: then the shipped reference
    decides, where it has the category.
    """
    data, shipped = task.data, task.category in reference_categories(REFERENCE_PATH)
    if data is not None and len(data.test) >= 2:
        embedded = data.source == "embedded"
        if data.split in ("official", "leak-free") or embedded or not shipped:
            kind = "embedded drawings, made by a program" if embedded else "real drawings"
            source = f"{kind}, split {data.split}, as strokes"
            return reference_of(list(data.test), task.category, task.network, training=training, source=source)
    if not shipped:
        return None
    found = load_reference(REFERENCE_PATH, task.category, task.network)
    # its features are of drawings that are not shipped; those at hand say which of them are redrawn
    if data is None:
        return found
    return replace(found, real_drawings=list(data.test), training_strokes=TrainingStrokes(training))


def run_category(task: Task, out: Path, arguments: argparse.Namespace, progress: Progress) -> CategoryResult:
    """Do everything for one category in the folder `out` and return what the report shows."""
    category, network, profile = task.category, task.network, PROFILES[arguments.profile]
    trained, weights = task.shipped, shipped_checkpoint(category, arguments.quality)
    if trained is None:
        progress.begin()
        weights = train(category, profile, out / "training", arguments)
        trained = sample_diffusion.load_model(weights, device=arguments.device)

    progress.begin()
    config = SampleConfig(n=arguments.n or profile.drawings, seed=arguments.seed)
    seeds = range(config.seed, config.seed + arguments.seeds)
    sets = {seed: sample_diffusion.sample(trained, category, replace(config, seed=seed)) for seed in seeds}
    sampled = sets[config.seed]
    sampled.conditions |= {"checkpoint": trained.file, "checkpoint_sha256": trained.sha256,
                           "teacher_sha256": trained.teacher_sha256}  # fmt: skip
    sampled.conditions["data_at_hand"] = task.data.source if task.data else "none"

    progress.begin()
    data_dir = arguments.data_dir or profile.data_dir
    training = learned_from(task.data, trained.trained_as(category), data_dir) if task.data else ()
    reference = reference_for(task, training)
    scores = {
        str(seed): scores_against(reference, each.drawings, category, network) if reference else NO_SCORES
        for seed, each in sets.items()
    }
    logits = describe_drawings(sampled.drawings, network).logits
    shares = gallery.probabilities(logits, network.classes, category)

    progress.begin()
    sample_diffusion.write_results(sampled, trained, category, config, out, also=tuple(gallery.CAPTIONS))

    def draw_on(beginnings: list[Any]) -> list[Any]:
        return sample_diffusion.sample(trained, category, replace(config, n=len(beginnings)), beginnings).drawings

    longest = trained.model.config.max_strokes
    strokes = reference.training_strokes if reference else None
    pictures = gallery.write_gallery(out, category, sampled.drawings, shares, task.data, strokes, draw_on, longest)
    log, denoising = weights.parent / "metrics.jsonl", out / "denoising.gif"
    return CategoryResult(
        category, sampled.drawings, scores, sampled.conditions, shares, reference.statistics if reference else None,
        "embedded" if sampled.conditions["data_at_hand"] == "embedded" else "real",
        ({"Strokes emerge from noise, one after another.": denoising} if denoising.is_file() else {}) | pictures,
        logged_losses(log) if log.is_file() else [],
    )  # fmt: skip


# ------------------------------------------------------------------ the whole run


def describe_run(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what holds for all categories: program, machine, profile."""
    command = ["git", "describe", "--always", "--dirty"]
    git = subprocess.run(command, cwd=ROOT, capture_output=True, text=True) if shutil.which("git") else None
    is_gpu = best_device(arguments.device).type == "cuda"
    return {
        "run": name, "profile": arguments.profile,
        "seeds": list(range(arguments.seed, arguments.seed + arguments.seeds)),
        "commit": (git.stdout.strip() or None) if git else None,
        "torch": torch.__version__, "python": platform.python_version(),
        "device": torch.cuda.get_device_name() if is_gpu else f"{torch.get_num_threads()} CPU threads",
        "profile_settings": asdict(PROFILES[arguments.profile]), "attribution": ATTRIBUTION,
    }  # fmt: skip


def publish(categories: list[str], run_file: Path) -> None:
    """Copy a run's figures and animations to where the README shows them; write its table and the model card anew."""
    published = ROOT / "results" / "published.json"
    write_atomically(published, run_file.read_bytes())
    for category in categories:
        source = run_file.with_suffix("") / category / "animation.gif"
        write_atomically(ROOT / f"{category}_fake_sample_animation.gif", source.read_bytes())
    publish_tables(ROOT)
    write_model_card(published, CHECKPOINTS, ROOT / "docs" / "MODEL_CARD.md")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--profile", default="quick", choices=PROFILES, help="how much to do (default quick)")
    by_profile = "; ".join(f"{name}: {','.join(profile.categories)}" for name, profile in PROFILES.items())
    parser.add_argument("--categories", metavar="NAMES", help="of the dataset's 345, with commas (default by profile, "
                        f"{by_profile})")  # fmt: skip
    counts = ", ".join(str(profile.drawings) for profile in PROFILES.values())
    parser.add_argument("--n", type=int, metavar="N", help=f"drawings per category (default by profile: {counts})")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="seed of the drawings (default 0)")
    parser.add_argument("--seeds", type=int, metavar="N", default=1, help="draw and score with N seeds from --seed on, "
                        "and report mean and standard deviation (default 1)")  # fmt: skip
    parser.add_argument("--name", metavar="NAME", help="name of the run (default the profile)")
    parser.add_argument("--out", metavar="FOLDER", default="results", help="folder for everything (default results)")
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files, or 'embedded'")
    parser.add_argument("--quality", choices=QUALITIES, default=QUALITIES[0], help="of shipped models: students, or "
                        "their teachers, ten times the work (default student, where there is one)")  # fmt: skip
    parser.add_argument("--retrain", action="store_true", help="train anew, even where weights exist")
    parser.add_argument("--publish", action="store_true", help="put scores and animations into README and docs")
    add_device_argument(parser)
    return parser


def chosen_categories(arguments: argparse.Namespace) -> list[str]:
    """Return the categories of a run, each once: those asked for, else those of the profile.

    Raises ValueError for one that the dataset does not have, or none at all.
    """
    if arguments.categories is None:
        return list(PROFILES[arguments.profile].categories)
    named = [resolve_category(part) for part in arguments.categories.split(",") if part.strip()]
    if not named:
        raise ValueError(f"--categories is '{arguments.categories}', must name at least one category")
    return list(dict.fromkeys(named))


def main(argv: list[str] | None = None) -> Path:
    """Run the profile and return the path of the report."""
    arguments = build_parser().parse_args(argv)
    for flag, low, high in (("n", 4, 1_000_000), ("seed", 0, 2**31 - 1), ("seeds", 1, 1000)):
        value = getattr(arguments, flag)
        if value is not None and not low <= value <= high:
            raise ValueError(f"--{flag} is {value}, must lie in {low} ... {high}")
    name, out, profile = arguments.name or arguments.profile, Path(arguments.out), PROFILES[arguments.profile]
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"--name is '{name}', must be letters, digits, - and _")
    categories = chosen_categories(arguments)
    read = data_files(arguments.data_dir or profile.data_dir)
    refuse_losing_files(out, name, categories, read)
    # all of them first: what is missing is said before anything is trained or written over
    network = load_feature_network(NETWORK_PATH)
    tasks = [task_of(category, network, profile, arguments) for category in categories]
    for category in categories:
        check_folder(out / name / category)
    with locked_folder(out / name):
        return run_tasks(tasks, name, arguments)


def run_tasks(tasks: list[Task], name: str, arguments: argparse.Namespace) -> Path:
    """Do everything for the categories of `tasks` and return the path of the report."""
    out, profile = Path(arguments.out), PROFILES[arguments.profile]
    stages = [stage for task in tasks for stage in stages_of(task, profile, arguments)]
    progress, results = Progress([*stages, ("report", 1.0)]), []
    for task in tasks:
        print(task.data.describe() if task.data else f"{task.category}: no real drawings are at hand")
        results.append(run_category(task, out / name / task.category, arguments, progress))
    progress.begin()
    run = describe_run(name, arguments) | {"seconds": round(time.perf_counter() - progress.began, 1)}
    figures = {r.category: {"scores": r.scores, "conditions": r.conditions, "seeds": r.seeds} for r in results}
    run_file, page = out / f"{name}.json", out / "report.html"
    write_atomically(run_file, json.dumps({"run": run, "categories": figures}, indent=2) + "\n")
    write_report([out / name / "report.html", page], results, run)
    if arguments.publish:
        publish([result.category for result in results], run_file)
    print(f"\nOpen {page} in a browser. Scores are in {run_file}, drawings in {out / name} ({run['seconds']:.0f} s)")
    return page


if __name__ == "__main__":
    run_script(main, "a smaller --n")
