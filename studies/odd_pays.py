"""Measure whether the check of drawings pays: generated drawings filtered by it, and training data cleaned by it.

    python -m studies.odd_pays --generated results/quick               # drawings of sample_diffusion.py or run_all.py
    python -m studies.odd_pays --train cat --data-dir quickdraw/simplified    # little models on all and on cleaned cats

Writes results/odd_pays.json. Two networks that made the filter are also judges; so a third one that did not, the code
of the category's autoencoder, judges beside them where real drawings are at hand. Data: Quick, Draw! dataset, (c)
Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import train_diffusion
from config import ATTRIBUTION, NETWORK_PATH, OWN_MODELS, REFERENCE_PATH, SampleConfig
from dataset_utils import data_files, load_category, read_ndjson, write_ndjson
from drawings.packed import Drawing
from metrics import kernel_distance
from oddity.autoencoder import ink_of
from oddity.check import Checker
from oddity.looks import Judges, Look
from plumbing.command_line import check_file, run_script, script_parser
from plumbing.files import refuse_overwriting, write_atomically
from plumbing.run_folder import WEIGHTS_FILE
from sample_diffusion import load_model, sample
from scoring.feature_network import load_feature_network
from scoring.reference import load_reference, recognisability
from scoring.two_sample import two_sample_accuracy

OUT = Path(__file__).resolve().parent.parent / "results" / "odd_pays.json"
RATES = (0.05, 0.2)
"""False alarms at which generated drawings are rejected."""
TRAINED, DRAWN, UPDATES = (0, 1), 300, 500
"""Training seeds, drawings of each little model, and its updates."""


def codes(drawings: Sequence[Sequence[NDArray[Any]]], judges: Judges) -> NDArray[np.float64]:
    """Return what the category's autoencoder keeps of drawings, (N, 32): features that no recogniser has made."""
    assert judges.autoencoder is not None
    with torch.no_grad():
        return judges.autoencoder.encoder(ink_of(drawings)[:, None]).double().numpy()


def filtered(category: str, drawings: Sequence[Drawing], real: Sequence[Drawing]) -> dict[str, Any]:
    """Return the two-sample accuracies and KID of generated drawings before and after rejecting, by false alarms.

    `real` are held-out drawings for the third judge, none where none are at hand. Accuracies compare as many drawings
    on both sides, the same number before and after.
    """
    checker, reference = Checker(category), load_reference(REFERENCE_PATH, category, load_feature_network(NETWORK_PATH))
    look = Look(drawings, checker.judges)
    scores = checker.scores(look)
    sides: dict[str, tuple[Any, Any]] = {
        "pictures": (look.pictures.features, reference.real.features),
        "strokes": (look.strokes.features, reference.second.real.features),
    }
    if len(real) and checker.judges.autoencoder is not None:
        sides["autoencoder"] = codes(drawings, checker.judges), codes(real, checker.judges)
    rows: dict[str, Any] = {}
    for rate in (0.0, *RATES):
        kept = scores < checker.calibration.threshold(rate) if rate else np.ones(len(scores), bool)
        row: dict[str, Any] = {"rejected": float(1 - kept.mean()), "kept": int(kept.sum())}
        for name, (ours, theirs) in sides.items():
            row[f"two_sample_{name}"] = two_sample_accuracy(ours[kept], theirs)
        row["kid_pictures"] = kernel_distance(sides["pictures"][0][kept], sides["pictures"][1])[0]
        row["top1"] = recognisability(look.pictures.logits[kept], checker.judges.pictures.classes, category)["top1"]
        rows[f"{rate:g}"] = row
    return rows


def cleaned(category: str, data_dir: str | None, runs: Path) -> dict[str, Any]:
    """Return the scores of little models that learned from all training drawings, and from those that are not odd.

    A third kind learned from as many as the second, left out at random. All have the same updates.
    """
    data = load_category(category, data_dir=data_dir, allow_download=False)
    training = list(data.train)
    odd = Checker(category).odd(training)
    at_random = np.random.default_rng(0).permutation(odd)
    found: dict[str, Any] = {"training": len(training), "odd": int(odd.sum()), "updates": UPDATES}
    reference = load_reference(REFERENCE_PATH, category, load_feature_network(NETWORK_PATH))
    for name, left_out in (("all", np.zeros(len(odd), bool)), ("cleaned", odd), ("random", at_random)):
        folder = runs / name
        folder.mkdir(parents=True, exist_ok=True)
        kept = [drawing for drawing, out in zip(training, left_out, strict=True) if not out]
        write_ndjson(folder / f"{category}.ndjson", kept, word=category)
        for seed in TRAINED:
            out = folder / f"seed-{seed}"
            flags = {"--preset": "smoke", "--category": category, "--steps": UPDATES, "--seed": seed,
                     "--data-dir": folder, "--split": "local", "--out": out}  # fmt: skip
            train_diffusion.main([str(word) for pair in flags.items() for word in pair])
            drawn = sample(load_model(out / WEIGHTS_FILE), category, SampleConfig(n=DRAWN, seed=seed)).drawings
            look = Look(drawn, Judges(category))
            found.setdefault(name, []).append({
                "kid_pictures": kernel_distance(look.pictures.features, reference.real.features)[0],
                "two_sample_pictures": two_sample_accuracy(look.pictures.features, reference.real.features),
                "kid_strokes": kernel_distance(look.strokes.features, reference.second.real.features)[0],
                "top1": recognisability(look.pictures.logits, look.judges.pictures.classes, category)["top1"],
            })  # fmt: skip
            print(f"{name}, seed {seed}: {json.dumps(found[name][-1])}", flush=True)
    return found


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--generated", type=Path, metavar="FOLDER", help="folder of CATEGORY/drawings.ndjson")
    parser.add_argument("--train", metavar="NAME", help="category whose training drawings are cleaned")
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files")
    parser.add_argument("--runs", type=Path, default=Path("runs/odd_pays"), metavar="FOLDER",
                        help="folder of the trainings (default %(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE", help="default results/odd_pays.json")
    return parser


def main(argv: list[str] | None = None) -> Mapping[str, Any]:
    """Measure as the command line says, write what was found beside what was found before, and return it."""
    arguments = build_parser().parse_args(argv)
    if not (arguments.generated or arguments.train):
        raise ValueError("nothing to measure: give --generated, --train, or both")
    refuse_overwriting(data_files(arguments.data_dir), [arguments.out])
    check_file(arguments.out)
    found: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.is_file() else {}
    found["attribution"] = ATTRIBUTION
    for category in OWN_MODELS if arguments.generated else ():
        path = arguments.generated / category / "drawings.ndjson"
        if path.is_file():
            data = load_category(category, data_dir=arguments.data_dir, allow_download=False)
            real = [] if data.source == "embedded" else list(data.test)
            found[f"filtered {category}"] = filtered(category, list(read_ndjson(path)[0]), real)
            print(f"{category}: {json.dumps(found[f'filtered {category}'])}", flush=True)
    if arguments.train:
        found[f"cleaned {arguments.train}"] = cleaned(arguments.train, arguments.data_dir, arguments.runs)
    write_atomically(arguments.out, json.dumps(found, indent=1) + "\n")
    return found


if __name__ == "__main__":
    run_script(main)
