"""Laws of the tables of results: the figures of the run's file, ± over seeds, each floor at its figure's n."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawings.embedded import embedded_drawings
from metrics import MINIMUM_FLOOR, score_drawings
from reports import tables as results_tables
from scoring.averages import over_seeds
from scoring.stroke_statistics import STATISTICS

HOSTILE = """<script src="https://example.org/x.js">alert('&"')</script>|"""
SPREAD = 0.02
"""Relative deviation over the three seeds of `three_seeds`."""


def distance(value: float, by: float) -> dict[str, Any]:
    """A figure of the form of distances.with_floor; what depends on generated drawings is (1 + by) times as large."""
    floors = {"at_floor_n": value * 1.5 * (1 + by), "at_floor_n_std": 0.3, "floor": value / 2, "floor_std": 0.2}
    return {"value": value * (1 + by), "floor_n": 20, **floors}


def scores(category: str = "cat", by: float = 0.0, larger: float = 1.0) -> dict[str, Any]:
    """Scores of the form of metrics.score_drawings, each figure another number; `larger` tells categories apart."""
    k, own = larger, 1 + by
    means = {"mean_generated": 7.7 * own, "mean_real": 8.8}
    plain = ("stroke_length_by_position", "start_points", "order")
    strokes = {
        name: distance(k * (1.24 + i), by) | (means if name not in plain else {})
        for i, (name, _, _) in enumerate(STATISTICS)
    }
    ceiling = {"independent_strokes": 93.1}
    return {
        "category": category, "n_generated": 1077, "n_real": 41, "reference": "some pictures", "seed": 3,
        "rendering": "some rendering", "feature_network": {"file": "net.safetensors", "sha256": "f" * 64},
        "fid": distance(31.26 * k, by) | ceiling, "fid_infinity": distance(22.13 * k, by) | ceiling,
        "kid": distance(0.004567 * k, by) | {
            "at_floor_n_std": 0.0021, "floor_std": 0.0023, "std": 0.0011, "num_subsets": 100, "subset_size": 41,
            "share": 0.2892 * own, "independent_strokes": 0.0512,
        },
        "density": distance(0.876, by) | {"independent_strokes": 0.41},
        "coverage": distance(0.543, by) | {"independent_strokes": 0.32},
        "recognisability": {
            "generated": {"top1": 0.613 * own, "top5": 0.817 * own}, "real": {"top1": 0.724, "top5": 0.913},
            "independent_strokes": {"top1": 0.119, "top5": 0.331},
        },
        "recognised_after": {
            "generated": [0.61 * own * (1 - 0.8**i) for i in range(24)], "n_real": 43, "reference": "some strokes",
            "real": [0.72 - 0.7 / (i + 1) for i in range(24)],
        },
        "strokes": {"n_real": 43, "reference": "some strokes", "distances": strokes},
        "memorisation": {
            "n_learned_from": 1234, "n_training": 1234, "median_generated": 6.6 * own, "median_real": 5.5,
            "ratio": 1.2 * own, "nearer_than_real": 0.034 * own,
        },
    }  # fmt: skip


def three_seeds(category: str = "cat", larger: float = 1.0) -> dict[str, dict[str, Any]]:
    """Scores of three sampling seeds: every figure of generated drawings deviates by SPREAD of its mean."""
    return {str(seed): scores(category, by, larger) for seed, by in enumerate((-SPREAD, 0.0, SPREAD))}


def write_run(path: Path, categories: Mapping[str, Mapping[str, dict[str, Any]]], **made: Any) -> Path:
    """The file that run_all.py writes, of `categories` with their scores for each seed."""
    entries = {
        name: {"scores": over_seeds(list(seeds.values())), "conditions": made, "seeds": seeds}
        for name, seeds in categories.items()
    }
    seeds = [int(seed) for seed in next(iter(categories.values()), {})]
    path.write_text(json.dumps({"run": {"seeds": seeds, "commit": "abc123"}, "categories": entries}), encoding="utf-8")
    return path


def tables_of(markdown: str) -> list[dict[str, dict[str, str]]]:
    """Every table of a Markdown text as {column: {row: cell}}."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", markdown, flags=re.MULTILINE):
        head, _, *lines = ([cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines())
        assert all(len(line) == len(head) for line in lines)
        found.append({name: {line[0]: line[k] for line in lines} for k, name in enumerate(head) if k})
    return found


def form_of(values: Any) -> Any:
    """Names and kinds of a nested dict, without its values."""
    if isinstance(values, Mapping):
        return {name: form_of(value) for name, value in values.items()}
    return len(values) if isinstance(values, list) else "text" if isinstance(values, str) else "number"


def test_the_example_of_these_tests_has_the_form_of_real_scores() -> None:
    drawings = embedded_drawings("cat", 120)
    real = score_drawings(drawings[:40], drawings[40:80], "cat", training=drawings[80:])
    assert form_of(scores()) == form_of(real)


# ------------------------------------------------------------------ what the README shows


def test_the_tables_show_mean_and_deviation_over_seeds_and_the_floor_at_the_same_n(tmp_path: Path) -> None:
    run = {"cat": three_seeds(), "bus": three_seeds("bus", larger=2.0)}
    pictures, strokes, copies = tables_of(results_tables.readme_table(write_run(tmp_path / "run.json", run)))
    assert pictures["cat"] == {
        "N generated / real": "1,077 / 41",
        "n at the floor": "20",
        "FID": "31.3 ± 0.6",
        "FID at n": "46.9 ± 0.9 (floor 15.6)",
        "FID∞": "22.1 ± 0.4",
        "FID∞ at n": "33.2 ± 0.7 (floor 11.1)",
        "KID × 10³": "4.57 ± 0.09 (floor ± 2.3)",
        "KID, share": "0.29 ± 0.01",
        "Density at n": "1.31 ± 0.03 (floor 0.44)",
        "Coverage at n": "0.81 ± 0.02 (floor 0.27)",
        "Recognised, top-1": "61.3 ± 1.2 % (real 72.4 %)",
    }
    assert pictures["bus"]["FID at n"] == "93.8 ± 1.9 (floor 31.3)"
    assert strokes["cat"] == {
        "N generated / real": "1,077 / 43",
        "n at the floor": "20",
        "Strokes per drawing": "1.86 ± 0.04 (floor 0.62)",
        "Points per stroke": "3.36 ± 0.07 (floor 1.12)",
        "Ink length, px": "4.86 ± 0.10 (floor 1.62)",
        "Stroke length by position, px": "6.36 ± 0.13 (floor 2.12)",
        "Start points, px": "7.86 ± 0.16 (floor 2.62)",
        "Pen jumps, px": "9.36 ± 0.19 (floor 3.12)",
        "Closedness": "10.9 ± 0.2 (floor 3.6)",
        "Aspect, degrees": "12.4 ± 0.2 (floor 4.1)",
        "Order of drawing, px": "13.9 ± 0.3 (floor 4.6)",
    }
    assert copies["cat"] == {
        "N generated / real": "1,077 / 41",
        "N training": "1,234",
        "Nearest, generated over real": "1.20 ± 0.02",
        "Nearer than the nearest 1 % of real": "3.4 ± 0.1 %",
    }


def test_a_fourth_category_has_its_column_its_own_reference_and_says_how_much_of_the_training_is_compared(
    tmp_path: Path,
) -> None:
    run = {name: three_seeds(name) for name in ("cat", "bus", "rabbit", "car")}
    for seed in run["car"].values():
        seed["reference"] = "held-out drawings"
        seed["memorisation"]["n_learned_from"] = 5678
    for seed in run["bus"].values():  # as an earlier program wrote it
        del seed["memorisation"]["n_learned_from"]
    text = results_tables.readme_table(write_run(tmp_path / "run.json", run))
    tables = tables_of(text)
    assert [list(table) for table in tables] == [["cat", "bus", "rabbit", "car"]] * 3
    assert [tables[2][name]["N training"] for name in run] == ["1,234", "1,234", "1,234", "1,234 of 5,678"]
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert lines[0] == "- cat: Real drawings: some pictures."
    assert lines[3] == "- car: Real drawings: held-out drawings."
    assert "Real drawings as strokes: some strokes." in text.split("- cat:")[0].splitlines()[-2]
    _, _, caption = results_tables.copy_table(run["car"]["0"], ["0"])
    assert caption.startswith("To the nearest of 1,234 of 5,678 training drawings.")


def test_every_caption_says_over_which_seeds_the_deviation_is(tmp_path: Path) -> None:
    text = results_tables.readme_table(write_run(tmp_path / "run.json", {"cat": three_seeds()}))
    captions = [line for line in text.splitlines() if line.startswith("**")]
    assert [caption.split("**")[1] for caption in captions] == ["Pictures.", "Strokes.", "Copies."]
    assert all("± is the standard deviation over 3 sampling seeds (0, 1, 2)." in caption for caption in captions)


def test_a_run_of_one_seed_shows_no_deviation_over_seeds(tmp_path: Path) -> None:
    text = results_tables.readme_table(write_run(tmp_path / "run.json", {"cat": {"7": scores()}}))
    assert text.count("One sampling seed (7): no deviation over seeds.") == 3
    cells = [cell for table in tables_of(text) for cell in table["cat"].values()]
    assert [cell for cell in cells if "±" in cell] == ["4.57 (floor ± 2.3)"]
    assert "46.9 (floor 15.6)" in cells


def test_the_notebooks_table_is_the_first_of_the_readme(tmp_path: Path) -> None:
    table = results_tables.results_table({"cat": scores(), "bus": scores("bus", larger=2.0)})
    run = {"cat": {"0": scores()}, "bus": {"0": scores("bus", larger=2.0)}}
    assert table in results_tables.readme_table(write_run(tmp_path / "run.json", run))
    assert table.startswith("|  | cat | bus |\n| --- | ---: | ---: |\n")


def test_without_a_floor_the_figure_of_all_drawings_stands_and_the_caption_says_so(tmp_path: Path) -> None:
    few = scores()
    for figures in few["strokes"]["distances"].values():
        figures.update(dict.fromkeys(("at_floor_n", "at_floor_n_std", "floor", "floor_std")), floor_n=7)
    sentence = f"Below n = {MINIMUM_FLOOR} there is no floor"
    text = results_tables.readme_table(write_run(tmp_path / "few.json", {"cat": {"0": few}}))
    assert tables_of(text)[1]["cat"]["Strokes per drawing"] == "1.24 (no floor)"
    assert sentence in text
    assert sentence not in results_tables.readme_table(write_run(tmp_path / "many.json", {"cat": {"0": scores()}}))


def test_what_is_the_same_for_all_categories_is_said_once(tmp_path: Path) -> None:
    bus = three_seeds("bus")
    for seed in bus.values():
        seed["reference"] = "other pictures"
    made = {"sampler": "ddim", "steps": 20, "guidance": 1.5, "guide": "w0.safetensors", "checkpoint": "w.safetensors"}
    made["checkpoint_sha256"] = "ab" * 32
    text = results_tables.readme_table(write_run(tmp_path / "run.json", {"cat": three_seeds(), "bus": bus}, **made))
    common, _, *own = text[text.rindex("|\n") + 3 :].splitlines()
    assert common == (
        "Rendering: some rendering. Feature network: net.safetensors, sha256 ffffffffffff. Seed of the scores: 3. "
        "Real drawings as strokes: some strokes. Sampler: ddim, 20 steps, guidance 1.5 away from w0.safetensors. "
        "Weights: w.safetensors, sha256 abababababab. Program: abc123."
    )
    assert own == ["- cat: Real drawings: some pictures.", "- bus: Real drawings: other pictures."]


@pytest.mark.parametrize(
    "given",
    [{}, {"not_measured": "no <network>"}, {"fid": None, "kid": {"value": float("nan")}},
     {"fid": 3, "kid": [1], "strokes": {"distances": "x"}, "memorisation": None, "recognisability": {"real": 0}}],
)  # fmt: skip
def test_what_is_missing_is_called_not_measured(given: dict[str, Any], tmp_path: Path) -> None:
    run = {"cat": {"0": given}, "bus": {"0": scores("bus")}}
    text = results_tables.readme_table(write_run(tmp_path / "run.json", run))
    for table in tables_of(text):
        numbers = [cell for row, cell in table["cat"].items() if not re.match("[Nn] ", row)]
        assert set(numbers) == {"not measured"}
        assert "not measured" not in table["bus"].values()
    assert ("- cat: Not measured: no &lt;network&gt;." in text) == ("not_measured" in given)


# ------------------------------------------------------------------ what the page shows of one category


def test_a_category_shows_every_figure_with_its_deviation_over_seeds() -> None:
    mean = over_seeds(list(three_seeds().values()))
    head, rows, caption = results_tables.picture_table(mean, ["0", "1", "2"])
    assert head == ["", "Generated", "n generated", "Real: floor of n", "Strokes at random"]
    assert rows[:4] == [
        ["FID", "31.3 ± 0.6", "46.9 ± 0.9", "15.6 ± 0.2", "93.1"],
        ["FID∞", "22.1 ± 0.4", "33.2 ± 0.7", "11.1 ± 0.2", "93.1"],
        ["KID × 10³", "4.57 ± 0.09", "6.85 ± 0.14", "2.28 ± 2.30", "51.2"],
        ["KID, share", "0.29 ± 0.01", "–", "–", "–"],
    ]
    assert rows[4:] == [
        ["Density", "0.88 ± 0.02", "1.31 ± 0.03", "0.44 ± 0.20", "0.41"],
        ["Coverage", "0.54 ± 0.01", "0.81 ± 0.02", "0.27 ± 0.20", "0.32"],
        ["Recognised, first guess", "61.3 ± 1.2 %", "–", "72.4 %", "11.9 %"],
        ["Recognised, first five guesses", "81.7 ± 1.6 %", "–", "91.3 %", "33.1 %"],
    ]
    assert "1,077 generated against 41 real drawings; n = 20. ± is the standard deviation over 3" in caption
    assert "Real drawings: some pictures. Rendering: some rendering." in caption
    head, rows, caption = results_tables.stroke_table(mean, ["0", "1", "2"])
    assert [label for label, *_ in rows] == list(tables_of(markdown_of(mean))[1]["cat"])[2:]
    assert rows[0] == ["Strokes per drawing", "7.70 ± 0.15", "8.80", "1.24 ± 0.02", "1.86 ± 0.04", "0.62 ± 0.20"]
    assert rows[-1] == ["Order of drawing, px", "–", "–", "9.24 ± 0.18", "13.9 ± 0.3", "4.62 ± 0.20"]
    assert caption.endswith("Real drawings: some strokes.")
    _, rows, caption = results_tables.copy_table(mean, ["0", "1", "2"])
    assert rows == [
        ["Median distance, in features", "6.60 ± 0.13", "5.50"],
        ["Median, generated over real", "1.20 ± 0.02", "–"],
        ["Nearer than the nearest 1 % of real", "3.4 ± 0.1 %", "1.0 %"],
    ]
    assert caption.startswith("To the nearest of 1,234 training drawings.")


def markdown_of(values: dict[str, Any]) -> str:
    """The README's three tables of one category."""
    by_category = (results_tables.pictures_by_category, results_tables.strokes_by_category)
    return "\n\n".join(results_tables.markdown_table(*of({"cat": values}, ["0"])[:2]) for of in by_category)


def test_one_seed_shows_the_deviation_over_halvings_and_subsets_and_says_so() -> None:
    _, rows, caption = results_tables.picture_table(scores(), ["0"])
    assert rows[0] == ["FID", "31.3", "46.9 ± 0.3", "15.6 ± 0.2", "93.1"]
    assert rows[2] == ["KID × 10³", "4.57 ± 1.10", "6.85 ± 2.10", "2.28 ± 2.30", "51.2"]
    assert "± is the standard deviation over halvings of the drawings, of KID over subsets." in caption
    assert "over seeds" not in caption


@pytest.mark.parametrize(
    ("table", "change", "reason"),
    [
        ("picture_table", {"not_measured": "no pictures", "fid": None}, "no pictures"),
        ("picture_table", {"fid": None}, "this run made no scores"),
        ("picture_table", {"density": None}, "too few drawings"),
        ("stroke_table", {"strokes": {}}, "too few drawings for a floor"),
        ("copy_table", {"memorisation": None}, "no training drawings are at hand"),
    ],
)
def test_a_table_says_why_figures_are_missing(table: str, change: dict[str, Any], reason: str) -> None:
    of = getattr(results_tables, table)
    _, rows, caption = of(scores() | change, ["0"])
    assert any("not measured" in row for row in rows)
    assert caption.endswith(f"“Not measured”: {reason}.")
    assert "Not measured" not in of(scores(), ["0"])[2]


# ------------------------------------------------------------------ figures as text


def test_figures_have_a_true_minus_never_minus_zero_and_never_a_deviation_of_zero() -> None:
    figure = results_tables.figure
    assert figure({"floor": -0.0123, "floor_std": 0.41}, "floor", splits=True) == "−0.01 ± 0.41"
    assert figure({"value": -0.0000001}, "value") == "0.000"
    assert figure({"value": None}, "value") == "not measured"
    assert figure({"value": 0.9, "value_over_seeds": 0.004}, "value") == "0.900 ± 0.004"
    assert figure({"value": 5, "value_over_seeds": 0.0}, "value") == "5.00"


def test_over_seeds_goes_before_over_halvings() -> None:
    both = {"value": 2.0, "value_over_seeds": 0.5, "std": 0.7, "at_floor_n": 3.0, "at_floor_n_std": 0.2}
    assert results_tables.figure(both, "value", splits=True) == "2.00 ± 0.50"
    assert results_tables.figure(both, "at_floor_n", splits=True) == "3.00 ± 0.20"
    assert results_tables.figure(both, "at_floor_n") == "3.00"


def test_numbers_of_drawings_are_whole_or_a_mean_over_seeds() -> None:
    assert results_tables.count({"n": 12345}, "n") == "12,345"
    assert results_tables.count({"n": 1499.6666}, "n") == "1,499.7"
    assert results_tables.count({}, "n") == "?"


def test_what_is_printed_is_the_figure_to_half_a_unit_of_its_last_digit() -> None:
    for value in np.random.default_rng(0).lognormal(0, 3, 200):
        text = results_tables.figure({"value": float(value)}, "value")
        assert abs(float(text) - value) <= 0.5 * 10.0 ** -len(text.split(".")[1]) + 1e-12


# ------------------------------------------------------------------ files


def test_hostile_text_stays_text_in_its_cell_and_cannot_forge_a_marker(tmp_path: Path) -> None:
    start, end = results_tables.README_MARKERS
    name = f"{HOSTILE}\n{end}\n| x |"
    bad = scores() | dict.fromkeys(("n_real", "reference", "rendering"), name) | {"feature_network": {"file": name}}
    results = write_run(tmp_path / "run.json", {name: {"0": bad}, "cat": {"0": scores()}}, sampler=name)
    readme = tmp_path / "README.md"
    readme.write_text(f"{start}\n{end}\n", encoding="utf-8")
    for _ in range(2):
        results_tables.update_readme(readme, results)
    text = readme.read_text(encoding="utf-8")
    assert "<script" not in text
    assert (text.count(start), text.count(end)) == (1, 1)
    assert [len(table) for table in tables_of(text)] == [2, 2, 2]
    assert len([line for line in text.splitlines() if line.startswith("|")]) == sum(
        2 + len(table["cat"]) for table in tables_of(text)
    )


def test_readme_keeps_all_but_what_stands_between_its_markers(tmp_path: Path) -> None:
    results, readme = write_run(tmp_path / "results.json", {"cat": three_seeds()}), tmp_path / "README.md"
    readme.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n", encoding="utf-8")
    table = results_tables.readme_table(results)
    for _ in range(2):
        results_tables.update_readme(readme, results)
        assert readme.read_text(encoding="utf-8") == f"before\n<!-- results -->\n{table}<!-- /results -->\nafter\n"
    assert stat.S_IMODE(readme.stat().st_mode) == 0o644
    for text in ("", "<!-- results -->", "<!-- /results --><!-- results -->"):
        readme.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=r"README\.md: needs one"):
            results_tables.update_readme(readme, results)
        assert readme.read_text(encoding="utf-8") == text
    with pytest.raises(FileNotFoundError, match=r"none\.md: no such file"):
        results_tables.update_readme(tmp_path / "none.md", results)


def test_files_of_another_form_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"run_all\.py makes it"):
        results_tables.readme_table(tmp_path / "none.json")
    good = json.loads(write_run(tmp_path / "bad.json", {"cat": three_seeds()}).read_text(encoding="utf-8"))
    whole = good["categories"]["cat"]
    others = (
        "{", "[]", "{}", "\udcff",
        {"categories": good["categories"]}, good | {"run": {"seed": 0}}, good | {"categories": [1]},
        good | {"categories": {}}, good | {"categories": {"cat": {}}},
        good | {"categories": {"cat": {"scores": whole["scores"]}}},
        good | {"categories": {"cat": whole | {"scores": 1}}},
        good | {"run": {"seeds": [0, 1]}}, good | {"run": {"seeds": [0, 1, 3]}},
    )  # fmt: skip
    for other in others:
        text = other if isinstance(other, str) else json.dumps(other)
        (tmp_path / "bad.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ValueError, match=r"bad\.json: damaged") as caught:
            results_tables.readme_table(tmp_path / "bad.json")
        assert len(str(caught.value).splitlines()) == 1
