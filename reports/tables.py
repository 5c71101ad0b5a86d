"""Put the scores of a run into tables: ten rows for README and report, all of them for docs/RESULTS.md.

    python -m reports.tables        # both READMEs and docs/RESULTS.md anew, from results/published.json and audit.json

A table has a column for each category. A cell is "x ± y (z)": y is the standard deviation over sampling seeds, z what
real drawings score. Where a score depends on the number of drawings, x and z are of the same number.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from plumbing.command_line import run_script, script_parser
from plumbing.files import write_atomically
from scoring.stroke_statistics import STATISTICS

ROOT = Path(__file__).resolve().parent.parent
Scores = Mapping[str, Any]
Table = tuple[list[str], list[list[str]]]
"""Head and rows."""
Lines = Sequence[tuple[str, Callable[[Scores], str]]]

README_MARKERS = ("<!-- results -->", "<!-- /results -->")
MISSING, MINUS = "not measured", "\N{MINUS SIGN}"
PER_MILLE = 1000
"""Scale of a KID in a table."""
MOST_DECIMALS = 4
AUDIT = ROOT / "results" / "audit.json"


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
    while decimals < MOST_DECIMALS and 0 < deviation < 0.5 * 10**-decimals:  # would read ± 0
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


def _beside(ours: str, real: str) -> str:
    return ours if MISSING in (ours, real) else f"{ours} ({real})"


def beside_floor(values: Scores) -> str:
    """Return "x ± y (z)", both of the baseline's n drawings; of all drawings, "x ± y", where it is missing."""
    value, floor = _number(values, "at_floor_n"), _number(values, "floor")
    if value is None or floor is None:
        return figure(values, "value")
    deviation = _number(values, "at_floor_n_over_seeds") or 0.0
    decimals = _decimals(value, deviation)
    return _beside(_text(value, deviation, decimals), _text(floor, 0.0, decimals))


def _kernel_distance_at_n(kid: Scores) -> str:
    """Return KID × 10³ of n drawings beside its baseline, with that one's deviation over splits."""
    floor = figure({"value": kid.get("floor"), "value_over_seeds": kid.get("floor_std")}, "value", PER_MILLE)
    return _beside(figure(kid, "at_floor_n", PER_MILLE), floor)


def _kernel_distance(scores: Scores) -> str:
    real = _number(part(scores, "training_kid"), "value")
    shown = MISSING if real is None else _text(real * PER_MILLE, 0.0, 1)
    return _beside(figure(part(scores, "kid"), "value", PER_MILLE), shown)


def _share(where: str, name: str) -> Callable[[Scores], str]:
    return lambda scores: _beside(*(percent(part(scores, where, side), name) for side in ("generated", "real")))


def _strokes_per_drawing(scores: Scores) -> str:
    found = part(scores, "strokes", "distances", "strokes_per_drawing")
    return _beside(figure(found, "mean_generated"), figure(found, "mean_real"))


def _at(*path: str, show: Callable[..., str] = beside_floor, **how: Any) -> Callable[[Scores], str]:
    """Return the function that shows the scores at the end of `path`."""
    return lambda scores: show(part(scores, *path), **how)


def _training(copies: Scores) -> str:
    """Return how many training drawings are compared with, and of how many where that is only a part of them."""
    compared, whole = count(copies, "n_training"), count(copies, "n_learned_from")
    return compared if whole in ("?", compared) else f"{compared} of {whole}"


def _means(name: str) -> Callable[[Scores], str]:
    def cell(scores: Scores) -> str:
        values = part(scores, "strokes", "distances", name)
        return f"{figure(values, 'mean_generated')} / {figure(values, 'mean_real')}"

    return cell


# ------------------------------------------------------------------ the rows


def _n_of(scores: Scores) -> str:
    return f"{count(scores, 'n_generated')} / {count(scores, 'n_real')}"


SUMMARY: Sequence[tuple[str, str, Callable[[Scores], str]]] = (
    ("Training drawings", "Eğitim çizimleri", _at("memorisation", show=count, name="n_learned_from")),
    ("Generated / real pictures", "Üretilen / gerçek resim", _n_of),
    ("KID × 10³ (real training drawings)", "KID × 10³ (gerçek eğitim çizimleri)", _kernel_distance),
    ("Normalised KID (shuffled strokes: 1)", "Normalleştirilmiş KID (karışık çizgiler: 1)",
     _at("kid", show=figure, name="share")),
    ("n per side in the next two rows", "Sonraki iki satırda taraf başına n", _at("fid", show=count, name="floor_n")),
    ("FID (real vs real)", "FID (gerçek, gerçeğe karşı)", _at("fid")),
    ("Coverage (real vs real)", "Kapsama (gerçek, gerçeğe karşı)", _at("coverage")),
    ("Recognised, top-1 (real)", "Doğru adlandırılan, top-1 (gerçek)", _share("recognisability", "top1")),
    ("Strokes per drawing (held-out)", "Çizim başına çizgi (eğitimde görülmemiş)", _strokes_per_drawing),
    ("Redrawn training drawings (held-out)", "Yeniden çizilmiş eğitim çizimi (eğitimde görülmemiş)",
     _share("stroke_copies", "share")),
)  # fmt: skip
"""Label in English and in Turkish, and cell, of the rows of README and report."""

PICTURES: Lines = (
    ("N generated / real", _n_of),
    ("n", _at("fid", show=count, name="floor_n")),
    ("FID", _at("fid", show=figure, name="value")),
    ("FID at n", _at("fid")),
    ("FID∞, extrapolated to N → ∞", _at("fid_infinity", show=figure, name="value")),
    ("FID∞ at n", _at("fid_infinity")),
    ("KID × 10³", _at("kid", show=figure, name="value", scale=PER_MILLE)),
    ("KID × 10³ at n", _at("kid", show=_kernel_distance_at_n)),
    ("Normalised KID", _at("kid", show=figure, name="share")),
    ("Density at n", _at("density")),
    ("Coverage at n", _at("coverage")),
    ("Top-1 accuracy", _share("recognisability", "top1")),
    ("Top-5 accuracy", _share("recognisability", "top5")),
    ("Shuffled strokes: FID", _at("fid", show=figure, name="independent_strokes")),
    ("Shuffled strokes: KID × 10³", _at("kid", show=figure, name="independent_strokes", scale=PER_MILLE)),
    ("Shuffled strokes: density", _at("density", show=figure, name="independent_strokes")),
    ("Shuffled strokes: coverage", _at("coverage", show=figure, name="independent_strokes")),
    ("Shuffled strokes: top-1", _at("recognisability", "independent_strokes", show=percent, name="top1")),
)
UNITS = [(name, label if not unit or unit in label.lower() else f"{label}, {unit}") for name, label, unit in STATISTICS]
STROKES: Lines = (
    ("N generated / real", lambda s: f"{count(s, 'n_generated')} / {count(part(s, 'strokes'), 'n_real')}"),
    ("n", _at("strokes", "distances", STATISTICS[0][0], show=count, name="floor_n")),
    *((label, _at("strokes", "distances", name)) for name, label in UNITS),
)
WITHOUT_MEAN = ("stroke_length_by_position", "start_points", "order")
MEANS: Lines = [(label, _means(name)) for name, label in UNITS if name not in WITHOUT_MEAN]
OPTIONAL = "First three strokes copied"
"""Needs training drawings at hand."""
COPIES: Lines = (
    ("N training", lambda s: _training(part(s, "memorisation"))),
    ("Median distance, generated", _at("memorisation", show=figure, name="median_generated")),
    ("Median distance, real", _at("memorisation", show=figure, name="median_real")),
    ("Generated / real", _at("memorisation", show=figure, name="ratio")),
    ("Nearer than the nearest 1 % of real drawings", _at("memorisation", show=percent, name="nearer_than_real")),
    (OPTIONAL, _share("stroke_copies", "share")),
)
FULL: Sequence[tuple[str, str, Lines]] = (
    ("Pictures", "Features of the rendered drawings, compared with those of real drawings.", PICTURES),
    ("Strokes", "Wasserstein-1 distance to real drawings, in the unit of each row; n is smaller here.", STROKES),
    ("Means of the stroke statistics", "Generated / real drawings.", MEANS),
    ("Nearest training drawings", "Distances of whole drawings in feature space are blind to copies of single strokes.",
     COPIES),
)  # fmt: skip
"""Title, caption and rows of the tables that hold every score."""


def table_of(lines: Lines, scores: Mapping[str, Scores]) -> Table:
    """Return a row for each of `lines` and a column for each category of `scores`.

    The row OPTIONAL is left out where no category has it.
    """
    rows = [[label, *map(cell, scores.values())] for label, cell in lines]
    return ["", *scores], [row for row in rows if row[0] != OPTIONAL or set(row[1:]) != {MISSING}]


def summary_table(scores: Mapping[str, Scores]) -> Table:
    """Return the ten rows that README and report begin with."""
    return table_of([(label, cell) for label, _, cell in SUMMARY], scores)


def _over_seeds(seeds: Sequence[str]) -> str:
    named = ", ".join(seeds)
    if len(seeds) < 2:
        return f"One sampling seed ({named}), so no deviation"
    return f"Mean ± standard deviation over {len(seeds)} sampling seeds ({named})"


def how_to_read(seeds: Sequence[str]) -> str:
    """Return what the cells of every table mean."""
    return (
        f"{_over_seeds(seeds)}. In brackets: what real drawings score; where a row says n, n of them against n others, "
        "and of KID also the standard deviation over such splits. Lower is better for KID, FID and W₁, higher for "
        "coverage and top-1; density is about 1 for real drawings."
    )


# ------------------------------------------------------------------ metadata


def _file(name: Any, sha256: Any) -> str | None:
    return f"{name}, sha256 {str(sha256)[:12]}" if name else None


def metadata_of(scores: Scores, made: Scores) -> dict[str, str]:
    """Return under which conditions a category was scored, as far as known; `made` is how its drawings were made."""
    network, steps, guidance = part(scores, "feature_network"), made.get("steps", "?"), made.get("guidance", "?")
    if made.get("guide"):
        guidance = f"{guidance} away from {made['guide']}"
    found = {
        "Real drawings, as pictures": scores.get("reference"),
        "Real drawings, as strokes": part(scores, "strokes").get("reference"),
        "Rendering": scores.get("rendering"),
        "Feature network": _file(network.get("file"), network.get("sha256")),
        "Seed of the scores": scores.get("seed"),
        "Sampler": f"{made['sampler']}, {steps} steps, guidance {guidance}" if "sampler" in made else None,
        "Weights": _file(made.get("checkpoint"), made.get("checkpoint_sha256")),
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
    """Return the ten rows as Markdown, `scores` being dicts of ``metrics.score_drawings`` by category."""
    return markdown_table(*summary_table(scores))


def read_run(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]], list[str]]:
    """Return run, categories and sampling seeds of a file that run_all.py wrote, with the audit.json beside it.

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
    for name, entry in entries.items():
        entry["scores"] = audited(entry["scores"], name, part(entry, "conditions"), path.with_name("audit.json"))
    return run, entries, seeds


def audited(scores: Scores, category: str, made: Scores, audit: Path) -> dict[str, Any]:
    """Return scores with what the file `audit` has measured, once, of the same weights; it needs training drawings."""
    measured = json.loads(audit.read_text(encoding="utf-8"))["categories"] if audit.is_file() else {}
    found, added = part(measured, category), {}
    if found and found["checkpoint_sha256"] == made.get("checkpoint_sha256"):
        copies = found["copies"]
        real = {"share": copies["held_out"] / copies["n_held_out"]}
        added = {"training_kid": found["training_kid"], "stroke_copies": {"generated": copies, "real": real}}
    return added | {key: value for key, value in scores.items() if value is not None}


def readme_table(results_json_path: Path, turkish: bool = False) -> str:
    """Return what stands between the markers of a README: the ten rows, and how to read them.

    Raises FileNotFoundError or ValueError as ``read_run`` does.
    """
    _, entries, seeds = read_run(results_json_path)
    head, rows = summary_table({name: part(entry, "scores") for name, entry in entries.items()})
    if turkish:
        names = {"cat": "kedi", "bus": "otobüs", "rabbit": "tavşan", "car": "araba"}
        head = [names.get(name, name) for name in head]
        rows = [[label, *map(_in_turkish, cells)] for (_, label, _), (_, *cells) in zip(SUMMARY, rows, strict=True)]
    note = textwrap.fill(_readme_note([part(entry, "conditions") for entry in entries.values()], seeds, turkish), 120)
    return f"{markdown_table(head, rows)}\n{note}\n"


def _readme_note(made: Sequence[Scores], seeds: Sequence[str], turkish: bool) -> str:
    """Return how to read a README's table; steps and guidance where they are the same for all categories."""
    settings = {(_number(conditions, "steps"), _number(conditions, "guidance")) for conditions in made}
    steps, guidance = settings.pop() if len(settings) == 1 else (None, None)
    known, named = steps is not None and guidance is not None, ", ".join(seeds)
    if turkish:
        over = f"{len(seeds)} örnekleme tohumunun ({named}) ortalaması ± standart sapması"
        over = over if len(seeds) > 1 else f"Tek örnekleme tohumu ({named}), bu yüzden sapma yok"
        over += f", depodaki ayarlarla: {steps:g} adım, yönlendirme {guidance:g}" if known else ""
        return f"{over}. Ayraç içinde: gerçek çizimlerin değeri. KID ve FID'de düşük, kapsamada yüksek olan iyidir."
    over = _over_seeds(seeds) + (f", as shipped: {steps:g} steps, guidance {guidance:g}" if known else "")
    return f"{over}. In brackets: what real drawings score. Lower is better for KID and FID, higher for coverage."


def _in_turkish(cell: str) -> str:
    """Return a cell with decimal commas and the per cent sign in front."""
    swapped = cell.replace(MISSING, "ölçülmedi").translate(str.maketrans(",.", ".,"))
    return re.sub(r"([\d,]+(?: ± [\d,]+)?) %", r"% \1", swapped)


def results_page(results_json_path: Path) -> str:
    """Return docs/RESULTS.md: every score of a run with its metadata."""
    run, entries, seeds = read_run(results_json_path)
    scores = {name: part(entry, "scores") for name, entry in entries.items()}
    sections = "".join(
        f"## {title}\n\n{caption}\n\n{markdown_table(*table_of(lines, scores))}\n" for title, caption, lines in FULL
    )
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
