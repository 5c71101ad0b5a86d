"""Do everything: for each category data, training where weights are missing, drawings, figures, pictures, one page.

    python run_all.py                     # quick: the shipped models draw and are scored, a few minutes
    python run_all.py --profile smoke     # tiny models from scratch on embedded drawings, under two minutes
    python run_all.py --profile full      # the official protocol: downloads, trains and scores; wants a GPU

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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import ATTRIBUTION, CATEGORIES, PROFILES, SampleConfig, resolve_category, run_script, script_parser

if TYPE_CHECKING:  # torch takes over a second to import: --help and bad input answer before it
    from dataset_utils import CategoryData
    from report import CategoryResult

ROOT = Path(__file__).resolve().parent
SHOWN = 64


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

    shipped = ROOT / "checkpoints" / f"{category}.safetensors"
    if profile.shipped_weights and shipped.is_file() and not arguments.retrain:
        print(f"{category}: shipped weights {shipped.relative_to(ROOT)}")
        return shipped
    if arguments.retrain and run.exists():
        shutil.rmtree(run)
    command = ["--category", category, "--out", str(run), "--split", profile.split, *profile.training.split()]
    data_dir = arguments.data_dir or profile.data_dir
    return train_diffusion.main(command + (["--data-dir", data_dir] if data_dir else []))


def score(drawings: list[Any], data: CategoryData, category: str, seed: int) -> dict[str, Any]:
    """Return the figures of generated drawings against the best reference at hand, which they name.

    Drawings of the official test split are compared as they are, and so are embedded ones (that is a test of the
    program, no more). A part of the dataset with a split of its own is no official test: features come from the
    shipped pictures of official test drawings, and only what needs strokes from the held-out part at hand.
    """
    from metrics import score_drawings, stroke_distances

    held_out = [data.test.drawing(i) for i in range(len(data.test))]
    if data.split in ("official", "leak-free") or data.source == "embedded":
        scores = score_drawings(drawings, held_out, category, seed=seed)
    else:
        scores = score_drawings(drawings, None, category, seed=seed)
        if len(held_out) >= 4:
            scores |= stroke_distances(drawings, held_out, seed)
    return scores


def run_category(category: str, out: Path, arguments: argparse.Namespace) -> CategoryResult:
    """Do everything for one category in the folder `out` and return what the report shows."""
    import sample_diffusion
    from checkpoint import load_weights, sha256_of
    from dataset_utils import load_category
    from devices import best_device
    from rendering import comparison_image, save_image
    from report import CategoryResult

    profile = PROFILE_SETTINGS[arguments.profile]
    weights = weights_for(category, profile, out / "training", arguments)
    trained = load_weights(weights, best_device())
    config = SampleConfig(n=arguments.n or profile.drawings, seed=arguments.seed)
    sampled = sample_diffusion.sample(trained, category, config)
    sampled.conditions |= {"checkpoint": weights.name, "checkpoint_sha256": sha256_of(weights)}
    sample_diffusion.write_results(sampled, trained, category, config, out)

    data = load_category(category, data_dir=arguments.data_dir or profile.data_dir, split=profile.split,
                         allow_download=profile.download)  # fmt: skip
    print(data.describe())
    # embedded drawings stand in for real ones only where the model was trained on them
    at_hand = data.source != "embedded" or profile.data_dir == "embedded"
    if at_hand:
        scores = score(sampled.drawings, data, category, arguments.seed)
        real = [data.test.drawing(i) for i in range(len(data.test))]
        if data.source == "embedded":
            scores["reference"] = "embedded drawings, made by a program"
        titles = ("embedded" if data.source == "embedded" else "real", "generated")
        shown = min(SHOWN, len(real))
        save_image(
            out / "comparison.png",
            comparison_image(real[:shown], sampled.drawings[:shown], columns=8, cell=96, titles=titles),
        )
    else:
        from metrics import score_drawings

        real = []
        scores = score_drawings(sampled.drawings, None, category, seed=arguments.seed)
    sampled.conditions["data_at_hand"] = data.source if at_hand else "none"
    log = weights.parent / "metrics.jsonl"
    losses = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    gifs = {"point by point": out / "animation.gif", "strokes emerging from noise": out / "denoising.gif"}
    return CategoryResult(category, sampled.drawings, real, scores, sampled.conditions, losses, gifs)


def describe_run(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the conditions that all categories share: program, machine, profile."""
    import torch

    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return {
        "run": name,
        "profile": arguments.profile,
        "seed": arguments.seed,
        "commit": commit.stdout.strip() or None,
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
    from report import update_readme

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
    parser.add_argument("--seed", type=int, default=0, help="seed of drawings and figures (default 0)")
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
    name = arguments.name or arguments.profile
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"--name is '{name}', must be letters, digits, - and _")
    categories = [resolve_category(part) for part in arguments.categories.split(",") if part.strip()]
    folder, began = Path(arguments.out), time.perf_counter()

    from checkpoint import atomic_write_text
    from report import write_report

    results = []
    for category in dict.fromkeys(categories):
        print(f"\n== {category} ==")
        results.append(run_category(category, folder / name / category, arguments))
    run = describe_run(name, arguments) | {"seconds": round(time.perf_counter() - began, 1)}
    figures = {r.category: {"scores": r.scores, "conditions": r.conditions} for r in results}
    run_file = folder / f"{name}.json"
    text = json.dumps({"run": run, "categories": figures}, indent=2) + "\n"
    atomic_write_text(run_file, text)
    page = folder / "report.html"
    write_report(folder / name / "report.html", results, run)
    shutil.copyfile(folder / name / "report.html", page)
    if arguments.publish:
        publish(results, run_file)
    print(f"\nwrote {run_file}; open {page} in a browser ({run['seconds']} s)")
    return page


if __name__ == "__main__":
    run_script(main)
