"""Tables and the ROC picture of `studies.odd_drawings` and `studies.odd_pays`, as docs/ODD_DRAWINGS.md shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from oddity.damage import DAMAGES
from oddity.scores import DEFAULT, SCORES
from oddity.sheets import roc_picture
from reports.tables import markdown_table

Found = Mapping[str, Any]

SHOWN = ("recognisers", "neighbours", "mahalanobis", "autoencoder", "denoising", "ratio", "ratio_base")
"""Scores in the ROC picture."""
SCALES = {"kid_pictures": 1000, "kid_strokes": 1000, "two_sample_pictures": 1, "top1": 100}
"""Measures of what little models draw, and in which unit they are shown."""
COLUMNS = (("AUC", "auc"), ("AP", "average_precision"), ("FPR at 95 % TPR", "fpr_at_95_tpr"))


def _runs(found: Found, category: str | None = None) -> list[Any]:
    """Return the measures of every category and seed, or of one category and every seed."""
    return [entry["measures"] for key, entry in found.items() if key.split()[-1].isdigit()
            and category in (None, key.rpartition(" ")[0])]  # fmt: skip


def _rows(runs: Sequence[Any], test: str, name: str, key: str) -> list[list[float]]:
    """Return one measure of a score on a test in all runs that have it: value, low, high."""
    return [run[test][name][key] for run in runs if name in run[test]]


def categories_in(found: Found) -> list[str]:
    """Return the categories that were measured, in order."""
    return list(dict.fromkeys(key.rpartition(" ")[0] for key in found if key.split()[-1].isdigit()))


def _mean(rows: Sequence[Sequence[float]]) -> list[float]:
    """Return value, low and high of a measure, means over runs."""
    return np.mean(np.array(rows), axis=0).tolist()


def _cell(rows: Sequence[Sequence[float]], interval: bool = True) -> str:
    value, low, high = _mean(rows)
    return f"{value:.3f} ({low:.3f}–{high:.3f})" if interval else f"{value:.2f}"


def _rates(runs: Sequence[Any], test: str, name: str) -> str:
    tpr, tnr = (_mean(_rows(runs, test, name, side))[0] for side in ("tpr", "tnr"))
    return f"{tpr:.2f} / {tnr:.2f}"


def _tests_table(found: Found, test: str) -> str:
    """Return every score on one test, means over categories and seeds."""
    runs = _runs(found)
    names = sorted((name for name in SCORES if name in runs[0][test]),
                   key=lambda name: -_mean(_rows(runs, test, name, "auc"))[0])  # fmt: skip
    rows = [[SCORES[name].title + (" (default)" if name == DEFAULT else ""),
             *(_cell(_rows(runs, test, name, key), key == "auc") for _, key in COLUMNS),
             _rates(runs, test, name)] for name in names]  # fmt: skip
    return markdown_table([f"{test}: score", *(title for title, _ in COLUMNS), "TPR / TNR"], rows)


def _by_category(found: Found) -> str:
    """Return the default score on tests A and B by category."""
    rows = []
    for category in categories_in(found):
        runs = _runs(found, category)
        for test in ("A", "B"):
            sizes = f"{sum(run[test]['odd'] for run in runs)} / {runs[0][test]['true']}"
            rows.append([f"{category}, {test}", sizes, *(_cell([run[test][DEFAULT][key] for run in runs], key == "auc")
                         for _, key in COLUMNS), _rates(runs, test, DEFAULT)])  # fmt: skip
    return markdown_table(["default score", "N odd / true", *(title for title, _ in COLUMNS), "TPR / TNR"], rows)


def _unrecognised_table(found: Found) -> str:
    """Return test C."""
    rows = []
    for key, where in (("C all", "all categories"), ("C cat", "cat")):
        part = found.get(key, {})
        names = sorted((name for name in SCORES if name in part), key=lambda name: -part[name]["auc"][0])
        for name in names[:6]:
            value, low, high = part[name]["auc"]
            rows.append([f"{where}: {SCORES[name].title}", f"{part['odd']} / {part['true']}",
                         f"{value:.3f} ({low:.3f}–{high:.3f})", f"{part[name]['average_precision'][0]:.2f}",
                         f"{part[name]['fpr_at_95_tpr'][0]:.2f}",
                         f"{part[name]['tpr'][0]:.2f} / {part[name]['tnr'][0]:.2f}"])  # fmt: skip
    head = ["C: score", "N not recognised / recognised", *(title for title, _ in COLUMNS), "TPR / TNR"]
    return markdown_table(head, rows)


def _hidden_table(found: Found) -> str:
    """Return test D: AUC and average precision by category, means over seeds."""
    runs = _runs(found)
    names = sorted(runs[0]["D"], key=lambda name: -float(np.mean([run["D"][name]["auc"] for run in runs])))
    rows = []
    for name in names:
        cells = []
        for category in categories_in(found):
            own = [run["D"][name] for run in _runs(found, category)]
            auc, precision = (np.mean([each[key] for each in own]) for key in ("auc", "average_precision"))
            cells.append(f"{auc:.3f} / {precision:.2f}")
        rows.append([SCORES[name].title, *cells])
    return markdown_table(["D: AUC / average precision (chance 0.05)", *categories_in(found)], rows)


def _damage_table(found: Found) -> str:
    """Return test E: AUC of every score by damage, and how often the odd stroke is named."""
    runs = _runs(found)
    tests = [f"E: {kind}" for kind in DAMAGES]
    mean = {name: _mean([row for test in tests for row in _rows(runs, test, name, "auc")])[0]
            for name in SCORES if name in runs[0][tests[0]]}  # fmt: skip
    names = sorted(mean, key=lambda name: -mean[name])
    rows = [[SCORES[name].title, *(_cell(_rows(runs, test, name, "auc"), False) for test in tests)]
            for name in names]  # fmt: skip
    named = []
    for test in tests:
        own = [run[test] for run in runs if "stroke_named" in run[test]]
        shares = [float(np.mean([each[key] for each in own])) for key in ("stroke_named", "stroke_by_chance") if own]
        named.append(f"{100 * shares[0]:.0f} % ({100 * shares[1]:.0f} %)" if shares else "–")
    rows.append(["the right stroke is named (chance)", *named])
    return markdown_table(["E: AUC", *DAMAGES], rows)


def _confusion(found: Found) -> str:
    """Return what a file that is half foreign holds with the check and without, by category: test A, the default."""
    rows = []
    for category in categories_in(found):
        runs = _runs(found, category)
        tpr, tnr = (_mean([run["A"][DEFAULT][side] for run in runs])[0] for side in ("tpr", "tnr"))
        foreign = [(100 * share * (1 - tpr), 100 * (1 - share) * tnr) for share in (0.5, 0.1)]
        rows.append([category, *(f"{100 * odd / (odd + true):.1f} %" for odd, true in foreign),
                     f"{100 * (1 - tnr):.1f} %"])  # fmt: skip
    head = ["foreign left in a file", "50 % without the check", "10 % without the check", "true ones lost"]
    return markdown_table(head, rows)


def _filtered_table(pays: Found) -> str:
    """Return what rejecting does to generated drawings."""
    rows = []
    for key, entry in pays.items():
        if key.startswith("filtered "):
            for rate, row in entry.items():
                share = "all kept" if rate == "0" else f"{100 * float(rate):g} % false alarms"
                cells = [f"{row[side]:.3f}" if side in row else "–" for side in
                         ("two_sample_pictures", "two_sample_strokes", "two_sample_autoencoder")]  # fmt: skip
                rows.append([f"{key.partition(' ')[2]}, {share}", f"{100 * row['rejected']:.1f} %", *cells,
                             f"{1000 * row['kid_pictures']:.1f}", f"{100 * row['top1']:.0f} %"])  # fmt: skip
    return markdown_table(["generated", "thrown away", "two-sample, pictures", "two-sample, strokes",
                           "two-sample, autoencoder", "KID × 10³", "top-1"], rows)  # fmt: skip


def _cleaned_table(pays: Found) -> str:
    """Return what cleaning does to what little models learn: mean and deviation over training seeds."""
    rows = []
    for key, entry in pays.items():
        for kind in ("all", "cleaned", "random") if key.startswith("cleaned ") else ():
            left_out = 0 if kind == "all" else entry["odd"]
            cells = []
            for name, scale in SCALES.items():
                values = scale * np.array([row[name] for row in entry[kind]])
                digits = 2 if scale == 1 else 1
                cells.append(f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}")
            words = {"all": "all", "cleaned": "without the odd", "random": "without as many at random"}[kind]
            rows.append([f"{key.partition(' ')[2]}: {words}", f"{entry['training'] - left_out:,}", *cells])
    head = ["learned from", "drawings", "KID × 10³", "KID × 10³, strokes", "two-sample", "top-1, %"]
    return markdown_table(head, rows)


def all_tables(found: Found, pays: Found) -> dict[str, str]:
    """Return every table of the document, by the name of its place in it."""
    tables = {
        "A": _tests_table(found, "A"), "B": _tests_table(found, "B"), "categories": _by_category(found),
        "C": _unrecognised_table(found), "D": _hidden_table(found), "E": _damage_table(found),
        "confusion": _confusion(found), "filtered": _filtered_table(pays),
    }  # fmt: skip
    if any(key.startswith("cleaned ") for key in pays):
        tables["cleaned"] = _cleaned_table(pays)
    return tables


def roc(found: Found) -> Figure:
    """Return the ROC picture of tests A and B, from the scores of the first seed, a panel for each category."""
    panels = {}
    for category in categories_in(found):
        scores = found[f"{category} 0"]["scores"]
        for test in ("A", "B"):
            panels[f"{category}, {test}"] = {
                name: (scores[test][name], scores["true"][name])
                for name in SHOWN if name in scores["true"]
            }  # fmt: skip
    return roc_picture(panels)
