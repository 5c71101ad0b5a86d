"""Laws of what is learned from and compared with: whitening, and sides of a split that never meet."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import DATA_DIR, TINY

import sample_diffusion
import training_data
from config import SampleConfig, TrainConfig
from dataset_utils import CategoryData, learned_from, load_category, write_ndjson
from diffusion_model import StrokeDiffusionModel, TrainedModel, load_weights, save_weights
from drawings.batches import StrokeSet, stroke_set
from drawings.embedded import embedded_drawings
from drawings.packed import PackedDrawings, local_sides
from metrics import kernel_distance
from plumbing.run_folder import WEIGHTS_FILE
from scoring.copies import TrainingStrokes, stroke_copies
from scoring.reference import describe_drawings
from stroke_tokens import Whitening, points_to_vectors, vectors_to_points
from studies import train_features, tune_sampling
from studies.held_out_losses import losses_of
from train_diffusion import prepare, train
from training_data import DataChoice, load_training_data

# ---- whitening


def test_whitening_is_principal_components_at_scale_root_of_variance_and_noise_of_the_hand() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(500, 6)) * [2, 1, 0.5, 0.1, 0.02, 0.004]) @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    vectors += rng.normal(size=6)
    whitening = Whitening.fit(torch.from_numpy(vectors).float())
    centred = vectors - vectors.mean(axis=0)
    variance, basis = np.linalg.eigh(centred.T @ centred / 499)
    np.testing.assert_allclose(whitening.mean, vectors.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(whitening.scale, np.sqrt(variance[::-1] + 0.02**2), rtol=1e-4)
    np.testing.assert_allclose(np.abs(np.diag(basis[:, ::-1].T @ whitening.basis.numpy())), 1, atol=1e-3)
    largest = np.abs(whitening.basis.numpy()).argmax(axis=0)
    assert (whitening.basis.numpy()[largest, np.arange(6)] > 0).all()  # a component's sign is not the machine's choice
    tokens = (centred @ whitening.basis.numpy()) / whitening.scale.numpy()
    np.testing.assert_allclose(whitening.encode(torch.from_numpy(vectors).float()), tokens, atol=2e-3)


def test_a_number_that_never_changes_is_all_noise_of_the_hand() -> None:
    vectors = torch.zeros(50, 4)
    vectors[:, 0] = torch.linspace(-1, 1, 50)
    scale = Whitening.fit(vectors).scale
    np.testing.assert_allclose(scale[1:], 0.02, rtol=1e-5)
    assert scale[0].item() == pytest.approx((vectors[:, 0].var() + 0.02**2).sqrt().item(), rel=1e-5)


def test_the_canvas_is_minus_one_to_one() -> None:
    points = np.array([[[0.0, 255.0], [127.5, 51.0]]], np.float32)
    torch.testing.assert_close(points_to_vectors(points), torch.tensor([[-1.0, 1.0, 0.0, -0.6]]))
    np.testing.assert_allclose(vectors_to_points(torch.tensor([[-1.0, 1.0, 0.0, -0.6]])), points, atol=1e-4)


# ---- sides that never meet

NAMES = ("cat", "bus", "rabbit")


def contents(drawings: Iterable[list[np.ndarray]]) -> set[bytes]:
    return {b"".join(len(s).to_bytes(4, "little") + s.astype(np.uint8).tobytes() for s in d) for d in drawings}


def contents_of(strokes: StrokeSet) -> set[bytes]:
    pairs = zip(strokes.drawings, strokes.rows, strict=True)
    return contents(packed.drawing(row) for packed, rows in pairs for row in rows)


@pytest.fixture(scope="module")
def sides() -> dict[str, CategoryData]:
    return {name: load_category(name, data_dir=DATA_DIR, split="local") for name in NAMES}


def test_the_local_split_holds_some_15_percent_out(sides: dict[str, CategoryData]) -> None:
    for data in sides.values():
        total = len(data.train) + len(data.test)
        assert len(data.test) / total == pytest.approx(0.15, abs=4 * (0.15 * 0.85 / total) ** 0.5)
        assert not contents(data.train) & contents(data.test)


def test_the_local_split_made_anew_is_the_one_at_hand(sides: dict[str, CategoryData]) -> None:
    """Drawings are kept packed by their side, so that a change of the split would long go unseen."""
    for data in sides.values():
        count, together = len(data.train), PackedDrawings.from_drawings([*data.train, *data.test])
        train, test = local_sides(together)  # a drawing's line is its place in the list
        assert train.lines.tolist() == list(range(count))
        assert test.lines.tolist() == list(range(count, len(together)))


def test_a_training_has_the_training_side_of_all_and_holds_out_the_test_side_of_its_targets(
    sides: dict[str, CategoryData],
) -> None:
    """No test drawing of a companion either: the next training may have it as a target."""
    config = TrainConfig(category="cat,rabbit", companions="bus,cat")
    data = load_training_data(config, TINY, DataChoice(DATA_DIR, "local"), ())
    every_test = set().union(*(contents(side.test) for side in sides.values()))
    learned, held_out = contents_of(data.train), contents_of(data.held_out)
    assert not learned & every_test
    short = [contents(d for d in side.train if len(d) <= TINY.max_strokes) for side in sides.values()]
    assert learned == set().union(*short)
    tests = contents(d for name in ("cat", "rabbit") for d in sides[name].test if len(d) <= TINY.max_strokes)
    assert held_out == tests
    assert [data.categories[i] for i in data.targets] == ["cat", "rabbit"]
    assert [data.categories[i] for i in data.train.category] == ["cat", "rabbit", "bus"]
    assert [data.categories[i] for i in data.held_out.category] == ["cat", "rabbit"]


def test_a_relabelled_category_trains_as_its_target_and_its_drawings_count_as_learned_from(
    sides: dict[str, CategoryData],
) -> None:
    config = TrainConfig(category="cat", companions="rabbit", relabelled="bus=cat")
    data = load_training_data(config, TINY, DataChoice(DATA_DIR, "local"), ())
    assert data.categories == ("cat", "rabbit")
    told = dict(zip(["cat", "rabbit", "bus"], data.train.category.tolist(), strict=True))
    assert told == {"cat": 0, "rabbit": 1, "bus": 0}
    few = [len(d) for d in sides["bus"].train if len(d) <= TINY.max_strokes]
    assert data.train.sizes[2] == len(few)
    # also where a later training begins from that one
    conditions = {"train": {"relabelled": ""}, "lineage": [{"train": {"relabelled": "bus=cat, dog=rabbit"}}, {}]}
    whitening = Whitening.fit(data.train.sample_vectors())
    trained = TrainedModel(StrokeDiffusionModel(TINY, 2), whitening, ("cat",), conditions)
    assert trained.trained_as("cat") == ["bus"]
    every = contents(learned_from(sides["cat"], trained.trained_as("cat"), DATA_DIR))
    assert every == contents(sides["cat"].train) | contents(sides["bus"].train)


@pytest.mark.parametrize("pairs", ["bus", "bus=dog", "cat=cat", "bus=cat=cat", "zebu=cat"])
def test_what_cannot_be_relabelled_is_said(pairs: str) -> None:
    with pytest.raises(ValueError, match=r"--relabelled has|unknown category"):
        load_training_data(TrainConfig(category="cat", relabelled=pairs), TINY, DataChoice(DATA_DIR, "local"), ())


def test_split_and_choice_of_drawings_reach_every_category(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def recorded(name: str, **conditions: object) -> CategoryData:
        asked.append((name, conditions["split"], conditions["recognized_only"], conditions["data_dir"]))
        return load_category(name, data_dir="embedded")

    monkeypatch.setattr(training_data, "load_category", recorded)
    config = TrainConfig(category="cat", companions="bus")
    load_training_data(config, TINY, DataChoice("embedded", "leak-free", recognized_only=True), ())
    assert asked == [(name, "leak-free", True, "embedded") for name in ("cat", "bus")]


def test_the_whitening_is_of_training_strokes_and_fine_tuning_keeps_that_of_its_beginning(
    tiny_model: TrainedModel, tmp_path: Path
) -> None:
    choice, config = DataChoice(DATA_DIR, "local"), TrainConfig(category="bus")
    run = prepare(config, TINY, choice, None, tmp_path / "new", torch.device("cpu"))
    own = Whitening.fit(run.data.train.sample_vectors())
    init = tmp_path / "init.safetensors"
    save_weights(init, tiny_model)
    tuned = prepare(config, TINY, choice, init, tmp_path / "tuned", torch.device("cpu"))
    for name in ("mean", "basis", "scale"):
        assert torch.equal(getattr(run.whitening, name), getattr(own, name))
        assert torch.equal(getattr(tuned.whitening, name), getattr(tiny_model.whitening, name))
    assert not torch.allclose(tuned.whitening.scale, run.whitening.scale, rtol=1e-3)
    expected = {name: tensor.bfloat16().float() for name, tensor in tiny_model.model.state_dict().items()}
    for name, tensor in tuned.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def test_choices_are_made_by_validation_drawings_and_copies_counted_in_training_drawings(
    tiny_model: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sides: dict[str, CategoryData]
) -> None:
    class Seen(Exception):
        """What is to be seen has been seen."""

    def recorded(ways, strengths, guides, judge, n):
        assert contents(judge.real) == contents(sides["cat"].validation)
        assert judge.training.points.tolist() == TrainingStrokes(list(sides["cat"].train)).points.tolist()
        assert judge.losses(tiny_model) == {"denoising": expected[0], "stop": expected[1]}
        raise Seen

    model = TrainedModel(tiny_model.model, tiny_model.whitening, tiny_model.categories, {"data": ["embedded"]})
    path = str(tmp_path / "tiny.safetensors")
    save_weights(Path(path), model)
    form = ([0], tiny_model.model.config.num_points, tiny_model.model.config.max_strokes)
    held_out = stroke_set([sides["cat"].validation], *form)
    expected = [round(x, 5) for x in losses_of(tiny_model.model, tiny_model.whitening, held_out, 1000)]
    monkeypatch.setattr(tune_sampling, "tried", recorded)
    with pytest.raises(Seen):
        tune_sampling.main(
            ["--checkpoint", path, "--guide", path, "--category", "cat", "--data-dir", DATA_DIR, "--split", "local",
             "--out", str(tmp_path / "out.safetensors")]
        )  # fmt: skip


def test_tuning_draws_as_the_way_says_and_compares_with_what_it_is_given(
    tiny_model: TrainedModel, monkeypatch: pytest.MonkeyPatch, sides: dict[str, CategoryData]
) -> None:
    drawings = [[np.array([[0, 0], [k, 255]], np.uint8)] * (1 + k % 3) for k in range(12)]
    asked = []

    def drawn(trained: TrainedModel, category: str, config: SampleConfig) -> sample_diffusion.Sampled:
        asked.append((category, config.n, config.seed, config.guidance, config.steps))
        return sample_diffusion.Sampled(drawings, {})

    monkeypatch.setattr(tune_sampling, "sample", drawn)
    few = replace(sides["cat"], train=PackedDrawings.from_drawings(drawings), validation=sides["rabbit"].validation)
    judge = tune_sampling.Judge(few, list(few.train))
    found = judge.figures(tiny_model, SampleConfig(n=12, seed=tune_sampling.SEED, guidance=2.5))
    assert asked == [("cat", 12, tune_sampling.SEED, 2.5, 20)]
    assert tune_sampling.SEED > 1000  # figures are published of seeds from 0 on
    features = describe_drawings(drawings, judge.loaded).features
    expected, _ = kernel_distance(features, judge.features, seed=tune_sampling.SEED)
    assert (found["guidance"], found["kid"]) == (2.5, pytest.approx(expected, abs=1e-6))
    assert (found["strokes"], found["copies"]) == (2.0, stroke_copies(drawings, judge.training)["share"])


def test_what_copies_is_not_chosen_and_of_the_others_the_lowest_kid_is() -> None:
    ways = ((0.1, 0.4), (0.3, 0.02), (0.2, 0.03), (0.5, 0.0), (0.9, 0.1))
    rows = [{"kid": kid, "copies": copies} for kid, copies in ways]
    assert [row["kid"] for row in tune_sampling.best_first(rows, 0.03)] == [0.2, 0.3, 0.5, 0.9, 0.1]


def test_every_share_strength_and_guide_is_tried(tiny_model: TrainedModel) -> None:
    class Judge:
        def losses(self, trained):
            return {"stop": trained}

        def figures(self, trained, config):
            return {"guidance": config.guidance, "guide": trained.guide is not None}

    ways = [(share, replace(tiny_model, conditions={"share": share})) for share in (0.5, 1.0)]
    rows = tune_sampling.tried(ways, [1.0, 2.0], (None, tiny_model), Judge(), 4)
    assert [(row["share"], row["guidance"], row["guide"]) for row in rows] == [
        (share, *way) for share in (0.5, 1.0) for way in ((1.0, False), (2.0, False), (2.0, True))
    ]
    assert [row["stop"] is way for row, (_, way) in zip(rows, [way for way in ways for _ in range(3)], strict=True)]


def test_weights_between_start_and_end_are_on_the_line_between_them(tiny_model: TrainedModel) -> None:
    start = replace(tiny_model, model=StrokeDiffusionModel(tiny_model.model.config, len(tiny_model.categories)))
    assert tune_sampling.between(start, tiny_model, 1.0) is tiny_model
    for share in (0.0, 0.25):
        mixed = tune_sampling.between(start, tiny_model, share).model.state_dict()
        for name, own in tiny_model.model.state_dict().items():
            torch.testing.assert_close(mixed[name], (1 - share) * start.model.state_dict()[name] + share * own)
    other = replace(start, whitening=replace(start.whitening, mean=start.whitening.mean + 0.01))
    with pytest.raises(ValueError, match="stroke tokens differ"):
        tune_sampling.between(other, tiny_model, 0.5)


def test_an_average_has_the_trainings_of_both_behind_it(tiny_model: TrainedModel) -> None:
    first, family, own = {"step": 1}, {"step": 2, "train": {"relabelled": "bus=cat"}}, {"step": 3}
    start = replace(tiny_model, conditions={**family, "lineage": [first]})
    trained = replace(tiny_model, conditions={**own, "lineage": [first]})
    found = tune_sampling.between(start, trained, 0.5)
    assert found.conditions == {**own, "lineage": [first, family]}
    assert found.trained_as("cat") == ["bus"]
    assert tune_sampling.between(replace(start, conditions=first), trained, 0.5).conditions == trained.conditions


def test_a_stop_head_that_is_too_sure_is_scaled_and_shifted_to_fit(tiny_model: TrainedModel) -> None:
    data = load_category("cat", data_dir="embedded")
    config = tiny_model.model.config
    held_out = stroke_set([data.validation], [0], config.num_points, config.max_strokes)
    best = tune_sampling.calibrated(tiny_model, held_out)
    sure = copy.deepcopy(tiny_model.model)
    sure.stop.weight.data.mul_(7)
    sure.stop.bias.data.mul_(7).add_(2)
    again = tune_sampling.calibrated(replace(tiny_model, model=sure), held_out)
    losses = [losses_of(each, tiny_model.whitening, held_out, 1000)[1]
              for each in (sure, tiny_model.model, best.model, again.model)]  # fmt: skip
    assert losses[0] > losses[1] > losses[2]
    assert losses[3] == pytest.approx(losses[2], abs=1e-4)  # any line of the logits leads to the same
    weights = best.model.state_dict()
    for name, tensor in tiny_model.model.state_dict().items():
        assert name.startswith("stop.") or torch.equal(tensor, weights[name])


def test_the_feature_network_learns_from_training_drawings_and_is_measured_on_held_out_ones(
    sides: dict[str, CategoryData], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Measured(Exception):
        """What is to be seen has been seen."""

    def at_hand(name: str, **conditions: object) -> CategoryData:
        assert conditions["split"] == "local"
        return sides[name]

    def learn(config, drawings, *rest):
        assert [part is sides[name].train for name, part in zip(sorted(NAMES), drawings, strict=True)] == [True] * 3
        return "network", [], 0.0

    def measure(network, classes, drawings):
        assert (network, classes) == ("network", sorted(NAMES))
        assert [part is sides[name].test for name, part in zip(classes, drawings, strict=True)] == [True] * 3
        raise Measured

    for name, stand_in in (("load_category", at_hand), ("train", learn), ("measured", measure)):
        monkeypatch.setattr(train_features, name, stand_in)
    for name in NAMES:
        (tmp_path / f"{name}.ndjson").touch()
    with pytest.raises(Measured):
        train_features.main(["--data-dir", str(tmp_path), "--out", str(tmp_path / "network.safetensors")])


@pytest.mark.parametrize("count", [2, 5])
def test_any_handful_of_drawings_trains_also_where_none_or_all_would_be_held_out(count: int, tmp_path: Path) -> None:
    """The drawings i, of two points, whose hash holds them out are 6, 7, 12 ...: see the test of the local split."""
    for numbers in (range(count), (6, 7, 12, 43, 48)[:count]):
        data = tmp_path / str(numbers[0])
        data.mkdir()
        write_ndjson(data / "cat.ndjson", [[[[i, 0], [0, i]]] for i in numbers], word="cat")
        choice, config = DataChoice(str(data)), TrainConfig(category="cat", steps=1, sample_every=0)
        run = prepare(config, TINY, choice, None, data / "run")
        assert (len(run.data.train), len(run.data.held_out)) == (count, 0)
        assert "no drawing is held out, so there are no validation losses" in run.data.description
        train(run)
        assert load_weights(data / "run" / WEIGHTS_FILE).conditions["train_drawings"] == {"cat": count}


def test_where_every_drawing_is_too_long_that_is_the_reason(tmp_path: Path) -> None:
    write_ndjson(tmp_path / "cat.ndjson", [[[[i, 0]]] * 99 for i in range(4)], word="cat")
    with pytest.raises(ValueError, match=r"none of \d training drawings has at most --max-strokes 12 strokes"):
        load_training_data(TrainConfig(category="cat"), TINY, DataChoice(str(tmp_path)), ())


def test_a_category_that_nobody_trained_begins_as_the_one_that_its_name_speaks_of(
    tmp_path: Path, tiny_model: TrainedModel
) -> None:
    """The rows of the known ones, and of no category, stay; so do all other weights."""
    save_weights(tmp_path / "tiny.safetensors", tiny_model, torch.float32)
    names = ("my cat", "bizim kedi ş", "ねこ")
    for name in names:
        write_ndjson(tmp_path / f"{name}.ndjson", embedded_drawings("cat", 5), word=name)
    config = TrainConfig(category=",".join(names), steps=1, sample_every=0)
    run = prepare(config, TINY, DataChoice(str(tmp_path)), tmp_path / "tiny.safetensors", tmp_path / "run")
    assert run.data.categories == ("cat", "bus", *names)
    cat, bus, mine, ours, other, null = run.model.category.weight.detach()
    before = tiny_model.model.state_dict()
    for row, wanted in ((cat, 0), (bus, 1), (mine, 0), (ours, 0), (null, 2)):
        assert torch.equal(row, before["category.weight"][wanted])
    assert torch.allclose(other, (cat + bus) / 2)
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items() if name in before
               and name != "category.weight")  # fmt: skip
    train(run)
    trained = load_weights(tmp_path / "run" / WEIGHTS_FILE)
    assert [trained.category_id(name) for name in names] == [2, 3, 4]
    with pytest.raises(ValueError, match="draws my cat, bizim kedi ş, ねこ, not 'cat'"):
        trained.category_id("cat")
