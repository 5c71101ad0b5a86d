"""What checkpoints say of their making: the trainings behind them, the commands that repeat these, and their curves.

    for name, stage, before in named_stages(read_checkpoints(Path("checkpoints"))).values():
        print(command_of(name, stage, before))

A checkpoint's header may lack anything: what it does not say is None or "unknown" here, never an error.
"""

from __future__ import annotations

import io
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from config import NETWORK_PATH, REFERENCE_PATH, ModelConfig, TrainConfig
from diffusion_model import load_weights
from plumbing.files import write_atomically
from plumbing.tensor_files import read_header
from reports.tables import part

if TYPE_CHECKING:  # torch takes over a second to import: whoever imports this answers --help before it
    from diffusion_model import TrainedModel

UNKNOWN = "unknown"
BASE = "base"
FOLDER = "quickdraw/simplified"
"""The folder of drawings in the commands."""
LOSSES = (
    ("loss", "tab:blue", "strokes, training"),
    ("validation_loss", "tab:blue", "strokes, held-out"),
    ("stop_loss", "tab:orange", "stop, training"),
    ("validation_stop_loss", "tab:orange", "stop, held-out"),
)

Stage = Mapping[str, Any]
"""The conditions of one training, as a checkpoint stores them: its own, or an entry of its lineage."""
Stages = Mapping[str, tuple[str, Stage, "str | None"]]


@dataclass(frozen=True)
class Shipped:
    """A checkpoint as a file, as a model, and as the trainings behind it, the oldest first."""

    path: Path
    trained: TrainedModel
    storage: str
    sha256: str
    stages: list[Stage]

    @property
    def name(self) -> str:
        """The file's name without its ending: base, or the category it draws."""
        return self.path.stem


def read_checkpoints(folder: Path, first: Sequence[str] = ()) -> list[Shipped]:
    """Return the model checkpoints of a folder: base, then those named `first`, then the others by name.

    Raises FileNotFoundError where there is none, and ValueError for a damaged one.
    """
    others = (NETWORK_PATH.name, REFERENCE_PATH.name)
    paths = [path for path in sorted(folder.glob("*.safetensors")) if path.name not in others]
    if not paths:
        raise FileNotFoundError(f"{folder}: no model checkpoints (*.safetensors)")

    order = [BASE, *first]
    paths.sort(key=lambda path: order.index(path.stem) if path.stem in order else len(order))
    shipped = []
    for path in paths:
        trained = load_weights(path)
        lineage = trained.conditions.get("lineage")
        earlier = [part(stage) for stage in lineage] if isinstance(lineage, list) else []
        stages = [*earlier, trained.conditions]
        shipped.append(Shipped(path, trained, read_header(path).types["model.position"], trained.sha256, stages))
    return shipped


def _same_training(stage: Stage) -> str:
    """Return what tells one training from another, wherever a checkpoint and its descendants name it."""
    names = ("train", "step", "drawings_seen", "training_seconds", "trained_on")
    return json.dumps([stage.get(name) for name in names], sort_keys=True)


def named_stages(checkpoints: Sequence[Shipped]) -> Stages:
    """Return every training once, in order, as {identity: (name, conditions, name of the one it began from)}.

    The last training of a checkpoint has its name, the others are numbered.
    """
    final = {_same_training(shipped.stages[-1]): shipped.name for shipped in reversed(checkpoints)}
    found: dict[str, tuple[str, Stage, str | None]] = {}
    for shipped in checkpoints:
        before: str | None = None
        for stage in shipped.stages:
            key = _same_training(stage)
            if key not in found:
                number = sum(other not in final for other in found) + 1
                found[key] = (final.get(key, f"stage-{number}"), stage, before)
            before = found[key][0]
    return found


def text_of(value: Any) -> str:
    """Return any value of a file's header as one line of text, "unknown" for none."""
    if value is None or value in ("", [], {}):
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text_of(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(text_of, value))
    return " ".join(str(value).split())


# ------------------------------------------------------------------ commands


def _flags(
    stored: Mapping[str, Any], kind: type[Any], only: Sequence[str] | None = None
) -> tuple[list[str], list[str]]:
    """Return the flags that set what is not the default of `kind`, and the names that are not stored or not known."""
    words, unsaid = [], []
    defaults = {spec.name: spec.default for spec in fields(kind) if only is None or spec.name in only}
    for name, default in defaults.items():
        if name not in stored:
            unsaid.append(name)
        elif stored[name] != default:
            words += ["--" + name.replace("_", "-"), str(stored[name])]
    gone = [name for name in stored if name not in defaults] if only is None else []
    return words, unsaid + [f"{name} {text_of(stored[name])} (no setting of this program any more)" for name in gone]


BEFORE_STORED = {"parts": 1}
"""What a training did that is older than the setting, where that is not the default."""


def command_of(name: str, stage: Stage, before: str | None) -> str:
    """Return the command that repeats a training with this program, after a comment on what is not known of it."""
    start = part(stage, "start")
    stored = part(stage, "train")
    words, unsaid = _flags({**BEFORE_STORED, **stored} if stored else stored, TrainConfig)
    begun = start.get("init") or before
    # a checkpoint to begin from brings the form of the network, all but its dropout
    of_model, unsaid_of_model = _flags(part(start, "model"), ModelConfig, ("dropout",) if begun else None)
    folder = "embedded" if stage.get("data") == ["embedded"] else FOLDER
    words += [*of_model, "--data-dir", folder]
    splits = stage.get("split")
    words += ["--split", str(splits[0])] if isinstance(splits, list) and len(splits) == 1 else []
    words += ["--recognized-only"] if stage.get("recognized_only") is True else []
    if begun:
        words += ["--init", f"runs/{before}/weights.safetensors" if before else str(begun)]
    if "--category" not in words and "category" in part(stage, "train"):
        words = ["--category", str(part(stage, "train")["category"]), *words]
    lines = [shlex.join(["python", "train_diffusion.py", *words, "--out", f"runs/{name}"])]
    if missing := unsaid + unsaid_of_model:
        lines.insert(0, f"# {name}: not stored, so that the defaults apply: {', '.join(missing)}")
    return "".join(" ".join(line.replace("`", "'").split()) + "\n" for line in lines)


# ------------------------------------------------------------------ curves


def points_of(stage: Stage, loss: str) -> tuple[list[float], list[float]]:
    """Return updates and positive values of a loss along a stored curve, empty where there is none."""
    curve = stage.get("curve")
    rows = [part(row) for row in curve] if isinstance(curve, list) else []
    pairs = [(row.get("step"), row.get(loss)) for row in rows]
    lawful = [
        (float(x), float(y))
        for x, y in pairs
        if isinstance(x, int | float) and isinstance(y, int | float) and math.isfinite(x) and 0 < y < math.inf
    ]
    return [x for x, _ in lawful], [y for _, y in lawful]


def _panels(checkpoints: Sequence[Shipped]) -> dict[str, list[tuple[str, Stage]]]:
    """Return what each checkpoint's panel shows: its trainings that no panel before it shows and that have a curve."""
    panels: dict[str, list[tuple[str, Stage]]] = {}
    shown: set[str] = set()
    stages = named_stages(checkpoints)
    for shipped in checkpoints:
        own = []
        for key in map(_same_training, shipped.stages):
            name, stage, _ = stages[key]
            if key not in shown and any(points_of(stage, loss)[0] for loss, _, _ in LOSSES):
                own.append((name, stage))
            shown.add(key)
        if own:
            panels[shipped.name] = own
    return panels


def draw_curves(checkpoints: Sequence[Shipped], path: Path) -> bool:
    """Write the stored training curves as a PNG, a panel for each checkpoint; tell whether there was one."""
    panels = _panels(checkpoints)
    if not panels:
        return False

    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    drawn = Figure(figsize=(6 * columns, 3.4 * rows + 0.5), layout="constrained")
    axes = drawn.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis, (name, stages) in zip(axes, panels.items(), strict=False):
        begin = 0.0
        for label, stage in stages:
            end = begin
            for loss, colour, caption in LOSSES:
                x, y = points_of(stage, loss)
                held_out = loss.startswith("validation")
                style = dict(linewidth=2, marker="o", markersize=3) if held_out else dict(linewidth=1, alpha=0.45)
                axis.plot([begin + step for step in x], y, color=colour, label=caption, **style)
                end = max([end, *(begin + step for step in x)])
            if len(stages) > 1:
                axis.axvline(end, color="0.8", linewidth=1, zorder=0)
                axis.annotate(label, ((begin + end) / 2, 1), xycoords=("data", "axes fraction"), ha="center", va="top",
                              fontsize="small", color="0.35")  # fmt: skip
            begin = end
        axis.set(title=name, xlabel="updates", yscale="log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.yaxis.set_major_formatter(ScalarFormatter())
        axis.yaxis.set_minor_formatter(NullFormatter())
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    captions = {text: line for axis in axes for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    drawn.legend(captions.values(), captions.keys(), loc="outside lower center", ncols=2, frameon=False)
    memory = io.BytesIO()
    drawn.savefig(memory, format="png", dpi=110, metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, memory.getvalue())
    return True
