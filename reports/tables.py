"""Put the scores of a run into tables: the first rows for README and report, all of them for docs/RESULTS.md.

    python -m reports.tables        # both READMEs and docs/RESULTS.md anew, from the files in results/

A table has a column for each category. A cell is "x ± y (z)": y is the standard deviation over sampling seeds, z what
real drawings score. Where a score depends on the number of drawings, x and z are of the same number.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from config import TURKISH_NAMES
from plumbing.command_line import run_script, script_parser
from plumbing.files import write_atomically
from scoring.stroke_statistics import STATISTICS

ROOT = Path(__file__).resolve().parent.parent
Scores = Mapping[str, Any]
Table = tuple[list[str], list[list[str]]]  # head and rows
Lines = Sequence[tuple[str, Callable[[Scores], str]]]

README_MARKERS = ("<!-- results -->", "<!-- /results -->")
MISSING, MINUS = "not measured", "\N{MINUS SIGN}"
PER_MILLE = 1000  # scale of a KID in a table


# ------------------------------------------------------------------ one score


def part(values: Any, *names: str) -> Scores:
    """Return the dict at the end of a path of names through nested dicts, an empty one where there is none."""
    for name in names:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values if isinstance(values, Mapping) else {}


def _number(values: Scores, name: str) -> float | None:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _decimals(value: float, deviation: float = 0.0) -> int:
    largest = max(abs(value), deviation)
    decimals = 1 if largest >= 10 else 2 if largest >= 0.1 else 3
    while decimals < 4 and 0 < deviation < 0.5 * 10**-decimals:  # would read ± 0
        decimals += 1
    return decimals


def _text(value: float, deviation: float, decimals: int) -> str:
    shown = f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", MINUS)  # + 0.0: no minus zero
    return shown + (f" ± {deviation:.{decimals}f}" if deviation > 0 else "")


def figure(values: Scores, name: str, scale: float = 1) -> str:
    """Return `name` of a dict of scores, times `scale`, as "x ± y", y over sampling seeds, or "not measured"."""
    value, deviation = _number(values, name), (_number(values, f"{name}_over_seeds") or 0.0) * scale
    if value is None:
        return MISSING
    return _text(value * scale, deviation, _decimals(value * scale, deviation))


def percent(values: Scores, name: str) -> str:
    """Return the share `name` of a dict of scores in per cent, with its deviation over seeds, or "not measured"."""
    share, deviation = _number(values, name), _number(values, f"{name}_over_seeds") or 0.0
    return MISSING if share is None else f"{_text(100 * share, 100 * deviation, 1)} %"


def count(values: Scores, name: str) -> str:
    """Return the number of drawings `name`, a mean where seeds differ, "?" where it is not known."""
    value = values.get(name, "?")
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}" if isinstance(value, float) else str(value)


def _beside(ours: str, *real: str) -> str:
    return ours if MISSING == ours or {*real} == {MISSING} else f"{ours} ({'; '.join(real).replace(MISSING, '–')})"


def beside_floor(values: Scores, scale: float = 1) -> str:
    """Return "x ± y (z)", both of the baseline's n drawings; of all drawings, "x ± y", where it is missing."""
    value, floor = _number(values, "at_floor_n"), _number(values, "floor")
    if value is None or floor is None:
        return figure(values, "value", scale)
    deviation = (_number(values, "at_floor_n_over_seeds") or 0.0) * scale
    decimals = _decimals(value * scale, deviation)
    return _beside(_text(value * scale, deviation, decimals), _text(floor * scale, 0.0, decimals))


def _kernel_distance(scores: Scores) -> str:
    """Return KID × 10³ of all drawings beside that of training drawings and its real-vs-real baseline."""
    found = (_number(part(scores, "kid"), name) for name in ("training", "floor"))
    real = (MISSING if value is None else _text(value * PER_MILLE, 0.0, 1) for value in found)
    return _beside(figure(part(scores, "kid"), "value", PER_MILLE), *real)


def _share(*path: str, show: Callable[..., str] = percent) -> Callable[[Scores], str]:
    *where, name = path
    return lambda scores: _beside(*(show(part(scores, *where, side), name) for side in ("generated", "real")))


def _copies(scores: Scores) -> str:
    """Return the share of drawings that redraw a training drawing, and of how many different ones."""
    ours, theirs = part(scores, "stroke_copies", "generated"), part(scores, "stroke_copies", "real")
    different = _number(ours, "different")
    shown = percent(ours, "share") + ("" if different is None else f" / {different:,.0f}")
    return _beside(shown, percent(theirs, "share"))


def _pair(values: Scores, ours: str, real: str) -> str:
    return _beside(figure(values, ours), figure(values, real))


def _loss(values: Scores) -> str:
    found = (_number(values, where) for where in ("held_out", "training"))
    return _beside(*(MISSING if loss is None else f"{loss:.3f}" for loss in found))


def _at(*path: str, show: Callable[..., str] = beside_floor, **how: Any) -> Callable[[Scores], str]:
    """Return the function that shows the scores at the end of `path`."""
    return lambda scores: show(part(scores, *path), **how)


def _sizes(*paths: str) -> Callable[[Scores], str]:
    """Return the function that shows numbers of drawings, each at the end of a path "strokes.n_real"."""
    whole = [path.split(".") for path in paths]
    return lambda scores: " / ".join(count(part(scores, *path[:-1]), path[-1]) for path in whole)


# ------------------------------------------------------------------ the rows


MEANS_OF = {"ours": "mean_generated", "real": "mean_real"}
SUMMARY: Sequence[tuple[str, str, Callable[[Scores], str]]] = (
    ("Drawings: training / generated / real", "Çizim: eğitim / üretilen / gerçek",
     _sizes("memorisation.n_learned_from", "n_generated", "n_real")),
    ("KID × 10³ (real training drawings; real vs real)", "KID × 10³ (gerçek eğitim çizimleri; gerçek, gerçeğe karşı)",
     _kernel_distance),
    ("Normalised KID (shuffled strokes: 1)", "Normalleştirilmiş KID (karışık çizgiler: 1)",
     _at("kid", show=figure, name="share")),
    ("FID (real vs real)", "FID (gerçek, gerçeğe karşı)", _at("equal_n", "fid")),
    ("Coverage (real vs real)", "Kapsama (gerçek, gerçeğe karşı)", _at("equal_n", "coverage")),
    ("Two-sample accuracy (real vs real)", "İki örneklem doğruluğu (gerçek, gerçeğe karşı)", _at("two_sample")),
    ("Recognised, top-1 (real)", "Doğru adlandırılan, top-1 (gerçek)", _share("recognisability", "top1")),
    ("Recognised by its strokes, top-1 (real)", "Çizgilerinden doğru adlandırılan, top-1 (gerçek)",
     _share("second_judge", "recognisability", "top1")),
    ("Strokes per drawing (held-out)", "Çizim başına çizgi (eğitimde görülmemiş)",
     _at("strokes", "distances", "strokes_per_drawing", show=_pair, **MEANS_OF)),
    ("Redraws of training drawings / different ones (held-out; chance: 1 %)",
     "Eğitim çizimlerinin yeniden çizimi / kaç farklı (eğitimde görülmemiş; rastlantı: % 1)", _copies),
)  # fmt: skip
"""Label in English and in Turkish, and cell, of the rows of README and report."""

PICTURES: Lines = (
    ("N generated / real", _sizes("n_generated", "n_real")),
    ("n", _at("fid", show=count, name="floor_n")),
    ("FID", _at("fid", show=figure, name="value")),
    ("FID at n", _at("fid")),
    ("FID∞, extrapolated to N → ∞", _at("fid_infinity", show=figure, name="value")),
    ("FID∞ at n", _at("fid_infinity")),
    ("KID × 10³", _at("kid", show=figure, name="value", scale=PER_MILLE)),
    ("KID × 10³ at n", _at("kid", scale=PER_MILLE)),
    ("KID × 10³ of real training drawings", _at("kid", show=figure, name="training", scale=PER_MILLE)),
    ("Normalised KID", _at("kid", show=figure, name="share")),
    ("Density at n", _at("density")),
    ("Coverage at n", _at("coverage")),
    ("Two-sample accuracy at n", _at("two_sample")),
    ("equal n", _at("equal_n", "fid", show=count, name="floor_n")),
    ("FID at equal n", _at("equal_n", "fid")),
    ("Coverage at equal n", _at("equal_n", "coverage")),
    ("Top-1 accuracy", _share("recognisability", "top1")),
    ("Top-5 accuracy", _share("recognisability", "top5")),
    *((f"Shuffled strokes: {label}", _at(name, show=figure, name="independent_strokes", scale=scale))
      for label, name, scale in (("FID", "fid", 1), ("KID × 10³", "kid", PER_MILLE), ("density", "density", 1),
                                 ("coverage", "coverage", 1))),
    ("Shuffled strokes: top-1", _at("recognisability", "independent_strokes", show=percent, name="top1")),
)  # fmt: skip
RECOGNISER: Lines = (
    ("N generated / real", _sizes("n_generated", "second_judge.n_real")),
    ("n", _at("second_judge", "kid", show=count, name="floor_n")),
    ("KID × 10³", _at("second_judge", "kid", show=figure, name="value", scale=PER_MILLE)),
    ("KID × 10³ at n", _at("second_judge", "kid", scale=PER_MILLE)),
    ("Normalised KID", _at("second_judge", "kid", show=figure, name="share")),
    ("Two-sample accuracy at n", _at("second_judge", "two_sample")),
    ("Top-1 accuracy", _share("second_judge", "recognisability", "top1")),
    ("Top-1 over real", _at("second_judge", show=figure, name="top1_over_real")),
)
UNITS = [(name, label if not unit or unit in label.lower() else f"{label}, {unit}") for name, label, unit in STATISTICS]
STROKES: Lines = (
    ("N generated / real", _sizes("n_generated", "strokes.n_real")),
    ("n", _at("strokes", "distances", STATISTICS[0][0], show=count, name="floor_n")),
    *((label, _at("strokes", "distances", name)) for name, label in UNITS),
)
MEANS: Lines = [(label, _at("strokes", "distances", name, show=_pair, **MEANS_OF)) for name, label in UNITS]
COPIES: Lines = (
    ("First three strokes copied / different drawings (held-out; chance: 1 %)", _copies),
    ("N generated / training", _sizes("stroke_copies.generated.n_generated", "stroke_copies.generated.n_training")),
    ("Median distance to the nearest of training, px (held-out)", _share("stroke_copies", "median_px", show=figure)),
    ("Nearer than this is a copy, px", _at("stroke_copies", "generated", show=figure, name="limit_px")),
)
NEAREST: Lines = (
    ("N compared / training", _sizes("memorisation.n_training", "memorisation.n_learned_from")),
    ("Median distance", _at("memorisation", show=_pair, ours="median_generated", real="median_real")),
    ("Median distance, generated / real", _at("memorisation", show=figure, name="ratio")),
    ("Nearer than the nearest 1 % of real drawings", _at("memorisation", show=percent, name="nearer_than_real")),
)
LOSSES: Lines = [
    ("Held-out drawings", _at(show=count, name="drawings")),
    *((f"{kind}: {label}", _at(loss, name, show=_loss))
      for kind, loss, names in (
          ("Denoising", "denoising", {"model": "this model", "base": "base", "gaussian": "Gaussian of all strokes"}),
          ("Stop", "stop", {"model": "this model", "base": "base", "constant": "constant probability",
                            "by_position": "probability by number of strokes"}),
      ) for name, label in names.items()),
]  # fmt: skip
LOSSES_CAPTION = (
    "Mean squared error of v, and nats per decision of the stop head, on held-out drawings; in brackets on as many "
    "training drawings. Above the value of `base` a model has overfitted; above that of the constant its stop head is "
    "worse than none. The Gaussian denoises with mean and deviations of the category's strokes and knows no history. "
    "`python -m studies.held_out_losses` measures them."
)
FULL: Sequence[tuple[str, str, Lines]] = (
    ("Pictures", "Features of the rendered drawings, compared with those of real drawings.", PICTURES),
    ("Second judge", "Features of a network that reads strokes, compared with those of held-out drawings.", RECOGNISER),
    ("Strokes", "Wasserstein-1 distance to real drawings, in the unit of each row; n is smaller here.", STROKES),
    ("Means of the stroke statistics", "Of generated drawings (of real ones).", MEANS),
    ("Copies", "Drawings whose first three strokes are nearer to those of a training drawing than 99 % of the training "
     "drawings' are to their own nearest neighbour.", COPIES),
    ("Nearest training drawings", "Distances of whole drawings in feature space are blind to copies of single strokes.",
     NEAREST),
)  # fmt: skip
"""Title, caption and rows of the tables that hold every score."""


def table_of(lines: Lines, scores: Mapping[str, Scores]) -> Table:
    """Return a row for each of `lines` and a column for each category of `scores`.

    A row that no category has is left out, unless none has any.
    """
    rows = [[label, *map(cell, scores.values())] for label, cell in lines]
    return ["", *scores], measured(rows) or rows


def measured(rows: Iterable[list[str]]) -> list[list[str]]:
    """Return the rows of a table in which something was measured."""
    return [row for row in rows if not {part for cell in row[1:] for part in cell.split(" / ")} <= {MISSING, "?"}]


def summary_table(scores: Mapping[str, Scores]) -> Table:
    """Return the rows that README and report begin with."""
    return table_of([(label, cell) for label, _, cell in SUMMARY], scores)


def _over_seeds(seeds: Sequence[str]) -> str:
    named = ", ".join(seeds)
    if len(seeds) < 2:
        return f"One sampling seed ({named}), so no deviation"
    return f"Mean ± standard deviation over {len(seeds)} sampling seeds ({named})"


def how_to_read(seeds: Sequence[str]) -> str:
    """Return what the cells of the tables that hold every score mean."""
    return (
        f"{_over_seeds(seeds)}. In brackets: what real drawings score; where a row says n, n of them against n "
        "others. Lower is better for KID, FID and W₁, higher for coverage and top-1; density is about 1 for real "
        "drawings."
    )


def summary_note(entries: Mapping[str, Scores], seeds: Sequence[str], turkish: bool = False) -> str:
    """Return what the cells of ``summary_table`` mean; steps and guidance where all categories have the same."""
    made = [part(entry, "conditions") for entry in entries.values()]
    settings = {(_number(conditions, "steps"), _number(conditions, "guidance")) for conditions in made}
    steps, guidance = settings.pop() if len(settings) == 1 else (None, None)
    known, named = steps is not None and guidance is not None, ", ".join(seeds)
    sizes = {_number(part(entry, "scores", "equal_n", "fid"), "floor_n") for entry in entries.values()} - {None}
    n = ", ".join(f"{size:g}" for size in sizes) or "?"
    if turkish:
        over = f"{len(seeds)} örnekleme tohumunun ({named}) ortalaması ± standart sapması"
        over = over if len(seeds) > 1 else f"Tek örnekleme tohumu ({named}), bu yüzden sapma yok"
        over += f", depodaki ayarlarla: {steps:g} adım, yönlendirme {guidance:g}" if known else ""
        return (f"{over}. Ayraç içinde: gerçek çizimlerin değeri. FID ve kapsamada her yanda {n}, iki örneklem "
                "doğruluğunda gerçek çizimlerin yarısı kadar çizim vardır. KID, FID ve iki örneklem doğruluğunda (0,5: "
                "ayırt edilemez) düşük, kapsamada yüksek olan iyidir.")  # fmt: skip
    over = _over_seeds(seeds) + (f", as shipped: {steps:g} steps, guidance {guidance:g}" if known else "")
    return (f"{over}. In brackets: what real drawings score. FID and coverage are of {n} drawings a side, "
            "two-sample accuracy of half as many as there are real ones. Lower KID, FID and two-sample accuracy (0.5: "
            "not told apart) and higher coverage are better.")  # fmt: skip


# ------------------------------------------------------------------ metadata


def metadata_of(scores: Scores, made: Scores) -> dict[str, str]:
    """Return under which conditions a category was scored, as far as known; `made` is how its drawings were made."""
    network, steps, guidance = part(scores, "feature_network"), made.get("steps", "?"), made.get("guidance", "?")
    if made.get("guide"):
        guidance = f"{guidance} away from {made['guide']}"

    def file(name: Any, sha256: Any) -> str | None:
        return f"{name}, sha256 {str(sha256)[:12]}" if name else None

    found = {
        "Real drawings, as pictures": scores.get("reference"),
        "Real drawings, as strokes": part(scores, "strokes").get("reference"),
        "Rendering": scores.get("rendering"),
        "Feature network": file(network.get("file"), network.get("sha256")),
        "Seed of the scores": scores.get("seed"),
        "Sampler": f"{made['sampler']}, {steps} steps, guidance {guidance}" if "sampler" in made else None,
        "Weights": file(made.get("checkpoint"), made.get("checkpoint_sha256")),
        "Not measured": scores.get("not_measured"),
    }
    return {name: str(value) for name, value in found.items() if value is not None}


def _metadata_lines(run: Scores, entries: Mapping[str, Scores]) -> str:
    """Return a list of what is the same for all categories, and of what is not."""
    each = {name: metadata_of(part(entry, "scores"), part(entry, "conditions")) for name, entry in entries.items()}
    first = next(iter(each.values()))
    common = {key: value for key, value in first.items() if all(other.get(key) == value for other in each.values())}
    common |= {"Program": str(run["commit"])} if run.get("commit") else {}
    own = {f"{name}: {key.lower()}": value for name, found in each.items() for key, value in found.items()
           if key not in common}  # fmt: skip
    return "".join(f"- {plain_text(key)}: {plain_text(value)}\n" for key, value in (common | own).items())


# ------------------------------------------------------------------ Markdown


def plain_text(text: str) -> str:
    """Return text of any origin as one line that Markdown takes for text, in a table too."""
    return escape(" ".join(text.split()), quote=False).replace("|", "&#124;")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, its first column to the left, the others to the right; cells are text of any origin."""
    rule = ["---"] + ["---:"] * (len(head) - 1)
    lines = ([plain_text(cell) for cell in row] for row in (head, rule, *rows))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def results_table(scores: Mapping[str, Scores]) -> str:
    """Return the rows of README as Markdown, `scores` being dicts of ``metrics.score_drawings`` by category."""
    return markdown_table(*summary_table(scores))


def read_run(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]], list[str]]:
    """Return run, categories and sampling seeds of a file that run_all.py wrote.

    Raises FileNotFoundError, or ValueError for anything else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; run_all.py makes it")
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
        run, seeds = dict(whole["run"]), [str(seed) for seed in whole["run"]["seeds"]]
        entries = {str(name): dict(entry) for name, entry in whole["categories"].items()}
        lawful = all(isinstance(entry["scores"], dict) and list(entry["seeds"]) == seeds for entry in entries.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        lawful, entries = False, {}
    if not lawful or not entries:
        raise ValueError(f"{path}: damaged, or not results of this run_all.py, which makes it again")
    return run, entries, seeds


def losses_table(run_file: Path, entries: Mapping[str, Scores]) -> str:
    """Return the losses of a run's models, from held_out_losses.json beside it, as Markdown: "" where it has others.

    Those of a student are its teacher's: a student has learned where few steps lead, which this loss does not ask.
    """
    path = run_file.with_name("held_out_losses.json")
    measured = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    found = {name: part(measured, "categories", name) for name in entries}
    made = {name: part(entry, "conditions") for name, entry in entries.items()}
    used = {name: own.get("teacher_sha256") or own.get("checkpoint_sha256") for name, own in made.items()}
    own = {name: each if each.get("checkpoint_sha256") == used[name] else {} for name, each in found.items()}
    return markdown_table(*table_of(LOSSES, own)) if any(own.values()) else ""


def readme_table(results_json_path: Path, turkish: bool = False) -> str:
    """Return what stands between the markers of a README: its table, and how to read it.

    Raises FileNotFoundError or ValueError as ``read_run`` does.
    """
    _, entries, seeds = read_run(results_json_path)
    scores = {name: part(entry, "scores") for name, entry in entries.items()}
    head, rows = summary_table(scores)
    if turkish:
        labels = {english: turkish for english, turkish, _ in SUMMARY}
        head = [TURKISH_NAMES.get(name, name) for name in head]
        rows = [[labels[label], *map(_in_turkish, cells)] for label, *cells in rows]
    return f"{markdown_table(head, rows)}\n{textwrap.fill(summary_note(entries, seeds, turkish), 120)}\n"


def _in_turkish(cell: str) -> str:
    """Return a cell with decimal commas and the per cent sign in front."""
    swapped = cell.replace(MISSING, "ölçülmedi").translate(str.maketrans(",.", ".,"))
    return re.sub(r"([\d,]+(?: ± [\d,]+)?) %", r"% \1", swapped)


def results_page(results_json_path: Path) -> str:
    """Return docs/RESULTS.md: every score of a run with its metadata."""
    run, entries, seeds = read_run(results_json_path)
    scores = {name: part(entry, "scores") for name, entry in entries.items()}
    tables = [(title, caption, markdown_table(*table_of(lines, scores))) for title, caption, lines in FULL]
    tables.append(("Held-out losses", LOSSES_CAPTION, losses_table(results_json_path, entries)))
    sections = "".join(f"## {title}\n\n{caption}\n\n{table}\n" for title, caption, table in tables if table)
    return (
        "# Results\n\nEvery score of the shipped models. `make table` writes this page from `results/published.json`; "
        f"what each score means is in [METRICS.md](METRICS.md).\n\n{how_to_read(seeds)}\nThe shuffled-stroke "
        "baseline scores drawings whose strokes come from different real drawings; normalised KID is KID over that of "
        f"this baseline.\n\n{sections}## Metadata\n\n{_metadata_lines(run, entries)}"
    )


# ------------------------------------------------------------------ files


def replace_between(page: Path, markers: tuple[str, str], text: Callable[[], str]) -> None:
    """Replace what stands between two markers of a Markdown page by `text()`, whole or not at all.

    Raises FileNotFoundError, or ValueError when there is not one marker of each kind, in this order.
    """
    if not page.is_file():
        raise FileNotFoundError(f"{page}: no such file")
    before = page.read_text(encoding="utf-8")
    start, end = markers
    if before.count(start) != 1 or before.count(end) != 1 or before.index(start) > before.index(end):
        raise ValueError(f"{page}: needs one '{start}' and below it one '{end}'")
    write_atomically(page, f"{before[: before.index(start)]}{start}\n{text()}{before[before.index(end) :]}")


def publish_tables(root: Path) -> None:
    """Put the scores of results/published.json into README.md, README.tr.md and docs/RESULTS.md of a checkout."""
    published = root / "results" / "published.json"
    replace_between(root / "README.md", README_MARKERS, lambda: readme_table(published))
    replace_between(root / "README.tr.md", README_MARKERS, lambda: readme_table(published, turkish=True))
    write_atomically(root / "docs" / "RESULTS.md", results_page(published))


def main(argv: Sequence[str] | None = None) -> None:
    """Write the tables of the published scores anew."""
    script_parser(__doc__).parse_args(argv)
    publish_tables(ROOT)


if __name__ == "__main__":
    run_script(main)
