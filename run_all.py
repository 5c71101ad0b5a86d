"""Do everything: for each category data, training where weights are missing, drawings, figures, pictures, one page.

    python run_all.py                     # quick: the shipped models draw and are scored, a few minutes
    python run_all.py --profile smoke     # tiny models from scratch on embedded drawings, under two minutes
    python run_all.py --profile full      # the official split: downloads, trains and scores; wants a GPU

Writes into results/: report.html, <run>.json, and <run>/<category>/ with drawings, pictures and trainings. What
an earlier call has trained is used again; --retrain starts anew. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import time
import warnings
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import (
    ATTRIBUTION,
    CATEGORIES,
    CHECKPOINTS,
    NETWORK_PATH,
    PROFILES,
    REFERENCE_PATH,
    SampleConfig,
    resolve_category,
)
from diffusion_model import load_with_guide
from plumbing.command_line import add_device_argument, check_folder, run_script, script_parser
from plumbing.files import locked_folder, write_atomically
from sample_diffusion import known_categories
from scoring.reference import reference_categories

if TYPE_CHECKING:  # torch takes over a second to import: --help and bad input answer before it
    from numpy.typing import NDArray

    from dataset_utils import CategoryData
    from reports.report import CategoryResult
    from scoring.feature_network import LoadedNetwork
    from scoring.reference import Reference

ROOT = Path(__file__).resolve().parent
CLOSEST = 8
SECONDS_PER_TOKEN = 0.4 / 768
"""What training a model of the full size takes per stroke token of a batch on one CPU core, as measured."""


@dataclass(frozen=True)
class Profile:
    """What a profile does: how many drawings of which categories, from where, and how a missing model is trained."""

    drawings: int
    data_dir: str | None
    split: str
    download: bool
    shipped_weights: bool
    training: str
    categories: tuple[str, ...] = CATEGORIES
    guide: str = ""
    """Flags that make the guide of a trained model, which is weaker; without, it is drawn unguided."""
    tuning: str = ""


PROFILE_SETTINGS = {
    "smoke": Profile(64, "embedded", "local", False, False,
                     "--num-points 16 --width 64 --num-layers 2 --num-heads 4 --denoiser-layers 2 --batch-strokes 512 "
                     "--parts 1 --steps 600 --warmup 20 --learning-rate 3e-3 --ema-decay 0.98 --dropout 0 "
                     "--validate-every 300 --sample-every 0", guide="--steps 100", tuning="--strengths 1.5 --n 64"),
    "quick": Profile(500, None, "auto", False, True, "--steps 6000", (*CATEGORIES, "car")),
    "full": Profile(2000, None, "official", True, False,
                    "--steps 40000 --batch-strokes 16384 --noise-draws 8 --learning-rate 1e-3 --warmup 1000 "
                    "--ema-decay 0.9995 --first-stroke-draws 16 --validate-every 2000 --sample-every 10000",
                    guide="--width 128 --num-layers 3 --denoiser-layers 3 --num-heads 4 --steps 10000",
                    tuning="--n 2000"),
}  # fmt: skip


def draws_shipped(category: str, profile: Profile, arguments: argparse.Namespace) -> bool:
    """Tell whether a category is drawn with its shipped weights, not with trained ones."""
    return profile.shipped_weights and not arguments.retrain and (CHECKPOINTS / f"{category}.safetensors").is_file()


def check_files(categories: list[str], profile: Profile, arguments: argparse.Namespace) -> None:
    """Refuse, without torch, shipped files that are missing or damaged: before anything is drawn or trained."""
    for category in categories:
        if draws_shipped(category, profile, arguments):
            load_with_guide(CHECKPOINTS / f"{category}.safetensors").category_id(category)


def check_device(profile: Profile, arguments: argparse.Namespace) -> None:
    """Refuse a GPU that is not there, and warn where a training for a GPU begins on a CPU."""
    from plumbing.devices import best_device

    flags = dict(zip(profile.training.split()[::2], profile.training.split()[1::2], strict=True))
    tokens = int(flags["--steps"]) * int(flags.get("--batch-strokes", 0))
    days = tokens * SECONDS_PER_TOKEN / 86_400
    if best_device(arguments.device).type == "cpu" and days > 1:
        warnings.warn(
            f"--profile {arguments.profile} wants a GPU: on a CPU a category takes about {days:.0f} days of one core "
            f"({tokens:,} stroke tokens, {1000 * SECONDS_PER_TOKEN:.1f} ms each); after Ctrl-C the command goes on",
            stacklevel=2,
        )


def weights_for(category: str, profile: Profile, run: Path, arguments: argparse.Namespace) -> Path:
    """Return the weights of a category: shipped, or of an earlier run, or trained and tuned now."""
    import train_diffusion
    from studies import tune_sampling

    shipped = CHECKPOINTS / f"{category}.safetensors"
    if draws_shipped(category, profile, arguments):
        print(f"{category}: shipped weights checkpoints/{shipped.name}")
        return shipped
    if arguments.retrain and run.exists():
        shutil.rmtree(run)
    data_dir = arguments.data_dir or profile.data_dir
    common = ["--category", category, "--split", profile.split, *(["--data-dir", data_dir] if data_dir else [])]
    common += ["--device", arguments.device] if arguments.device != "auto" else []
    command = [*common, *profile.training.split()]
    weights = train_diffusion.main([*command, "--out", str(run)])
    if not profile.guide:
        return weights
    weaker = train_diffusion.main([*command, *profile.guide.split(), "--out", str(run / "weaker")])
    guide, tuned = run / "guide.safetensors", run / "tuned.safetensors"
    if not tuned.is_file() or tuned.stat().st_mtime < max(path.stat().st_mtime for path in (weights, weaker)):
        write_atomically(guide, weaker.read_bytes())
        files = ["--checkpoint", str(weights), "--guide", str(guide), "--out", str(tuned)]
        tune_sampling.main([*common, *files, *profile.tuning.split()])
    return tuned


def reference_for(real: list[Any], data: CategoryData, loaded: LoadedNetwork) -> Reference | None:
    """Return the best reference at hand, which names itself, or None.

    `real` are the drawings of `data` to compare with, none where nothing is at hand.
    Drawings of the official test split are compared as they are, and so are embedded ones (that is a test of the
    program, no more). A part of the dataset with a split of its own is no official test: then the shipped reference
    decides, where it has the category.
    """
    from scoring.reference import load_reference, reference_of

    embedded, shipped = data.source == "embedded", data.category in reference_categories(REFERENCE_PATH)
    if len(real) >= 2 and (data.split in ("official", "leak-free") or embedded or not shipped):
        kind = "embedded drawings, made by a program" if embedded else "real drawings"
        source = f"{kind}, split {data.split}, as strokes"
        return reference_of(real, data.category, loaded, training=list(data.train), source=source)
    return load_reference(REFERENCE_PATH, data.category, loaded) if shipped else None


def score(drawings: list[Any], reference: Reference | None, category: str, loaded: LoadedNetwork) -> dict[str, Any]:
    """Return the figures of generated drawings, or why there are none."""
    from metrics import scores_against

    if reference is None:
        return {"not_measured": "no real drawings of this category are at hand, nor in the shipped reference"}
    return scores_against(reference, drawings, category, loaded)


def write_closest(
    drawings: list[Any], features: NDArray[Any], data: CategoryData, loaded: LoadedNetwork, path: Path
) -> None:
    """Write a picture of the generated drawings that come nearest to a training drawing, and of that drawing below.

    `features` are those of the generated drawings, (N, D).
    """
    from metrics import closest_pairs
    from rendering import grid_image, save_image
    from scoring.reference import describe_drawings

    training = list(data.train)
    pairs = closest_pairs(features, describe_drawings(training, loaded).features, CLOSEST)
    shown = [drawings[i] for i, _, _ in pairs] + [training[j] for _, j, _ in pairs]
    labels = [f"distance {distance:.1f}" for _, _, distance in pairs] + ["nearest in training"] * len(pairs)
    save_image(path, grid_image(shown, columns=len(pairs), cell=128, labels=labels), few_colors=True)


def is_at_hand(data: CategoryData, profile: Profile) -> bool:
    """Tell whether there is something to compare with: embedded drawings only where the model was trained on them."""
    if not len(data.train):
        return False
    return data.source != "embedded" or profile.data_dir == "embedded"


def load_data(category: str, profile: Profile, arguments: argparse.Namespace) -> CategoryData:
    """Return the drawings of a category; none for a shipped model beyond the three of the assignment without a file.

    Raises FileNotFoundError or ValueError as ``load_category`` does.
    """
    from dataset_utils import CategoryData, LoadCounts, available_categories, load_category
    from drawings.packed import PackedDrawings

    data_dir = arguments.data_dir or profile.data_dir
    needs_none = category not in CATEGORIES and profile.shipped_weights and not arguments.retrain
    if needs_none and category not in available_categories(data_dir):
        none = PackedDrawings.from_drawings([])
        return CategoryData(category, none, none, "none", None, "local", LoadCounts(), "")
    return load_category(category, data_dir=data_dir, split=profile.split, allow_download=profile.download)


def run_category(data: CategoryData, out: Path, arguments: argparse.Namespace) -> CategoryResult:
    """Do everything for one category in the folder `out` and return what the report shows."""
    import sample_diffusion
    from reports.gallery import PAGE_DRAWINGS, RealDrawings, probabilities, write_gallery
    from reports.report import CategoryResult
    from scoring.feature_network import load_feature_network
    from scoring.reference import describe_drawings

    profile, category = PROFILE_SETTINGS[arguments.profile], data.category
    weights = weights_for(category, profile, out / "training", arguments)
    trained = sample_diffusion.load_model(weights, device=arguments.device)
    config = SampleConfig(n=arguments.n or profile.drawings, seed=arguments.seed)
    sampled = sample_diffusion.sample(trained, category, config)
    sampled.conditions |= {"checkpoint": weights.name, "checkpoint_sha256": trained.sha256}

    at_hand = is_at_hand(data, profile)
    sampled.conditions["data_at_hand"] = data.source if at_hand else "none"
    sample_diffusion.write_results(sampled, trained, category, config, out)
    real = list(data.test) if at_hand else []
    loaded = load_feature_network(NETWORK_PATH)
    reference = reference_for(real, data, loaded)
    scores = {str(config.seed): score(sampled.drawings, reference, category, loaded)}
    for seed in range(config.seed + 1, config.seed + arguments.seeds):
        again = sample_diffusion.sample(trained, category, replace(config, seed=seed))
        scores[str(seed)] = score(again.drawings, reference, category, loaded)
    described = describe_drawings(sampled.drawings, loaded)
    others = list(islice(data.train, PAGE_DRAWINGS)) if at_hand else []
    if at_hand:
        write_closest(sampled.drawings, described.features, data, loaded, out / "closest.png")
    else:
        (out / "closest.png").unlink(missing_ok=True)  # of an earlier run

    def draw_on(beginnings: list[Any]) -> list[Any]:
        return sample_diffusion.sample(trained, category, replace(config, n=len(beginnings)), beginnings).drawings

    kind = "embedded" if data.source == "embedded" else "real"
    shares = probabilities(described.logits, loaded.classes, category)
    gallery = write_gallery(
        out, category, sampled.drawings, shares, RealDrawings(real, others, kind) if at_hand else None, draw_on,
        trained.model.config.max_strokes,
    )  # fmt: skip
    log = weights.parent / "metrics.jsonl"
    losses = logged_losses(log) if log.is_file() else []
    gifs = {"point by point": out / "animation.gif", "strokes emerging from noise": out / "denoising.gif"}
    pictures = {"generated drawings nearest to a training drawing, which is below them": out / "closest.png"}
    gifs, pictures = (
        {caption: path for caption, path in found.items() if path.is_file()} for found in (gifs, pictures)
    )
    return CategoryResult(
        category, sampled.drawings, real, scores, sampled.conditions, losses, gifs, pictures, gallery, others
    )


def logged_losses(log: Path) -> list[dict[str, Any]]:
    """Return the rows of a training's metrics.jsonl; what a kill has left of a row is left out, with a warning."""
    rows = []
    for number, line in enumerate(log.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            rows.append(dict(json.loads(line)))
        except (ValueError, TypeError, RecursionError):
            warnings.warn(f"{log}:{number}: no row of figures, left out of the report", stacklevel=2)
    return rows


def commit_of_program() -> str | None:
    """Return git's name of the program's state, or None where there is no git or no history."""
    try:
        command = ["git", "describe", "--always", "--dirty"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip() or None
    except OSError:
        return None


def describe_run(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the conditions that all categories share: program, machine, profile."""
    import torch

    from plumbing.devices import best_device

    return {
        "run": name,
        "profile": arguments.profile,
        "seeds": list(range(arguments.seed, arguments.seed + arguments.seeds)),
        "commit": commit_of_program(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name()
        if best_device(arguments.device).type == "cuda"
        else f"{torch.get_num_threads()} CPU threads",
        "profile_settings": asdict(PROFILE_SETTINGS[arguments.profile]),
        "attribution": ATTRIBUTION,
    }


def publish(results: list[CategoryResult], run_file: Path) -> None:
    """Copy a run's figures and animations to where the README shows them, and write the model card from them."""
    from reports.model_card import write_model_card
    from reports.tables import update_readme

    write_atomically(ROOT / "results" / "published.json", run_file.read_bytes())
    for result in results:
        source = run_file.with_suffix("") / result.category / "animation.gif"
        write_atomically(ROOT / f"{result.category}_fake_sample_animation.gif", source.read_bytes())
    for readme in (ROOT / "README.md", ROOT / "README.tr.md"):
        update_readme(readme, ROOT / "results" / "published.json")
    write_model_card(ROOT / "results" / "published.json", CHECKPOINTS, ROOT / "MODEL_CARD.md")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--profile", default="quick", choices=PROFILES, help="how much to do (default quick)")
    by_profile = "; ".join(f"{name}: {','.join(profile.categories)}" for name, profile in PROFILE_SETTINGS.items())
    parser.add_argument("--categories", help=f"with commas (default by profile, {by_profile})")
    parser.add_argument("--n", type=int, help="drawings per category (default by profile: 64, 500, 2000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawings (default 0)")
    parser.add_argument("--seeds", type=int, default=1, help="score so many seeds: mean and deviation (default 1)")
    parser.add_argument("--name", help="name of the run (default the profile)")
    parser.add_argument("--out", default="results", help="folder for everything (default results)")
    parser.add_argument("--data-dir", help="folder of <category>.ndjson files, or 'embedded'")
    parser.add_argument("--retrain", action="store_true", help="train anew, whatever weights exist")
    parser.add_argument("--publish", action="store_true", help="put figures and animations into README and root")
    add_device_argument(parser)
    return parser


def chosen_categories(arguments: argparse.Namespace) -> list[str]:
    """Return the categories of a run, each once: those asked for, else those of the profile that can be drawn.

    Raises ValueError for one that has neither shipped weights nor is of the assignment, or none at all.
    """
    known = known_categories()
    if arguments.categories is None:
        return [category for category in PROFILE_SETTINGS[arguments.profile].categories if category in known]
    named = [resolve_category(part, known) for part in arguments.categories.split(",") if part.strip()]
    if not named:
        raise ValueError(f"--categories is '{arguments.categories}', must name at least one category")
    return list(dict.fromkeys(named))


def main(argv: list[str] | None = None) -> Path:
    """Run the profile and return the path of the report."""
    arguments = build_parser().parse_args(argv)
    if arguments.n is not None and not 4 <= arguments.n <= 1_000_000:
        raise ValueError(f"--n is {arguments.n}, must lie in 4 ... 1000000")
    if not 0 <= arguments.seed < 2**31:
        raise ValueError(f"--seed is {arguments.seed}, must lie in 0 ... {2**31 - 1}")
    if not 1 <= arguments.seeds <= 1000:
        raise ValueError(f"--seeds is {arguments.seeds}, must lie in 1 ... 1000")
    name = arguments.name or arguments.profile
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"--name is '{name}', must be letters, digits, - and _")
    categories = chosen_categories(arguments)
    folder = Path(arguments.out)

    from dataset_utils import available_categories

    profile = PROFILE_SETTINGS[arguments.profile]
    check_files(categories, profile, arguments)
    available_categories(arguments.data_dir or profile.data_dir)
    for category in categories:
        check_folder(folder / name / category)
    # all data first: what is missing is said before anything is trained or written over
    loaded = [load_data(category, profile, arguments) for category in categories]
    check_device(profile, arguments)
    with locked_folder(folder / name):
        page = run_categories(loaded, name, arguments)
    return page


def run_categories(loaded: list[CategoryData], name: str, arguments: argparse.Namespace) -> Path:
    """Do everything for the categories whose drawings are given, and return the path of the report."""
    from reports.report import write_report

    folder, profile, began = Path(arguments.out), PROFILE_SETTINGS[arguments.profile], time.perf_counter()
    results = []
    for data in loaded:
        at_hand = is_at_hand(data, profile)
        print(f"\n== {data.category} ==\n{data.describe() if at_hand else 'no real drawings at hand'}")
        results.append(run_category(data, folder / name / data.category, arguments))
    run = describe_run(name, arguments) | {"seconds": round(time.perf_counter() - began, 1)}
    figures = {r.category: {"scores": r.scores, "conditions": r.conditions, "seeds": r.seeds} for r in results}
    run_file = folder / f"{name}.json"
    text = json.dumps({"run": run, "categories": figures}, indent=2) + "\n"
    write_atomically(run_file, text)
    page = folder / "report.html"
    write_report(folder / name / "report.html", results, run)
    write_atomically(page, (folder / name / "report.html").read_bytes())
    if arguments.publish:
        publish(results, run_file)
    print(f"\nwrote {run_file}; open {page} in a browser ({run['seconds']} s)")
    return page


if __name__ == "__main__":
    run_script(main, "a smaller --n")
