"""Write MODEL_CARD.md: what the shipped models are for, how they were made, what they reach, and their limits.

    python model_card.py                            # from results/published.json and checkpoints/*.safetensors

Every number in the card comes from those files; what a file does not say is "unknown". Beside the results it draws
training_curves.png, the losses that the checkpoints have stored. Data: Quick, Draw! dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from config import ATTRIBUTION, CHECKPOINTS, SampleConfig
from plumbing.command_line import check_file, run_script, script_parser
from plumbing.files import write_atomically
from reports.checkpoint_history import (
    BASE,
    FOLDER,
    UNKNOWN,
    Shipped,
    Stages,
    command_of,
    draw_curves,
    named_stages,
    read_checkpoints,
    text_of,
)
from reports.tables import figure, markdown_table, part, percent, plain_text, readme_table

ROOT = Path(__file__).resolve().parent.parent
MOST_NAMES = 6
"""Longest list of categories that is written out."""
DATASET = "https://github.com/googlecreativelab/quickdraw-dataset"


def categories_text(names: Any) -> str:
    """Return a list of categories by name where it is short, and by number where it is long."""
    if not isinstance(names, list) or len(names) <= MOST_NAMES:
        return text_of(names)
    return f"{len(names)} categories"


def _total(drawings: Any) -> int | None:
    """Return the number of drawings of all categories of a {category: number}, None where it is not one."""
    numbers = list(drawings.values()) if isinstance(drawings, Mapping) else []
    return sum(numbers) if numbers and all(isinstance(number, int) for number in numbers) else None


def _rounded(value: Any, decimals: int) -> str:
    real = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return f"{value:,.{decimals}f}" if real else UNKNOWN


# ------------------------------------------------------------------ sections


def _files(checkpoints: Sequence[Shipped]) -> str:
    rows = []
    for shipped in checkpoints:
        model = shipped.trained.model
        parameters = sum(parameter.numel() for parameter in model.parameters())
        rows.append([
            shipped.path.name, categories_text(shipped.trained.conditions.get("trained_on")),
            text_of(parameters), f"{shipped.path.stat().st_size / 1e6:.1f} MB", shipped.storage, shipped.sha256,
        ])  # fmt: skip
    table = markdown_table(["", "Draws", "Parameters", "File", "Stored as", "sha256"], rows)
    shapes = {shipped.name: text_of(vars(shipped.trained.model.config)) for shipped in checkpoints}
    form = "".join(
        f"- {', '.join(name for name, other in shapes.items() if other == shape)}: {plain_text(shape)}\n"
        for shape in dict.fromkeys(shapes.values())
    )
    return f"{table}\nForm of the network:\n\n{form}"


def _sampling(checkpoints: Sequence[Shipped]) -> str:
    defaults = {spec.name: spec for spec in fields(SampleConfig) if spec.name not in ("n", "seed", "batch_size")}
    rows = [
        [f"--{name.replace('_', '-')}", str(spec.default), str(spec.metadata["help"])]
        for name, spec in defaults.items()
    ]
    tuned = [
        f"- {shipped.name}: {plain_text(text_of(shipped.trained.conditions['sampling']))}\n"
        for shipped in checkpoints
        if shipped.trained.conditions.get("sampling")
    ]
    intro = "\nWhat a checkpoint was tuned for, and is drawn with unless a flag says otherwise:\n\n" if tuned else ""
    return markdown_table(["Setting", "Default", "Meaning"], rows) + intro + "".join(tuned)


def _data(stages: Stages) -> str:
    rows = []
    for name, stage, _ in stages.values():
        numbers = (_total(stage.get("train_drawings")), *map(stage.get, ("companion_drawings", "held_out_drawings")))
        rows.append([
            name, categories_text(stage.get("trained_on")), *map(text_of, numbers),
            *(text_of(stage.get(key)) for key in ("left_out_over_max_strokes", "split", "recognized_only")),
        ])  # fmt: skip
    head = ["Training", "Categories", "Drawings", "Of companions", "Held out", "Left out, too many strokes", "Split",
            "Recognised only"]  # fmt: skip
    return markdown_table(head, rows)


def _trainings(stages: Stages) -> str:
    rows, notes = [], ""
    for name, stage, before in stages.values():
        notes += f"\n- {name}: {plain_text(text_of(stage['note']))}." if stage.get("note") else ""
        done, planned = stage.get("step"), part(stage, "train").get("steps")
        updates = text_of(done) if done == planned else f"{text_of(done)} of {text_of(planned)}"
        losses = (_rounded(stage.get(key), 4) for key in ("validation_loss", "validation_stop_loss"))
        begun = before or ("nothing" if "start" in stage and not part(stage, "start").get("init") else UNKNOWN)
        seconds = _rounded(stage.get("training_seconds"), 0)
        seconds += f" ({text_of(stage['device'])})" if stage.get("device") else ""
        rows.append([name, begun, updates, text_of(stage.get("drawings_seen")), seconds, *losses])
    head = ["Training", "Begins from", "Updates", "Drawings seen", "Seconds", "Held-out loss", "Held-out stop loss"]
    return markdown_table(head, rows) + (notes + "\n" if notes else "")


def _which_file(checkpoints: Sequence[Shipped], entries: Mapping[str, Any]) -> str:
    """Return a line for each category: were its figures measured with the very file that is shipped?"""
    lines = []
    files = {shipped.name: shipped for shipped in checkpoints}
    for name in dict.fromkeys((*entries, *(other for other in files if other != BASE))):
        made = part(entries, name, "conditions")
        if name not in entries:
            said = "no published figures"
        elif name not in files:
            said = "figures of a model that is not shipped"
        elif made.get("checkpoint_sha256") == files[name].sha256:
            said = "figures of the file above"
        else:
            other = text_of(made.get("checkpoint_sha256"))
            said = f"figures of another file than the one above, sha256 {other}"
        lines.append(f"- {plain_text(name)}: {plain_text(said)}.\n")
    return "".join(lines)


def _copies(entries: Mapping[str, Any]) -> str:
    lines = []
    for name, entry in entries.items():
        copies = part(entry, "scores", "memorisation")
        ratio, nearer = figure(copies, "ratio"), percent(copies, "nearer_than_real")
        lines.append(f"{name} {ratio} and {nearer}")
    return plain_text("; ".join(lines))


def _few_drawings(checkpoints: Sequence[Shipped]) -> str:
    """Return how many drawings of its own category each model of one category has learned from."""
    found: dict[str, Any] = {}
    for shipped in checkpoints:
        drawings = part(shipped.trained.conditions, "train_drawings")
        found |= drawings if len(drawings) == 1 else {} if drawings else {shipped.name: None}
    return plain_text(text_of(found))


def _splits(stages: Stages) -> str:
    """Return what the splits of the trainings do not keep apart, "" for the local one alone."""
    splits = {text_of(stage.get("split")) for _, stage, _ in stages.values()}
    notes = []
    if "official" in splits:
        notes.append("The official list repeats lines, so that some of its test drawings are training drawings.")
    if len(splits) > 1:
        notes.append("Splits differ between trainings: what one held out another may have learned from.")
    return "".join(f" {note}" for note in notes)


def card_text(published: Path, checkpoints: Sequence[Shipped], picture: str, licence: str) -> str:
    """Return the whole card as Markdown; `picture` links to the curves, "" where no checkpoint has stored one."""
    results = readme_table(published)  # which refuses a damaged file
    entries = part(json.loads(published.read_text(encoding="utf-8")), "categories")
    stages = named_stages(checkpoints)
    names = [shipped.name for shipped in checkpoints]
    seconds = [stage.get("training_seconds") for _, stage, _ in stages.values()]
    known = [float(value) for value in seconds if isinstance(value, int | float)]
    longest = max(shipped.trained.model.config.max_strokes for shipped in checkpoints)
    most = max(len(shipped.trained.categories) for shipped in checkpoints)
    only_recognised = all(stage.get("recognized_only") is True for _, stage, _ in stages.values())
    kept = "Only recognised ones are trained on" if only_recognised else "Both kinds are trained on"
    of_licence = [line for line in licence.splitlines() if line.strip()][:2] or [UNKNOWN]
    return f"""# Model card

Written by `python model_card.py` from `results/published.json` and the headers of the checkpoints: no number below is
written by hand. What the models are and how to use them stands in [README.md](README.md), what each figure says in
[METRICS.md](METRICS.md).

## Files

{text_of(len(names))} checkpoints: {plain_text(", ".join(names))}. Each draws sketches stroke by stroke, by diffusion.

{_files(checkpoints)}
## Use

**For**: drawing sketches of a category, continuing unfinished ones, studying and teaching how diffusion models draw
sequences, and as a beginning for models of other categories; they share a list of {text_of(most)}.

**Not for**: passing drawings off as those of people, for instance as answers of a study; recognising drawings, or
judging those who draw; writing, signatures, or portraits of a person; categories that a model was not trained on, which
it refuses; estimates of what people draw: these samples distort it, see the results.

### Sampling

{_sampling(checkpoints)}
## Training data

{ATTRIBUTION}, {DATASET}: drawings by players who were given a word. None of them is in
this repository. *Held out* are drawings that a training never saw and its losses are measured on: with the local split
by a hash of each drawing. *Companions* are drawings of other categories, trained beside the wanted
one.{_splits(stages)}

{_data(stages)}
## How each was made

Trainings follow one another; the last one of a checkpoint has its name. Held-out losses are those of the moving average
of the weights, on a fixed part of the held-out drawings of the training's own categories: only those of the same
categories compare. Together {_rounded(sum(known) if known else None, 0)} seconds; attempts that were not shipped are
not in it.

{_trainings(stages)}
{_curves_text(picture)}
The commands, `{FOLDER}` being a folder of `<category>.ndjson` files:

```sh
{"".join(command_of(name, stage, before) for name, stage, before in stages.values())}```

## Results

{_which_file(checkpoints, entries)}
{results}
## Limits and bias

- **Few drawings.** Training drawings of a model's own category: {_few_drawings(checkpoints)}. Where they are hundreds,
  most of what it knows of drawing comes from other categories.
- **Copies.** Median distance to the nearest training drawing over that of real drawings, and the share of drawings that
  are nearer than the nearest hundredth of real ones: {_copies(entries)}.
  Only whole drawings are compared: a borrowed part passes.
- **Who drew.** Players of an online game, who chose to play it and had the device for it. The dataset names a country
  for many drawings; the models are not told it, and draw what most players drew. How things look elsewhere, or to those
  who did not play, is hardly in it. Its makers say that the drawings were moderated and may still contain what is
  inappropriate; so may these.
- **A game against the clock.** Players had twenty seconds and were stopped when the program guessed the word: their
  drawings are hasty and often unfinished, and so are those of the models.
- **Recognised or not.** The dataset marks the drawings that the game recognised. {kept}. The unrecognised bring
  scribbles, jokes and other things than the word; the recognised alone are what suited a program of that time.
- **Form.** At most {text_of(longest)} strokes; longer drawings are left out of training. No speed, pressure or colour.
- **One judge.** The figures come from one small network and one rendering, both of this project. No person was asked.

## Licence

{plain_text(". ".join(of_licence))}; the whole text is in `LICENSE` and covers code and weights. The drawings that the
weights were learned from: {ATTRIBUTION}. Name that source wherever the models or their drawings are shown.
"""


def _curves_text(picture: str) -> str:
    if not picture:
        return "No checkpoint has stored its training curve.\n"
    return (
        f"![Losses over updates]({picture})\n\nLosses over updates, on a logarithmic scale, with a panel for each "
        "checkpoint; a training that several share is shown once. *Strokes* is the mean squared error of v, *stop* is "
        "in nats per decision. Training losses carry noise, dropout and weights that held-out losses do not: the two "
        "do not compare.\n"
    )


# ------------------------------------------------------------------ the command line


def write_model_card(published: Path, checkpoints: Path, out: Path) -> None:
    """Write the card of a folder of checkpoints to `out`, and their curves beside the results of `published`.

    Raises FileNotFoundError or ValueError where the results or a checkpoint are missing or damaged.
    """
    readme_table(published)  # refused before the models are read, which takes seconds
    entries = part(json.loads(published.read_text(encoding="utf-8")), "categories")
    shipped = read_checkpoints(checkpoints, list(entries))
    picture = published.parent / "training_curves.png"
    drawn = draw_curves(shipped, picture)
    link = Path(os.path.relpath(picture, out.parent)).as_posix() if drawn else ""
    licence = ROOT / "LICENSE"
    text = licence.read_text(encoding="utf-8") if licence.is_file() else ""
    write_atomically(out, card_text(published, shipped, link, text))


def build_parser() -> argparse.ArgumentParser:
    """Return the command line parser."""
    parser = script_parser(__doc__)
    parser.add_argument("--published", type=Path, default=ROOT / "results" / "published.json", help="file of results")
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, help="folder of the models")
    parser.add_argument("--out", type=Path, default=ROOT / "MODEL_CARD.md", help="the card")
    return parser


def main(argv: Sequence[str] | None = None) -> Path:
    """Write the card as the command line says and return its path."""
    arguments = build_parser().parse_args(argv)
    check_file(arguments.out)
    write_model_card(arguments.published, arguments.checkpoints, arguments.out)
    sys.stdout.write(f"wrote {arguments.out}\n")
    return Path(arguments.out)


if __name__ == "__main__":
    run_script(main)
