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
from dataclasses import asdict, dataclass, replace
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
    run_script,
    script_parser,
)

if TYPE_CHECKING:  # torch takes over a second to import: --help and bad input answer before it
    from dataset_utils import CategoryData
    from feature_network import LoadedNetwork
    from reference import Reference
    from report import CategoryResult

ROOT = Path(__file__).resolve().parent
SHOWN = 64
CLOSEST = 8


@dataclass(frozen=True)
class Profile:
    """What a profile does: how many drawings, from where, and how a missing model is trained."""

    drawings: int
    data_dir: str | None
    split: str
    download: bool
    shipped_weights: bool
    training: str


PROFILE_SETTINGS = {
    "smoke": Profile(64, "embedded", "local", False, False,
                     "--num-points 16 --width 64 --num-layers 2 --num-heads 4 --denoiser-layers 2 --batch-strokes 512 "
                     "--steps 600 --warmup 20 --learning-rate 3e-3 --ema-decay 0.98 --dropout 0 --validate-every 300 "
                     "--sample-every 0"),
    "quick": Profile(500, None, "auto", False, True, "--steps 6000"),
    "full": Profile(2000, None, "official", True, False,
                    "--steps 40000 --batch-strokes 16384 --noise-draws 8 --learning-rate 1e-3 --warmup 1000 "
                    "--ema-decay 0.9995 --validate-every 2000 --sample-every 10000"),
}  # fmt: skip


def weights_for(category: str, profile: Profile, run: Path, arguments: argparse.Namespace) -> Path:
    """Return the weights of a category: shipped, or of an earlier run, or trained now."""
    import train_diffusion

    shipped = CHECKPOINTS / f"{category}.safetensors"
    if profile.shipped_weights and shipped.is_file() and not arguments.retrain:
        print(f"{category}: shipped weights checkpoints/{shipped.name}")
        return shipped
    if arguments.retrain and run.exists():
        shutil.rmtree(run)
    command = ["--category", category, "--out", str(run), "--split", profile.split, *profile.training.split()]
    data_dir = arguments.data_dir or profile.data_dir
    return train_diffusion.main(command + (["--data-dir", data_dir] if data_dir else []))


def reference_for(real: list[Any], data: CategoryData, loaded: LoadedNetwork) -> Reference | None:
    """Return the best reference at hand, which names itself, or None.

    `real` are the drawings of `data` to compare with, none where nothing is at hand.
    Drawings of the official test split are compared as they are, and so are embedded ones (that is a test of the
    program, no more). A part of the dataset with a split of its own is no official test: then the shipped reference
    decides, where it has the category.
    """
    from metrics import shipped_categories
    from reference import load_reference, reference_of

    embedded, shipped = data.source == "embedded", data.category in shipped_categories()
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


def write_closest(drawings: list[Any], data: CategoryData, loaded: LoadedNetwork, path: Path) -> None:
    """Write a picture of the generated drawings that come nearest to a training drawing, and of that drawing below."""
    from metrics import closest_pairs
    from reference import describe_drawings
    from rendering import grid_image, save_image

    training = list(data.train)
    ours, theirs = (describe_drawings(side, loaded).features for side in (drawings, training))
    pairs = closest_pairs(ours, theirs, CLOSEST)
    shown = [drawings[i] for i, _, _ in pairs] + [training[j] for _, j, _ in pairs]
    labels = [f"distance {distance:.1f}" for _, _, distance in pairs] + ["nearest in training"] * len(pairs)
    save_image(path, grid_image(shown, columns=len(pairs), cell=128, labels=labels))


def is_at_hand(data: CategoryData, profile: Profile) -> bool:
    """Tell whether there is something to compare with: embedded drawings only where the model was trained on them."""
    return data.source != "embedded" or profile.data_dir == "embedded"


def run_category(data: CategoryData, out: Path, arguments: argparse.Namespace) -> CategoryResult:
    """Do everything for one category in the folder `out` and return what the report shows."""
    import sample_diffusion
    from checkpoint import load_weights, sha256_of
    from devices import best_device
    from feature_network import load_feature_network
    from rendering import comparison_image, save_image
    from report import CategoryResult

    profile, category = PROFILE_SETTINGS[arguments.profile], data.category
    weights = weights_for(category, profile, out / "training", arguments)
    trained = load_weights(weights, best_device())
    config = SampleConfig(n=arguments.n or profile.drawings, seed=arguments.seed)
    sampled = sample_diffusion.sample(trained, category, config)
    sampled.conditions |= {"checkpoint": weights.name, "checkpoint_sha256": sha256_of(weights)}

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
    if at_hand:
        write_closest(sampled.drawings, data, loaded, out / "closest.png")
    if real:
        titles = ("embedded" if data.source == "embedded" else "real", "generated")
        sides = (real[:SHOWN], sampled.drawings[:SHOWN])
        save_image(out / "comparison.png", comparison_image(*sides, columns=8, cell=96, titles=titles))
    log = weights.parent / "metrics.jsonl"
    losses = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []
    gifs = {"point by point": out / "animation.gif", "strokes emerging from noise": out / "denoising.gif"}
    pictures = {"generated drawings nearest to a training drawing, which is below them": out / "closest.png"}
    gifs, pictures = (
        {caption: path for caption, path in found.items() if path.is_file()} for found in (gifs, pictures)
    )
    return CategoryResult(category, sampled.drawings, real, scores, sampled.conditions, losses, gifs, pictures)


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

    return {
        "run": name,
        "profile": arguments.profile,
        "seeds": list(range(arguments.seed, arguments.seed + arguments.seeds)),
        "commit": commit_of_program(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{torch.get_num_threads()} CPU threads",
        "profile_settings": asdict(PROFILE_SETTINGS[arguments.profile]),
        "attribution": ATTRIBUTION,
    }


def publish(results: list[CategoryResult], run_file: Path) -> None:
    """Copy a run's figures and animations to where the README shows them."""
    from results_tables import update_readme

    shutil.copyfile(run_file, ROOT / "results" / "published.json")
    for result in results:
        source = run_file.with_suffix("") / result.category / "animation.gif"
        shutil.copyfile(source, ROOT / f"{result.category}_fake_sample_animation.gif")
    for readme in (ROOT / "README.md", ROOT / "README.tr.md"):
        update_readme(readme, ROOT / "results" / "published.json")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--profile", default="quick", choices=PROFILES, help="how much to do (default quick)")
    parser.add_argument("--categories", default=",".join(CATEGORIES), help="with commas (default cat,bus,rabbit)")
    parser.add_argument("--n", type=int, help="drawings per category (default by profile: 64, 500, 2000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawings (default 0)")
    parser.add_argument("--seeds", type=int, default=1, help="score so many seeds: mean and deviation (default 1)")
    parser.add_argument("--name", help="name of the run (default the profile)")
    parser.add_argument("--out", default="results", help="folder for everything (default results)")
    parser.add_argument("--data-dir", help="folder of <category>.ndjson files, or 'embedded'")
    parser.add_argument("--retrain", action="store_true", help="train anew, whatever weights exist")
    parser.add_argument("--publish", action="store_true", help="put figures and animations into README and root")
    return parser


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
    categories = list(dict.fromkeys(resolve_category(part) for part in arguments.categories.split(",") if part.strip()))
    if not categories:
        raise ValueError(f"--categories is '{arguments.categories}', must name at least one category")
    folder, began = Path(arguments.out), time.perf_counter()

    from atomic_files import write_atomically
    from dataset_utils import load_category
    from report import write_report

    profile = PROFILE_SETTINGS[arguments.profile]
    data_dir = arguments.data_dir or profile.data_dir
    # all data first: what is missing is said before anything is trained or written over
    loaded = [
        load_category(category, data_dir=data_dir, split=profile.split, allow_download=profile.download)
        for category in categories
    ]
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
    shutil.copyfile(folder / name / "report.html", page)
    if arguments.publish:
        publish(results, run_file)
    print(f"\nwrote {run_file}; open {page} in a browser ({run['seconds']} s)")
    return page


if __name__ == "__main__":
    run_script(main)
