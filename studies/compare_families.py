"""Compare families of generative models on the same drawings: one table, one picture, one curve.

    python -m studies.compare_families --category cat          # with the shipped small weights: minutes
    python -m studies.compare_families --smoke                 # every family from scratch, for seconds: two minutes
    python -m studies.compare_families --retrain --data-dir quickdraw/simplified    # the shipped weights anew
    python -m studies.compare_families --retrain --only vae --seconds 600           # one of them, longer

Writes CATEGORY.json, CATEGORY.png, curve.png and latent_diffusion.png into results/families. All families
learn from the same cats, buses and rabbits for as many processor seconds of one thread; temperatures are chosen on
held-out cats, never by the test pictures. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch

from config import (
    ATTRIBUTION,
    CATEGORIES,
    NETWORK_PATH,
    REFERENCE_PATH,
    SampleConfig,
    resolve_category,
    shipped_checkpoint,
)
from drawings.look import save_figure
from families.figures import curve_figure, families_figure, stages_figure
from families.interface import Drawing, Family, Material, num_parameters
from families.latent_diffusion import LatentDiffusion
from families.scoring import Drawn, Validation, draw
from families.training import FAMILIES, WEIGHTS, load_family, save_family, shipped, train
from metrics import judge_distances, judged, memorisation, scores_at_equal_n
from plumbing.command_line import check_folder, run_script, script_parser
from plumbing.files import write_atomically
from rendering import feature_rasters
from reports.tables import markdown_table
from sample_diffusion import load_model, sample
from scoring.averages import over_seeds
from scoring.feature_network import LoadedNetwork, load_feature_network
from scoring.reference import Judge, Reference, describe_drawings, load_reference, recognisability
from scoring.stroke_statistics import describe_strokes, statistic_distances

OUT = Path(__file__).resolve().parent.parent / "results" / "families"
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "FAMILIES.md"
MARKERS = ("<!-- families -->", "<!-- /families -->")
BUDGET, SMOKE_BUDGET, SMOKE_DRAWINGS = 240.0, 2.0, 100
"""Processor seconds of one thread for each family; and of a smoke test, with the drawings it learns from."""
SHOWN = 16
HELD_OUT = 100
"""Held-out drawings of a category that likelihoods are measured on."""
STATISTICS = ("strokes_per_drawing", "ink_length", "start_points")


@dataclass(frozen=True)
class Scale:
    """How much is drawn: drawings of each family and seed, and sampling seeds."""

    count: int
    seeds: tuple[int, ...]


# ------------------------------------------------------------------ training


def retrain(names: Sequence[str], seconds: float, data_dir: str | None, out: Path, tune: bool = True) -> None:
    """Train families on cats, buses and rabbits, choose temperatures on held-out cats, and write their weights."""
    material, loaded = Material.load(CATEGORIES, data_dir), load_feature_network(NETWORK_PATH)
    if not tune:  # a smoke test: reading all drawings takes longer than that
        material = material.fewer(SMOKE_DRAWINGS)
    validation = Validation(material, "cat", loaded)
    for name in names:
        curve: list[dict[str, float]] = []

        def watch(spent: float, family: Family, curve: list[dict[str, float]] = curve) -> None:
            curve.append({"processor_seconds": round(spent, 1), "kid": round(validation.kid(family, 1.0), 5)})
            print(f"{family.title}: {spent:.0f} s, KID x 1000 {1000 * curve[-1]['kid']:.0f}", flush=True)

        untrained = FAMILIES[name](CATEGORIES)
        budget = seconds * untrained.budgets
        family, conditions = train(untrained, material, budget, 0, *([watch] if tune else []))
        conditions |= {"budget": seconds, "temperature": 1.0, "curve": curve}
        if tune:
            conditions["temperature"], conditions["temperatures"] = validation.best_temperature(family)
        conditions["held_out_nats"] = held_out_nats(family, material)
        save_family(out / f"{name}.safetensors", name, family, conditions)
        print(f"{name}: {conditions['updates']} updates, temperature {conditions['temperature']:g}", flush=True)


@torch.inference_mode()
def held_out_nats(family: Family, material: Material) -> dict[str, float]:
    """Return the mean nats of at most HELD_OUT held-out drawings of each category; none without a likelihood."""
    found = {}
    for category, side in zip(material.categories, material.held_out, strict=True):
        if family.likelihood != "none" and len(side):
            nats = family.surprise(family.batch_of(side.select(range(min(HELD_OUT, len(side)))), category))
            assert nats is not None
            found[category] = round(float(nats.mean()), 2)
    return found


# ------------------------------------------------------------------ scoring


def scores_of(drawn: Drawn, reference: Reference, category: str, loaded: LoadedNetwork, seed: int) -> dict[str, Any]:
    """Return the scores of what a family drew, a plain dict of numbers."""
    ours = drawn.described(loaded)
    first = Judge(loaded, reference.real, reference.independent, reference.training)
    pictures = judged(first, ours, category, seed, judge_distances)
    equal = scores_at_equal_n(ours.features, reference.real.features, seed)
    found: dict[str, Any] = {
        "fid": equal["fid"]["at_floor_n"],
        "kid": pictures["kid"]["value"],
        "top1": pictures["recognisability"]["generated"]["top1"],
        "density": equal["density"]["at_floor_n"],
        "coverage": equal["coverage"]["at_floor_n"],
        "two_sample": pictures["two_sample"]["at_floor_n"],
    }
    if reference.training is not None:
        near = memorisation(ours.features, reference.real.features, reference.training)
        found["nearest"], found["nearer_than_real"] = near["ratio"], near["nearer_than_real"]
    if drawn.pictures is None:
        second = describe_drawings(drawn.drawings, reference.second.loaded)
        found["top1_strokes"] = recognisability(second.logits, reference.second.loaded.classes, category)["top1"]
        distances = statistic_distances(describe_strokes(drawn.drawings), reference.statistics)
        found |= {name: distances[name] for name in STATISTICS}
    return found


def baselines(reference: Reference, category: str, loaded: LoadedNetwork) -> dict[str, dict[str, Any]]:
    """Return the rows of real drawings against each other, the best there is, and of shuffled strokes."""
    real, shuffled = reference.real, reference.independent
    first = Judge(loaded, real, shuffled, reference.training)
    pictures = judged(first, shuffled, category, 0, judge_distances)
    equal = scores_at_equal_n(shuffled.features, real.features, 0)
    second = reference.second
    rows: dict[str, dict[str, Any]] = {}
    for title, key, side, strokes in (
        ("Real drawings", "floor", real, second.real), ("Shuffled strokes", "at_floor_n", shuffled, second.independent)
    ):  # fmt: skip
        value = pictures["kid"]["floor"] if key == "floor" else pictures["kid"]["value"]
        rows[title] = {name: equal[name][key] for name in ("fid", "density", "coverage")} | {
            "kid": value, "two_sample": pictures["two_sample"][key],
            "top1": recognisability(side.logits, loaded.classes, category)["top1"],
            "top1_strokes": recognisability(strokes.logits, second.loaded.classes, category)["top1"],
        }  # fmt: skip
        if key == "floor" and reference.training is not None:
            rows[title] |= {"nearest": 1.0, "nearer_than_real": 0.01}
    return rows


def row_of(
    path: Path, category: str, scale: Scale, reference: Reference, loaded: LoadedNetwork
) -> tuple[dict[str, Any], np.ndarray]:
    """Return a family's row of the table, means and deviations over sampling seeds, and its first pictures."""
    family, conditions = load_family(path)
    temperature, scores, seconds, shown = conditions["temperature"], [], 0.0, None
    for seed in scale.seeds:
        began = time.process_time()
        drawn = draw(family, category, scale.count, seed, temperature)
        seconds += time.process_time() - began
        scores.append(scores_of(drawn, reference, category, loaded, seed))
        if shown is None:
            shown = feature_rasters(drawn.drawings[:SHOWN]) if drawn.pictures is None else drawn.pictures[:SHOWN]
    nats = conditions["held_out_nats"].get(category)
    row = {
        "title": family.title, "kind": family.kind, "likelihood": family.likelihood, "nats_are": family.surprise_unit,
        "nats": nats, "evaluations": family.evaluations, "temperature": temperature,
        "parameters": num_parameters(family), "training_seconds": conditions["processor_seconds"],
        "updates": conditions["updates"], "drawings_per_second": scale.count * len(scale.seeds) / seconds,
        "curve": conditions["curve"],
    } | (over_seeds(scores) if len(scores) > 1 else scores[0])  # fmt: skip
    assert shown is not None
    return row, shown


def shipped_row(
    category: str, scale: Scale, reference: Reference, loaded: LoadedNetwork
) -> tuple[dict[str, Any], np.ndarray]:
    """Return the row of the model that draws a category by default, no rival of the others, and its first pictures."""
    trained, seconds = load_model(shipped_checkpoint(category)), 0.0
    scores: list[dict[str, Any]] = []
    shown: Sequence[Drawing] = ()
    for seed in scale.seeds:
        began = time.process_time()
        drawn = Drawn(list(sample(trained, category, SampleConfig(n=scale.count, seed=seed)).drawings))
        seconds += time.process_time() - began
        scores.append(scores_of(drawn, reference, category, loaded, seed))
        shown = shown or drawn.drawings[:SHOWN]
    conditions = trained.conditions
    trainings = [conditions, *conditions.get("lineage", [])]
    row = {
        "title": "Few-step student, as shipped" if trained.teacher_sha256 else "Diffusion, as shipped",
        "parameters": num_parameters(trained.model),
        "training_seconds": sum(each.get("training_seconds", 0.0) for each in trainings),
        "drawings_per_second": scale.count * len(scale.seeds) / seconds,
    } | (over_seeds(scores) if len(scores) > 1 else scores[0])  # fmt: skip
    return row, feature_rasters(shown)


# ------------------------------------------------------------------ what is written

COLUMNS = (
    ("FID", "fid", 1, 1), ("KID × 10³", "kid", 1000, 0), ("top-1", "top1", 100, 0),
    ("top-1 by strokes", "top1_strokes", 100, 0), ("density", "density", 1, 2), ("coverage", "coverage", 1, 2),
    ("two-sample", "two_sample", 1, 2), ("W₁ strokes", "strokes_per_drawing", 1, 1), ("W₁ ink, px", "ink_length", 1, 0),
    ("W₁ starts, px", "start_points", 1, 0), ("nearest training", "nearest", 1, 2),
    ("drawings/s", "drawings_per_second", 1, 0), ("parameters", "parameters", 1e-6, 2),
    ("training s", "training_seconds", 1, 0), ("nats", "nats", 1, 0),
)  # fmt: skip


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table in Markdown; ± is the deviation over sampling seeds."""

    def cell(row: dict[str, Any], key: str, scale: float, decimals: int) -> str:
        if (value := row.get(key)) is None:
            return "–"
        over = row.get(f"{key}_over_seeds")
        unit = {"exact": "", "bound": "≤ "}.get(row.get("likelihood", ""), "") if key == "nats" else ""
        return f"{unit}{scale * value:.{decimals}f}" + (f" ± {scale * over:.{decimals}f}" if over else "")

    head = ["", *(label for label, *_ in COLUMNS)]
    cells = [[row["title"], *(cell(row, key, scale, decimals) for _, key, scale, decimals in COLUMNS)] for row in rows]
    return markdown_table(head, cells)


def compare(
    category: str, paths: dict[str, Path], scale: Scale, out: Path, with_shipped: bool = False
) -> list[dict[str, Any]]:
    """Draw, score and show the families of some weights files; return the rows of the table.

    `with_shipped` adds the model that draws by default, which learned for hours: what a larger budget is worth.
    """
    loaded = load_feature_network(NETWORK_PATH)
    reference = load_reference(REFERENCE_PATH, category, loaded)
    rows: list[dict[str, Any]] = [
        {"title": title} | scores for title, scores in baselines(reference, category, loaded).items()
    ]
    shown: dict[str, np.ndarray] = {}
    for path in paths.values():
        row, pictures = row_of(path, category, scale, reference, loaded)
        rows.append(row)
        shown[row["title"]] = pictures
        print(table_of([row]).splitlines()[-1], flush=True)
    if with_shipped:
        row, pictures = shipped_row(category, scale, reference, loaded)
        rows.append(row)
        shown[row["title"]] = pictures
    table = table_of(rows)
    found = {"category": category, "n": scale.count, "seeds": list(scale.seeds), "reference": reference.source,
             "feature_network": loaded.sha256, "attribution": ATTRIBUTION, "rows": rows}  # fmt: skip
    write_atomically(out / f"{category}.json", json.dumps(found, indent=1) + "\n")
    write_atomically(out / f"{category}.md", table + "\n")
    save_figure(out / f"{category}.png", families_figure(shown), dpi=110, bbox_inches="tight")
    if curves := {row["title"]: row["curve"] for row in rows if row.get("curve")}:
        save_figure(out / "curve.png", curve_figure(curves), dpi=110)
    if "latent_diffusion" in paths:
        family, _ = load_family(paths["latent_diffusion"])
        if isinstance(family, LatentDiffusion):
            save_figure(out / "latent_diffusion.png", stages_figure(family, category), dpi=110)
    print(f"\n{table}\n\nwrote {out}")
    return rows


def published_text(folder: Path) -> str:
    """Return what docs/FAMILIES.md shows of the tables in a folder: of every category that was compared."""
    parts = []
    for path in [folder / f"{category}.json" for category in CATEGORIES]:
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            parts.append(f"**{found['category']}**, {found['n']} drawings of each family and seed, against "
                         f"{found['reference']}:\n\n{table_of(found['rows']).strip()}")  # fmt: skip
    return "\n\n".join(parts)


def publish(folder: Path) -> None:
    """Write the tables in a folder into docs/FAMILIES.md."""
    start, end = MARKERS
    before, rest = DOCUMENT.read_text(encoding="utf-8").split(start)
    after = rest.split(end)[1]
    write_atomically(DOCUMENT, f"{before}{start}\n{published_text(folder)}\n{end}{after}")


# ------------------------------------------------------------------ command line


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--category", default="cat", metavar="NAME",
                        help=f"what to draw, of {', '.join(CATEGORIES)} (default cat)")  # fmt: skip
    parser.add_argument("--only", metavar="FAMILIES", help=f"with commas, of {', '.join(FAMILIES)} (default all)")
    parser.add_argument("--retrain", action="store_true", help="train the weights anew, before they are compared")
    parser.add_argument("--smoke", action="store_true", help="train every family for seconds, and compare these")
    parser.add_argument("--seconds", type=float, default=BUDGET, metavar="X",
                        help=f"--retrain: processor seconds each (default {BUDGET:g}, 1 to 100000)")  # fmt: skip
    parser.add_argument("--n", type=int, default=150, metavar="N", help="drawings of each, 16 to 10000 (default 150)")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="sampling seeds, 1 to 20 (default 3)")
    parser.add_argument("--publish", action="store_true", help="write the table into docs/FAMILIES.md as well")
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files, or 'embedded'")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, metavar="FOLDER",
                        help="where weights are read, or written (default families/weights)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER",
                        help="where tables and pictures go (default results/families)")  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Do what the command line says, and return the rows of the table."""
    arguments = build_parser().parse_args(argv)
    category = resolve_category(arguments.category, CATEGORIES)
    names = [name.strip() for name in (arguments.only or ",".join(FAMILIES)).split(",") if name.strip()]
    if unknown := [name for name in names if name not in FAMILIES]:
        raise ValueError(f"--only names '{unknown[0]}', must be of {', '.join(FAMILIES)}")
    for flag, value, low, high in (("n", arguments.n, 16, 10_000), ("seeds", arguments.seeds, 1, 20),
                                   ("seconds", arguments.seconds, 1, 100_000)):  # fmt: skip
        if not low <= value <= high:
            raise ValueError(f"--{flag} is {value:g}, must lie in {low} ... {high}")
    check_folder(arguments.out)
    matplotlib.use("Agg")
    torch.set_num_threads(1)
    if arguments.smoke:
        with tempfile.TemporaryDirectory() as folder:
            retrain(names, SMOKE_BUDGET, arguments.data_dir, Path(folder), tune=False)
            paths = {name: Path(folder) / f"{name}.safetensors" for name in names}
            return compare(category, paths, Scale(SHOWN, (0,)), arguments.out)
    if arguments.retrain:
        check_folder(arguments.weights, "--weights")
        retrain(names, arguments.seconds, arguments.data_dir, arguments.weights)
    paths = shipped(names, arguments.weights)
    if not paths:
        raise FileNotFoundError(f"{arguments.weights}: holds no weights of {', '.join(names)}; --retrain makes them")
    scale = Scale(arguments.n, tuple(range(arguments.seeds)))
    rows = compare(category, paths, scale, arguments.out, with_shipped=not arguments.only)
    if arguments.publish:
        publish(arguments.out)
    return rows


if __name__ == "__main__":
    run_script(main)
