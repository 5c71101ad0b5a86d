"""Laws of the tables of results: the scores of the run's file, ± over seeds, each baseline at its score's n."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from drawings.embedded import embedded_drawings
from metrics import score_drawings
from reports import tables
from scoring.averages import over_seeds
from scoring.stroke_statistics import STATISTICS

ROOT = Path(tables.__file__).resolve().parent.parent
HOSTILE = """<script src="https://example.org/x.js">alert('&"')</script>|"""
WITHOUT_MEAN = ("stroke_length_by_position", "start_points", "order")
SPREAD = 0.02
"""Relative deviation over the three seeds of `three_seeds`."""


def distance(value: float, by: float) -> dict[str, Any]:
    """A figure beside its baseline; what depends on generated drawings is (1 + by) times as large."""
    floors = {"at_floor_n": value * 1.5 * (1 + by), "at_floor_n_std": 0.3, "floor": value / 2, "floor_std": 0.2}
    return {"value": value * (1 + by), "floor_n": 20, **floors}


def scores(category: str = "cat", by: float = 0.0, larger: float = 1.0) -> dict[str, Any]:
    """Scores of the form of metrics.score_drawings, each figure another number; `larger` tells categories apart."""
    k, own = larger, 1 + by
    means = {"mean_generated": 7.7 * own, "mean_real": 8.8}
    strokes = {
        name: distance(k * (1.24 + i), by) | (means if name not in WITHOUT_MEAN else {})
        for i, (name, _, _) in enumerate(STATISTICS)
    }
    shuffled = {"independent_strokes": 93.1}
    return {
        "category": category, "n_generated": 1077, "n_real": 41, "reference": "some pictures", "seed": 3,
        "rendering": "some rendering", "feature_network": {"file": "net.safetensors", "sha256": "f" * 64},
        "fid": distance(31.26 * k, by) | shuffled, "fid_infinity": distance(22.13 * k, by) | shuffled,
        "kid": distance(0.004567 * k, by) | {
            "at_floor_n_std": 0.0021, "floor_std": 0.0023, "std": 0.0011, "num_subsets": 100, "subset_size": 41,
            "share": 0.2892 * own, "independent_strokes": 0.0512, "training": -0.0012,
        },
        "density": distance(0.876, by) | {"independent_strokes": 0.41},
        "equal_n": {name: {"floor_n": 15, "at_floor_n": value * own, "floor": value / 4}
                    for name, value in (("fid", 53.14 * k), ("coverage", 0.923))},
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
        "stroke_copies": {
            "generated": {"share": 0.42 * own, "different": 98 + round(100 * by), "n_generated": 1070,
                          "n_training": 1210, "limit_px": 18.13, "median_px": 19.5 * own},
            "real": {"share": 0.034, "median_px": 35.5},
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
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"run": {"seeds": seeds, "commit": "abc123"}, "categories": entries}), encoding="utf-8")
    return path


def columns_of(markdown: str) -> list[dict[str, dict[str, str]]]:
    """Every table of a Markdown text as {column: {row: cell}}."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", markdown, flags=re.MULTILINE):
        head, _, *lines = ([cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines())
        assert all(len(line) == len(head) for line in lines)
        found.append({name: {line[0]: line[k] for line in lines} for k, name in enumerate(head) if k})
    return found


def test_the_example_of_these_tests_has_every_figure_of_real_scores() -> None:
    drawings = embedded_drawings("cat", 120)
    real = score_drawings(drawings[:40], drawings[40:80], "cat", training=drawings[80:])

    def names(values: Any) -> Any:
        return {name: names(inner) for name, inner in values.items()} if isinstance(values, Mapping) else None

    def lacks(example: Any, whole: Any) -> list[str]:
        return [name for name in example if name not in whole or (example[name] and lacks(example[name], whole[name]))]

    assert lacks(names(scores()), names(real)) == []


# ------------------------------------------------------------------ what is shown


def test_readme_has_few_rows_with_deviations_over_seeds_and_baselines_at_the_same_n(tmp_path: Path) -> None:
    run = {"cat": three_seeds(), "bus": three_seeds("bus", larger=2.0)}
    text = tables.readme_table(write_run(tmp_path / "run.json", run))
    (table,) = columns_of(text)
    assert table["cat"] == {
        "Drawings: training / generated / real": "1,234 / 1,077 / 41",
        "KID × 10³ (real training drawings; real vs real)": "4.57 ± 0.09 (−1.2; 2.3)",
        "Normalised KID (shuffled strokes: 1)": "0.29 ± 0.01",
        "FID (real vs real)": "53.1 ± 1.1 (13.3)",
        "Coverage (real vs real)": "0.92 ± 0.02 (0.23)",
        "Recognised, top-1 (real)": "61.3 ± 1.2 % (72.4 %)",
        "Strokes per drawing (held-out)": "7.70 ± 0.15 (8.80)",
        "Redraws of training drawings / different ones (held-out; chance: 1 %)": "42.0 ± 0.8 % / 98 (3.4 %)",
    }
    assert table["bus"]["FID (real vs real)"] == "106.3 ± 2.1 (26.6)"
    words = " ".join(text.split())
    assert (
        "Mean ± standard deviation over 3 sampling seeds (0, 1, 2). In brackets: what real drawings score. FID" in words
    )
    assert "a side, two-sample accuracy of half as many as there are real ones. Lower KID" in words
    assert "FID and coverage are of 15 drawings a side" in words


def test_a_row_that_no_category_has_is_left_out_and_one_that_some_lack_is_not(tmp_path: Path) -> None:
    """Files of earlier versions lack scores; copies are counted only where training drawings are at hand."""
    old = {name: value for name, value in scores().items() if name not in ("stroke_copies", "equal_n")}
    old["kid"] = old["kid"] | {"training": None}
    copies, fid, kid = (next(row for row, _, _ in tables.SUMMARY if row.startswith(s)) for s in ("Red", "FID", "KID"))
    (alone,) = columns_of(tables.readme_table(write_run(tmp_path / "a.json", {"cat": {"0": old}})))
    assert {copies, fid} & set(alone["cat"]) == set()
    assert alone["cat"][kid] == "4.57 (–; 2.3)"
    (both,) = columns_of(
        tables.readme_table(write_run(tmp_path / "b.json", {"cat": {"0": old}, "bus": {"0": scores()}}))
    )
    assert (both["cat"][copies], both["bus"][copies]) == ("not measured", "42.0 % / 98 (3.4 %)")
    turkish = tables.readme_table(tmp_path / "b.json", turkish=True)
    assert "| ölçülmedi | % 42,0 / 98 (% 3,4) |" in turkish


def test_losses_count_for_the_weights_that_they_were_measured_of(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run.json", {"cat": three_seeds()}, checkpoint_sha256="ab", steps=20, guidance=1.5)
    losses = {"drawings": 29, "denoising": {"model": {"held_out": 0.2887, "training": 0.123}},
              "stop": {"constant": {"held_out": 0.4234, "training": None}}}  # fmt: skip
    for sha256, cells in (("ab", ["29", "0.289 (0.123)", "0.423"]), ("cd", None)):
        measured = {"categories": {"cat": losses | {"checkpoint_sha256": sha256}}}
        (tmp_path / "held_out_losses.json").write_text(json.dumps(measured), encoding="utf-8")
        page = tables.results_page(path)
        assert ("## Held-out losses" in page) == bool(cells)
        if cells:
            assert list(columns_of(page)[-1]["cat"].values()) == cells
    assert "(0, 1, 2), as shipped: 20 steps, guidance 1.5. In" in tables.readme_table(path)


def test_the_turkish_table_has_the_same_numbers_and_no_english(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run.json", {"cat": three_seeds(), "bus": {s: {} for s in "012"}})
    english, turkish = tables.readme_table(path), tables.readme_table(path, turkish=True)
    digits = [re.findall(r"\d+", "".join(re.findall(r"^\|.*", text, re.M))) for text in (english, turkish)]
    assert digits[0] == digits[1]
    assert list(columns_of(turkish)[0]) == ["kedi", "otobüs"]
    assert not re.search(r"\b(real|generated|over|not measured|strokes|training)\b", turkish)
    assert "ölçülmedi" in turkish


def test_published_figures_stand_in_the_page_of_results() -> None:
    published = ROOT / "results" / "published.json"
    assert (ROOT / "docs" / "RESULTS.md").read_text(encoding="utf-8") == tables.results_page(published)


# ------------------------------------------------------------------ figures as text


def test_figures_have_a_true_minus_never_minus_zero_and_never_a_deviation_of_zero() -> None:
    assert tables.figure({"floor": -0.0123}, "floor") == "−0.012"
    assert tables.figure({"value": -0.0000001}, "value") == "0.000"
    assert tables.figure({"value": None}, "value") == "not measured"
    assert tables.figure({"value": 0.9, "value_over_seeds": 0.004}, "value") == "0.900 ± 0.004"
    assert tables.figure({"value": 5, "value_over_seeds": 0.0}, "value") == "5.00"
    assert tables.beside_floor({"value": 1.24, "at_floor_n": None, "floor": None, "floor_n": 7}) == "1.24"
    found = [tables.count(values, "n") for values in ({"n": 12345}, {"n": 1499.6666}, {})]
    assert found == ["12,345", "1,499.7", "?"]


# ------------------------------------------------------------------ files


def checkout(folder: Path, text: str = "before\n<!-- results -->\nold\n<!-- /results -->\nafter\n") -> list[Path]:
    readmes = [folder / "README.md", folder / "README.tr.md"]
    for readme in readmes:
        readme.write_text(text, encoding="utf-8")
    return readmes


def test_readmes_keep_all_but_what_is_between_their_markers(tmp_path: Path) -> None:
    path = write_run(tmp_path / "results" / "published.json", {"cat": three_seeds()})
    readmes = checkout(tmp_path)
    for _ in range(2):
        tables.publish_tables(tmp_path)
        for readme, turkish in zip(readmes, (False, True), strict=True):
            between = tables.readme_table(path, turkish)
            expected = f"before\n<!-- results -->\n{between}<!-- /results -->\nafter\n"
            assert readme.read_text(encoding="utf-8") == expected
    assert stat.S_IMODE(readmes[0].stat().st_mode) == 0o644
    for text in ("", "<!-- results -->", "<!-- /results --><!-- results -->"):
        checkout(tmp_path, text)
        with pytest.raises(ValueError, match=r"README\.md: needs one"):
            tables.publish_tables(tmp_path)
        assert readmes[0].read_text(encoding="utf-8") == text
    readmes[0].unlink()
    with pytest.raises(FileNotFoundError, match=r"README\.md: no such file"):
        tables.publish_tables(tmp_path)
