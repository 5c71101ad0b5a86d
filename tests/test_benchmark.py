"""The benchmark measures what it says: counted products, fitted exponents, tables that are the committed figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from test_readme import commands, parse

from studies import benchmark, benchmark_growth, benchmark_limits, performance_tables
from studies.benchmark_growth import Curve
from studies.benchmark_limits import MatrixProducts
from studies.rival_samplers import UNET_POINTS, PointLSTM, WholeDrawingUNet

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "results" / "benchmark.json"


def test_every_matrix_product_is_recorded_with_its_shape_and_computed_as_often() -> None:
    layer, x = torch.nn.Linear(5, 7), torch.randn(2, 3, 5)
    products = MatrixProducts()
    with products:
        layer(x).sum().backward()
        with torch.inference_mode():
            layer(x)
        torch.bmm(x, x.transpose(1, 2))
    assert sum(products.counts.values()) == 4  # forward, gradient of the weights, forward again, one of a batch
    assert products.operations == 2 * (6 * 5 * 7 * 3 + 2 * 3 * 5 * 3)
    again = MatrixProducts()
    with again:
        products.compute()
    assert again.counts == products.counts


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_curve_is_that_of_its_large_sizes(exponent: float) -> None:
    sizes = [1, 10, 100, 1_000, 10_000]
    curve = Curve("x", "drawings", "s", sizes, [0.5 + 3e3 * size**exponent for size in sizes])
    assert curve.exponent == pytest.approx(exponent, abs=0.01)


def test_sizes_grow_by_a_factor_from_the_first_to_the_last() -> None:
    assert benchmark_growth.powers(1000, 1_000_000, 10) == [1_000, 10_000, 100_000, 1_000_000]
    assert benchmark_growth.powers(3, 4, 10) == [3, 4]


def test_a_repeated_file_has_as_many_drawings_and_bytes_as_asked(tmp_path: Path) -> None:
    lines = [b"[1]\n", b"[22]\n"]
    assert benchmark_limits.repeated_file(tmp_path / "a", lines, num_drawings=5).read_bytes().count(b"\n") == 5
    assert 20 <= benchmark_limits.repeated_file(tmp_path / "b", lines, num_bytes=20).stat().st_size < 25


def test_the_other_ways_to_draw_are_of_their_published_sizes_and_draw() -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        points = PointLSTM().draw(3, 4, generator)
        drawing = WholeDrawingUNet().draw(1, 2, generator)
    assert points.shape == (3, 4, 5)
    assert torch.isfinite(points).all()
    assert (points[..., 2:].sum(-1) == 1).all()
    assert drawing.shape == (1, 3, UNET_POINTS)
    assert torch.isfinite(drawing).all()
    assert benchmark_growth.parameters_of(PointLSTM()) == 4 * 512 * (5 + 128 + 512 + 2) + 513 * 123


def test_the_plan_follows_from_its_constants() -> None:
    measured = {"json_bytes_per_drawing": 600.0, "packed_bytes_per_drawing": 200.0, "packed_drawings_per_second": 5e4,
                "batched_drawings_per_second": 4e4, "operations_per_drawing": 1e9, "parameters": 7e6}  # fmt: skip
    planned = performance_tables.plan(measured)
    assert planned["packed_gigabytes"] == pytest.approx(10)
    assert planned["packing_minutes"] == pytest.approx(1000 / performance_tables.CORES / 60)
    operations = performance_tables.PASSES * 5e16
    gpus = performance_tables.GPUS * performance_tables.GPU_OPERATIONS
    assert planned["training_minutes"] == pytest.approx(operations / gpus / 60)


def test_some_parts_are_measured_and_written_through_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = benchmark.main(["--only", "reading,tokens,second-start,memory,scores,rendering,plan", "--scale", "0.002",
                           "--data-dir", "embedded", "--out", str(tmp_path)])  # fmt: skip
    found = json.loads(path.read_text(encoding="utf-8"))
    assert [row["what"] for row in found["rows"]] == [
        "ndjson to packed points", "packed points to stroke tokens", "second start, cached", "memory of loading",
        "rendering for features, 64 px", "FID and KID, 256 features", "FID and KID, 2048 features",
    ]  # fmt: skip
    assert all(row["figure"] > 0 for row in found["rows"])
    assert found["constants"]["operations_per_drawing"] > 1e6
    assert found["conditions"]["drawings"] == "embedded drawings"
    shown = capsys.readouterr().out
    assert performance_tables.tables(found).strip() in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--scale", "0"], "--scale is 0"),
        (["--only", "tokens,speed"], "--only names 'speed'"),
        (["--publish", "--only", "tokens"], "--publish needs all parts"),
        (["--data-dir", "no/such/folder"], "no such folder"),
    ],
)
def test_a_wrong_command_is_refused_before_anything_is_measured(words: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        benchmark.main([*words, "--out", str(tmp_path)])


def test_the_page_shows_the_committed_figures() -> None:
    start, end = performance_tables.MARKERS
    page = (ROOT / "PERFORMANCE.md").read_text(encoding="utf-8")
    between = page.split(start)[1].split(end)[0]
    assert between.strip() == performance_tables.tables(json.loads(PUBLISHED.read_text(encoding="utf-8"))).strip()


def test_every_command_of_the_page_parses() -> None:
    found = commands((ROOT / "PERFORMANCE.md").read_text(encoding="utf-8"), "python")
    assert {words[0] for words in found} == {"benchmark.py", "pack_drawings.py", "train_diffusion.py"}
    for words in found:
        parse(words)


def test_committed_figures_are_whole_and_nothing_grows_worse_than_drawings() -> None:
    found = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert found["conditions"]["scale"] == 1
    assert {row["met"] for row in found["rows"]} <= {True, False}
    assert len(found["rows"]) == 20
    assert len(found["side_by_side"]) == 5
    # 0.15 for noise; FID and KID read every pair of drawings up to the size of their subsets, see the page
    over_drawings = [curve for curve in found["curves"] if curve["over"] == "drawings"]
    assert len(over_drawings) == 7
    assert all(curve["exponent"] < 1.15 for curve in over_drawings)
    for curve in found["curves"]:
        kept = {key: value for key, value in curve.items() if key != "exponent"}
        assert curve["exponent"] == pytest.approx(Curve(**kept).exponent)
        assert np.all(np.diff(curve["sizes"]) > 0)
