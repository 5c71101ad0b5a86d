"""Write the model card of the shipped checkpoints, docs/MODEL_CARD.md.

    python -m reports.model_card        # from results/published.json and checkpoints/*.safetensors

The words are in model_card.md beside this file; the tables come from the headers of the checkpoints and the published
results. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

from config import ATTRIBUTION, CHECKPOINTS, STUDENTS
from diffusion_model import TrainedModel, load_weights
from plumbing.command_line import run_script, script_parser
from plumbing.files import write_atomically
from reports import tables
from reports.tables import PER_MILLE, figure, markdown_table, part, plain_text, read_run

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = Path(__file__).with_name("model_card.md")
GUIDE, BASE = "guide", "base"
UNKNOWN = "unknown"


def _count(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else UNKNOWN


def _files(models: Iterable[TrainedModel], folder: Path) -> str:
    rows = []
    for trained in models:
        path, drawn = trained.path, trained.conditions.get("trained_on") or [UNKNOWN]
        assert path is not None
        size = f"{sum(parameter.numel() for parameter in trained.model.parameters()):,}"
        draws = ", ".join(drawn) if len(drawn) < 6 else f"{len(drawn)} categories"
        name = path.relative_to(folder).as_posix()
        rows.append([name, draws, size, f"{path.stat().st_size / 1e6:.1f} MB", trained.sha256])
    return markdown_table(["", "Draws", "Parameters", "Size", "sha256"], rows)


def _training(models: Mapping[str, TrainedModel]) -> str:
    rows = []
    for name, trained in models.items():
        made = trained.conditions
        numbers = [sum(part(made, "train_drawings").values()) or None, *map(made.get, (
            "companion_drawings", "held_out_drawings", "step", "training_seconds"))]  # fmt: skip
        rows.append([name, *map(_count, numbers)])
    return markdown_table(
        ["", "Training drawings", "Auxiliary", "Held out", "Updates of the last stage", "Its seconds"], rows
    )


def _guidance(models: Mapping[str, TrainedModel]) -> str:
    """Return what was tried in tuning: a row for each strength and guide, a column for each model, at its own share."""
    cells: dict[str, dict[str, str]] = {}
    how: dict[str, dict[str, str]] = {"share of the fine-tuned weights": {}, "chosen by": {}}
    known = {trained.sha256: f"{name}.safetensors" for name, trained in models.items()}
    for name, trained in models.items():
        sampling = part(trained.conditions, "sampling")
        chosen = (sampling.get("guidance"), part(sampling, "guide").get("file"))
        own = sampling.get("share", 1.0)
        today = known.get(str(part(sampling, "guide").get("sha256")), chosen[1])  # what the chosen guide is called
        if sampling:
            for row, value in zip(how.values(), (f"{own:g}", sampling.get("against", "–")), strict=True):
                row[name] = str(value)
        for tried in sampling.get("tried") or ():
            if tried.get("share", 1.0) != own:
                continue
            guide, strength = tried.get("guide"), tried.get("guidance")
            against = (today if guide == chosen[1] else guide) or "the model without category"
            label = "no guidance" if strength == 1 else f"{strength} away from {against}"
            kid = figure(tried, "kid", PER_MILLE)
            kid += f" ({100 * tried['copies']:.1f} %)" if "copies" in tried else ""
            cells.setdefault(label, {})[name] = f"**{kid}**" if (strength, guide) == chosen else kid
    names = [name for name, trained in models.items() if part(trained.conditions, "sampling")]
    rows = [[label, *(row.get(name, "–") for name in names)] for label, row in [*how.items(), *sorted(cells.items())]]
    return markdown_table(["Guidance", *names], rows)


def card_text(published: Path, checkpoints: Path) -> str:
    """Return the whole card as Markdown.

    Raises FileNotFoundError or ValueError where the results or a checkpoint are missing or damaged.
    """
    _, entries, seeds = read_run(published)
    models = {name: load_weights(checkpoints / f"{name}.safetensors") for name in (BASE, GUIDE, *entries)}
    there = {name: path for name in models if (path := checkpoints / STUDENTS.name / f"{name}.safetensors").is_file()}
    students = {name: load_weights(path) for name, path in there.items()}
    for name, entry in entries.items():
        used = students.get(name, models[name])
        if part(entry, "conditions").get("checkpoint_sha256") != used.sha256:
            raise ValueError(f"{published}: was measured with another {name}.safetensors than that of {checkpoints}")
    scores = {name: part(entry, "scores") for name, entry in entries.items()}
    tuned = [part(trained.conditions, "sampling").get("n") for trained in models.values()]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        files=_files([*models.values(), *students.values()], checkpoints),
        training=_training(models), guidance=_guidance(models),
        tuning_n=_count(max((n for n in tuned if n), default=None)),
        results=f"{tables.results_table(scores)}\n{tables.summary_note(entries, seeds)}",
        copies=markdown_table(*tables.table_of(tables.COPIES, scores)),
        losses=f"{tables.LOSSES_CAPTION}\n\n{tables.losses_table(published, entries)}",
        longest=max(trained.model.config.max_strokes for trained in models.values()),
        note=plain_text(str(models[GUIDE].conditions.get("note", UNKNOWN))), attribution=ATTRIBUTION,
    )  # fmt: skip


def write_model_card(published: Path, checkpoints: Path, out: Path) -> None:
    """Write the card of a folder of checkpoints and the results of `published` to `out`; raises as ``card_text``."""
    write_atomically(out, card_text(published, checkpoints))


def build_parser() -> argparse.ArgumentParser:
    """Return the command line, which has no options of its own."""
    return script_parser(__doc__)


def main(argv: Sequence[str] | None = None) -> Path:
    """Write the card of the shipped checkpoints and return its path."""
    build_parser().parse_args(argv)
    card = ROOT / "docs" / "MODEL_CARD.md"
    write_model_card(ROOT / "results" / "published.json", CHECKPOINTS, card)
    sys.stdout.write(f"wrote {card}\n")
    return card


if __name__ == "__main__":
    run_script(main)
