"""Write the figures of a run as tables of text, each beside its floor, and those of the README into it.

README tables have a column for each category. A cell is "x ± y (floor z)": y is the standard deviation over sampling
seeds, and x and z are of the same number of drawings, since most figures change with it. The report shows the first of
them and, for each category alone, tables that hold every figure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from metrics import MINIMUM_FLOOR
from plumbing.files import write_atomically
from scoring.stroke_statistics import STATISTICS

Scores = Mapping[str, Any]
Table = tuple[list[str], list[list[str]], str]
"""Head, rows and caption."""
Lines = Sequence[tuple[str, Callable[[Scores], str]]]

README_MARKERS = ("<!-- results -->", "<!-- /results -->")
MISSING, NO_FLOOR, NOT_APPLICABLE, MINUS = "not measured", "(no floor)", "–", "\N{MINUS SIGN}"
PER_MILLE = 1000
"""Scale of a KID in a table."""
MOST_DECIMALS = 4
DISTANCES = (("FID", "fid", 1), ("FID∞", "fid_infinity", 1), ("KID × 10³", "kid", PER_MILLE),
             ("Density", "density", 1), ("Coverage", "coverage", 1))  # fmt: skip


# ------------------------------------------------------------------ one figure


def part(values: Any, *names: str) -> Scores:
    """Return the dict at the end of a path of names through nested dicts, an empty one where there is none."""
    for name in names:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values if isinstance(values, Mapping) else {}


def _number(values: Scores, name: str) -> float | None:
    value = values.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _deviation(values: Scores, name: str, splits: bool) -> float:
    over_splits = "std" if name == "value" else f"{name}_std"
    found = (_number(values, key) for key in (f"{name}_over_seeds", *[over_splits][: int(splits)]))
    return next((number for number in found if number is not None), 0.0)


def _decimals(value: float, deviation: float = 0.0) -> int:
    largest = max(abs(value), deviation)
    decimals = 1 if largest >= 10 else 2 if largest >= 0.1 else 3
    while decimals < MOST_DECIMALS and 0 < deviation < 0.5 * 10**-decimals:  # would read ± 0
        decimals += 1
    return decimals


def _text(value: float, deviation: float, decimals: int) -> str:
    shown = f"{round(value, decimals) + 0.0:.{decimals}f}".replace("-", MINUS)  # + 0.0: no minus zero
    return shown + (f" ± {deviation:.{decimals}f}" if deviation > 0 else "")


def figure(values: Scores, name: str, scale: float = 1, *, splits: bool = False) -> str:
    """Return `name` of a dict of figures as "x ± y", y over sampling seeds, or "not measured".

    Without several seeds it is "x" alone, or, with `splits`, has its deviation over subsets or halvings.
    """
    value = _number(values, name)
    if value is None:
        return MISSING
    value, deviation = value * scale, _deviation(values, name, splits) * scale
    return _text(value, deviation, _decimals(value, deviation))


def percent(values: Scores, name: str) -> str:
    """Return the share `name` of a dict of figures in per cent, with its deviation over seeds, or "not measured"."""
    share = _number(values, name)
    return MISSING if share is None else f"{_text(100 * share, 100 * _deviation(values, name, False), 1)} %"


def count(values: Scores, name: str) -> str:
    """Return the number of drawings `name`, a mean where seeds differ, "?" where it is not known."""
    value = values.get(name, "?")
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}" if isinstance(value, float) else str(value)


def beside_floor(values: Scores) -> str:
    """Return "x ± y (floor z)", both at the floor's number of drawings; x of all drawings where there is no floor."""
    value, floor = _number(values, "at_floor_n"), _number(values, "floor")
    if value is None or floor is None:
        whole = figure(values, "value")
        return whole if whole == MISSING else f"{whole} {NO_FLOOR}"
    deviation = _deviation(values, "at_floor_n", False)
    decimals = _decimals(value, deviation)
    return f"{_text(value, deviation, decimals)} (floor {_text(floor, 0.0, decimals)})"


def _kernel_distance(values: Scores) -> str:
    whole, floor = figure(values, "value", PER_MILLE), _number(values, "floor_std")
    if floor is None:
        return whole if whole == MISSING else f"{whole} {NO_FLOOR}"
    return f"{whole} (floor ± {_text(floor * PER_MILLE, 0.0, 1)})"


def _recognised(shares: Scores) -> str:
    ours, real = percent(part(shares, "generated"), "top1"), percent(part(shares, "real"), "top1")
    return ours if MISSING in (ours, real) else f"{ours} (real {real})"


# ------------------------------------------------------------------ conditions


def over_seeds_note(seeds: Sequence[str]) -> str:
    """Return one sentence that says what ± is in the tables of all categories."""
    if len(seeds) < 2:
        return f"One sampling seed ({', '.join(seeds)}): no deviation over seeds."
    return f"± is the standard deviation over {len(seeds)} sampling seeds ({', '.join(seeds)})."


def _splits_note(seeds: Sequence[str]) -> str:
    """Return one sentence that says what ± is in the tables of one category."""
    if len(seeds) < 2:
        return "One sampling seed: ± is the standard deviation over halvings of the drawings, of KID over subsets."
    return f"{over_seeds_note(seeds)} That of a floor is over halvings of the real drawings."


def _file(name: Any, sha256: Any) -> str | None:
    return f"{name}, sha256 {str(sha256)[:12]}" if name else None


def _known(conditions: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in conditions.items() if value is not None}


def _conditions_of_pictures(scores: Scores) -> dict[str, str]:
    network = part(scores, "feature_network")
    return _known({
        "Real drawings": scores.get("reference"),
        "Rendering": scores.get("rendering"),
        "Feature network": _file(network.get("file"), network.get("sha256")),
        "Seed of the scores": scores.get("seed"),
    })  # fmt: skip


def _conditions(scores: Scores, made: Scores) -> dict[str, str]:
    """Return the known conditions of a category's figures by name; `made` is how its drawings were made."""
    steps, guidance = made.get("steps", "?"), made.get("guidance", "?")
    if made.get("guide"):
        guidance = f"{guidance} away from {made['guide']}"
    return _conditions_of_pictures(scores) | _known({
        "Real drawings as strokes": part(scores, "strokes").get("reference"),
        "Sampler": f"{made['sampler']}, {steps} steps, guidance {guidance}" if "sampler" in made else None,
        "Weights": _file(made.get("checkpoint"), made.get("checkpoint_sha256")),
        "Not measured": scores.get("not_measured"),
    })  # fmt: skip


def _sentences(conditions: Mapping[str, str]) -> str:
    return " ".join(f"{name}: {value}." for name, value in conditions.items())


# ------------------------------------------------------------------ tables of all categories

PICTURES: Lines = (
    ("N generated / real", lambda s: f"{count(s, 'n_generated')} / {count(s, 'n_real')}"),
    ("n at the floor", lambda s: count(part(s, "fid"), "floor_n")),
    ("FID", lambda s: figure(part(s, "fid"), "value")),
    ("FID at n", lambda s: beside_floor(part(s, "fid"))),
    ("FID∞", lambda s: figure(part(s, "fid_infinity"), "value")),
    ("FID∞ at n", lambda s: beside_floor(part(s, "fid_infinity"))),
    ("KID × 10³", lambda s: _kernel_distance(part(s, "kid"))),
    ("KID, share", lambda s: figure(part(s, "kid"), "share")),
    ("Density at n", lambda s: beside_floor(part(s, "density"))),
    ("Coverage at n", lambda s: beside_floor(part(s, "coverage"))),
    ("Recognised, top-1", lambda s: _recognised(part(s, "recognisability"))),
)


def _with_unit(label: str, unit: str) -> str:
    return label if not unit or unit in label.lower() else f"{label}, {unit}"  # strokes per drawing are strokes


def _distance(name: str) -> Callable[[Scores], str]:
    return lambda scores: beside_floor(part(scores, "strokes", "distances", name))


def _stroke_floor_n(scores: Scores) -> str:
    return count(part(scores, "strokes", "distances", STATISTICS[0][0]), "floor_n")


STROKES: Lines = (
    ("N generated / real", lambda s: f"{count(s, 'n_generated')} / {count(part(s, 'strokes'), 'n_real')}"),
    ("n at the floor", _stroke_floor_n),
    *((_with_unit(label, unit), _distance(name)) for name, label, unit in STATISTICS),
)
COPIES: Lines = (
    ("N generated / real", lambda s: f"{count(s, 'n_generated')} / {count(s, 'n_real')}"),
    ("N training", lambda s: _training(part(s, "memorisation"))),
    ("Nearest, generated over real", lambda s: figure(part(s, "memorisation"), "ratio")),
    ("Nearer than the nearest 1 % of real", lambda s: percent(part(s, "memorisation"), "nearer_than_real")),
)


def _training(copies: Scores) -> str:
    """Return how many training drawings are compared with, and of how many where that is only a part of them."""
    compared, whole = count(copies, "n_training"), count(copies, "n_learned_from")
    return compared if whole in ("?", compared) else f"{compared} of {whole}"


def _by_category(lines: Lines, scores: Mapping[str, Scores], caption: str) -> Table:
    return ["", *scores], [[label, *map(cell, scores.values())] for label, cell in lines], caption


def pictures_by_category(scores: Mapping[str, Scores], seeds: Sequence[str]) -> Table:
    """Return what the pictures of each category say: a row for each figure, a column for each category."""
    caption = (
        f"{over_seeds_note(seeds)} A floor is what n real drawings score against n others, the figure before it what n "
        "generated ones score. KID's floor is 0 but for chance: beside it stands its deviation over halvings. Lower is "
        "better for FID and KID, higher for coverage and top-1; density is about 1 for real drawings."
    )
    return _by_category(PICTURES, scores, caption)


def strokes_by_category(scores: Mapping[str, Scores], seeds: Sequence[str]) -> Table:
    """Return the distances of the strokes of each category: a row for each statistic, a column for each category."""
    head, rows, _ = _by_category(STROKES, scores, "")
    floorless = f"Below n = {MINIMUM_FLOOR} there is no floor, and the distance is that of all drawings. "
    return head, rows, (
        "Wasserstein-1 distance to real drawings in each unit, and its floor at the same n. "
        f"{floorless if any(cell.endswith(NO_FLOOR) for row in rows for cell in row) else ''}{over_seeds_note(seeds)}"
    )  # fmt: skip


def copies_by_category(scores: Mapping[str, Scores], seeds: Sequence[str]) -> Table:
    """Return how near drawings come to training drawings: a column for each category."""
    caption = (
        "How near the nearest training drawing is, by features: median of generated over median of real drawings, and "
        f"the share of generated ones that are nearer than all but 1 % of real ones. {over_seeds_note(seeds)}"
    )
    return _by_category(COPIES, scores, caption)


# ------------------------------------------------------------------ tables of one category


def _with_reason(head: list[str], rows: list[list[str]], caption: str, scores: Scores, reason: str) -> Table:
    """Return a table whose caption says why figures are missing: `reason`, where nothing else is known."""
    why = scores.get("not_measured") or (reason if part(scores, "fid") else "this run made no scores")
    missing = any(MISSING in row for row in rows)
    return head, rows, f"{caption} {f'“{MISSING.capitalize()}”: {why}.' if missing else ''}".strip()


def picture_table(scores: Scores, seeds: Sequence[str]) -> Table:
    """Return every figure of the pictures of a category: of all drawings, of n, of n real ones, of random strokes."""
    fid, shares = part(scores, "fid"), part(scores, "recognisability")
    rows = []
    for label, key, scale in DISTANCES:
        columns = ("value", "at_floor_n", "floor", "independent_strokes")
        rows.append([label, *(figure(part(scores, key), name, scale, splits=True) for name in columns)])
        if key == "kid":
            rows.append(["KID, share", figure(part(scores, key), "share", splits=True), *[NOT_APPLICABLE] * 3])
    for label, name in (("Recognised, first guess", "top1"), ("Recognised, first five guesses", "top5")):
        ours, real, mixed = (percent(part(shares, side), name) for side in ("generated", "real", "independent_strokes"))
        rows.append([label, ours, NOT_APPLICABLE, real, mixed])
    caption = (
        f"{count(scores, 'n_generated')} generated against {count(scores, 'n_real')} real drawings; "
        f"n = {count(fid, 'floor_n')}. {_splits_note(seeds)} {_sentences(_conditions_of_pictures(scores))}"
    )
    head = ["", "Generated", "n generated", "Real: floor of n", "Strokes at random"]
    return _with_reason(head, rows, caption, scores, "too few drawings")


def stroke_table(scores: Scores, seeds: Sequence[str]) -> Table:
    """Return every figure of the strokes of a category: means, and distances of all drawings, of n, of n real ones."""
    strokes, rows = part(scores, "strokes"), []
    for name, label, unit in STATISTICS:
        values = part(strokes, "distances", name)
        means = (figure(values, side) if side in values else NOT_APPLICABLE for side in ("mean_generated", "mean_real"))
        distances = (figure(values, key, splits=True) for key in ("value", "at_floor_n", "floor"))
        rows.append([_with_unit(label, unit), *means, *distances])
    caption = (
        f"{count(scores, 'n_generated')} generated against {count(strokes, 'n_real')} real drawings; "
        f"n = {_stroke_floor_n(scores)}. {_splits_note(seeds)} Real drawings: {strokes.get('reference', 'none')}."
    )
    head = ["", "Mean, generated", "Mean, real", "W₁", "W₁ of n", "Real: floor of n"]
    return _with_reason(head, rows, caption, scores, "too few drawings for a floor")


def copy_table(scores: Scores, seeds: Sequence[str]) -> Table:
    """Return how near the generated drawings of a category come to training drawings, beside real ones."""
    copies = part(scores, "memorisation")
    rows = [
        ["Median distance, in features", figure(copies, "median_generated"), figure(copies, "median_real")],
        ["Median, generated over real", figure(copies, "ratio"), NOT_APPLICABLE],
        ["Nearer than the nearest 1 % of real", percent(copies, "nearer_than_real"), "1.0 %"],
    ]
    caption = f"To the nearest of {_training(copies)} training drawings. {over_seeds_note(seeds)}"
    return _with_reason(["", "Generated", "Real"], rows, caption, scores, "no training drawings are at hand")


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
    """Return a Markdown table of what pictures say, `scores` being dicts of ``metrics.score_drawings`` by category."""
    head, rows, _ = pictures_by_category(scores, [])
    return markdown_table(head, rows)


def _conditions_lines(run: Scores, entries: Mapping[str, Scores]) -> str:
    """Return one line of what is the same for all categories, and one for each category of what is not."""
    each = {name: _conditions(part(entry, "scores"), part(entry, "conditions")) for name, entry in entries.items()}
    first = next(iter(each.values()))
    common = {key: value for key, value in first.items() if all(other.get(key) == value for other in each.values())}
    program = {"Program": str(run["commit"])} if run.get("commit") else {}
    lines = [f"{plain_text(_sentences(common | program))}\n"]
    for name, found in each.items():
        own = {key: value for key, value in found.items() if key not in common}
        lines += [f"- {plain_text(name)}: {plain_text(_sentences(own))}\n"] if own else []
    return "\n".join([lines[0], "".join(lines[1:])]) if len(lines) > 1 else lines[0]


# ------------------------------------------------------------------ the README


def _read_run(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]], list[str]]:
    """Return run, categories and sampling seeds of a file of results."""
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


def readme_table(results_json_path: Path) -> str:
    """Return the README's Markdown: tables of pictures, strokes and copies, each with a caption, and the conditions.

    The file is that of run_all.py, ``{"run": {"seeds": ...}, "categories": {category: {"scores", "conditions",
    "seeds"}}}``. Raises FileNotFoundError or ValueError.
    """
    run, entries, seeds = _read_run(results_json_path)
    scores = {name: part(entry, "scores") for name, entry in entries.items()}
    titled = (("Pictures", pictures_by_category), ("Strokes", strokes_by_category), ("Copies", copies_by_category))
    tables = ((title, *of(scores, seeds)) for title, of in titled)
    text = "".join(f"**{title}.** {caption}\n\n{markdown_table(head, rows)}\n" for title, head, rows, caption in tables)
    return f"{text}{_conditions_lines(run, entries)}"


def update_readme(readme: Path, results_json_path: Path) -> None:
    """Replace what stands between the README's two markers by ``readme_table``, as ``replace_between`` does."""
    replace_between(readme, README_MARKERS, lambda: readme_table(results_json_path))


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
