"""How well this project's scores agree with other libraries, on fixed random features, pictures and weights.

    python tests/agreement.py             # print the table
    python tests/agreement.py --write     # and keep it in results/agreement.json

Needs neither a network nor real drawings. A library that is not installed is left out and named. clean-fid,
torch-fidelity and prdc want torchvision and scikit-learn, of which nothing measured here is used; they are installed
without them, beside the environment:

    pip install --no-deps --upgrade --target .venv/cross-checks -r requirements/agreement.txt
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import importlib.metadata
import io
import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import scipy.linalg
import scipy.stats
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

import metrics  # noqa: E402
from drawings.embedded import embedded_drawings  # noqa: E402
from plumbing.files import write_atomically  # noqa: E402
from scoring import inception, official  # noqa: E402
from scoring.stroke_statistics import wasserstein_1  # noqa: E402

Array = np.ndarray
Row = dict[str, Any]
RESULTS = ROOT / "results" / "agreement.json"
CROSS_CHECKS = Path(sys.prefix) / "cross-checks"
SEED = 20
LIBRARIES = {"clean-fid": "cleanfid.fid", "prdc": "prdc", "torch-fidelity": "torch_fidelity"}


# ------------------------------------------------------------------ the other libraries


class _Empty(type):
    """The type of empty classes in which every name is an empty class, and so on."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Empty(name, (), {})


class _StandIn(ModuleType):
    """A module in which every name is an empty class: enough to import what is not used."""

    __getattr__ = _Empty.__getattr__


class _ToTensor:
    """torchvision's for float pictures: (H, W, C) to (C, H, W), values as they are."""

    def __call__(self, picture: Array) -> torch.Tensor:
        assert picture.dtype == np.float32
        return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def _pairwise_distances(x: Array, y: Array, metric: str, n_jobs: int) -> Array:
    from scipy.spatial.distance import cdist

    return cdist(x, y, metric)


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    """Let an import find the libraries installed for comparison, and empty modules for what they do not need."""
    names = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional")
    modules: dict[str, Any] = {name: _StandIn(name) for name in (*names, "sklearn", "sklearn.metrics")}
    modules["sklearn"].metrics = modules["sklearn.metrics"]
    modules["sklearn.metrics"].pairwise_distances = _pairwise_distances
    modules["torchvision"].transforms = modules["torchvision.transforms"]
    modules["torchvision.transforms"].ToTensor = _ToTensor
    missing = {name: module for name, module in modules.items() if not _is_installed(name.split(".")[0])}
    sys.modules.update(missing)
    sys.path.append(str(CROSS_CHECKS))
    try:
        yield
    finally:
        sys.path.remove(str(CROSS_CHECKS))
        for name in missing:
            del sys.modules[name]


def _is_installed(package: str) -> bool:
    try:
        importlib.import_module(package)
    except ImportError:
        return False
    return True


@functools.cache
def library(name: str) -> Any:
    """Return the module of LIBRARIES, or None where the library is not installed."""
    for context in (contextlib.nullcontext, _stand_ins):
        with context(), contextlib.suppress(ImportError):
            return importlib.import_module(LIBRARIES[name])
    return None


def versions() -> dict[str, str]:
    """Return the versions of everything that is compared, of those that are installed."""
    found = {}
    for name in ("numpy", "pillow", "scipy", "torch", *LIBRARIES):
        here = importlib.metadata.distributions(name=name, path=[*sys.path, str(CROSS_CHECKS)])
        if distribution := next(iter(here), None):
            found[name] = distribution.version
    return found


# ------------------------------------------------------------------ what is compared on


def features(n: int, m: int, d: int) -> tuple[Array, Array]:
    """Return two sets of correlated features with different means and spreads, (n, d) and (m, d), positive mostly."""
    rng = np.random.default_rng([SEED, n, m, d])
    mixing = rng.normal(size=(2, d, d)) / np.sqrt(d)
    a = rng.normal(size=(n, d)) @ mixing[0] + 2
    return a, rng.normal(size=(m, d)) @ (0.7 * mixing[0] + 0.5 * mixing[1]) + 2.3


def random_inception_state(seed: int = SEED) -> dict[str, torch.Tensor]:
    """Return a state dict for Inception-v3 in which every weight and statistic matters, with a classifier."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in inception.InceptionV3().state_dict().items()}
    state = {}
    for name, shape in shapes.items():
        if name.endswith("conv.weight"):  # He's: activations neither vanish nor explode
            state[name] = torch.randn(shape, generator=generator) * (2 / shape[1:].numel()) ** 0.5
        elif name.endswith(("bn.weight", "running_var")):
            state[name] = 0.5 + torch.rand(shape, generator=generator)
        else:
            state[name] = 0.2 * torch.randn(shape, generator=generator) if shape else torch.tensor(0)
    return state | {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}


def small_network() -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a quick stand-in for Inception: 16 random projections of the ink in 13x13 parts of the pictures."""
    weights = torch.randn(3 * 13 * 13, 16, generator=torch.Generator().manual_seed(SEED)) / 25

    def extract(pictures: torch.Tensor) -> torch.Tensor:
        assert pictures.shape[1:] == (3, 299, 299)
        assert pictures.dtype == torch.float32
        return torch.nn.functional.avg_pool2d(255 - pictures, 23).flatten(1) @ weights

    return extract


def sqrtm_distance(a: Array, b: Array) -> float:
    """Return the Fréchet distance as the literature writes it, by scipy's matrix root."""
    c_a, c_b = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(c_a @ c_b)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c_a + c_b - 2 * np.real(root)))


# ------------------------------------------------------------------ rows


def row(
    what: str, against: str, conditions: str, ours: Any, theirs: Any, bound: float, *, absolute: bool = False
) -> Row:
    """Return one line of the table: the largest deviation of our numbers from theirs, relative to their largest."""
    ours, theirs = np.atleast_1d(np.asarray(ours, np.float64)), np.atleast_1d(np.asarray(theirs, np.float64))
    deviation = float(np.abs(ours - theirs).max() / (1.0 if absolute else np.abs(theirs).max()))
    named = {"what": what, "against": against, "conditions": conditions}
    return named | {"deviation": deviation, "kind": "absolute" if absolute else "relative", "bound": bound}


# clean-fid averages float32 features, and adds up kernel values, in float32.
SINGLE_PRECISION = 1e-5


def frechet_rows() -> list[Row]:
    """Return how far the Fréchet distance lies from that of the others."""
    a, b = features(400, 300, 32)
    ours, conditions = metrics.frechet_distance(a, b), "N > d: 400 and 300 x 32"
    rows = [row("FID", "scipy.linalg.sqrtm", conditions, ours, sqrtm_distance(a, b), 1e-9)]
    if library("torch-fidelity"):
        module = importlib.import_module("torch_fidelity.metric_fid")
        sides = [module.fid_features_to_statistics(torch.from_numpy(x)) for x in (a, b)]
        theirs = module.fid_statistics_to_metric(*sides, verbose=False)[module.KEY_METRIC_FID]
        rows.append(row("FID", "torch-fidelity", conditions, ours, theirs, 1e-9))
    if library("clean-fid"):
        rows.append(row("FID", "clean-fid", conditions, ours, library("clean-fid").fid_from_feats(a, b), 1e-9))
    # the eigenvalues of a singular product that are 0 come out as some 1e-17 of the largest, their roots as some 1e-8
    a, b = features(40, 50, 64)
    ours, conditions = metrics.frechet_distance(a, b), "N < d: 40 and 50 x 64"
    return [*rows, row("FID", "scipy.linalg.sqrtm", conditions, ours, sqrtm_distance(a, b), 1e-6)]


def kernel_rows() -> list[Row]:
    """Return how far KID lies from that of the others on the same subsets."""
    rows = []
    real, generated = features(90, 40, 12)
    conditions = "unequal sizes: 90 and 40 x 12, same 100 subsets"
    ours = metrics.official_kernel_distance(real, generated, SEED)
    if library("torch-fidelity"):
        # it draws its first set first, clean-fid its second
        kid = importlib.import_module("torch_fidelity.metric_kid").kid_features_to_metric(
            torch.from_numpy(generated), torch.from_numpy(real), rng_seed=SEED, verbose=False, kid_subset_size=40,
            kid_subsets=100,
        )  # fmt: skip
        rows.append(row("KID, mean and deviation", "torch-fidelity", conditions, ours, list(kid.values()), 1e-10))
    if library("clean-fid"):
        np.random.seed(SEED)  # noqa: NPY002 - the generator that clean-fid draws from
        theirs = library("clean-fid").kernel_distance(real, generated)
        rows.append(row("KID", "clean-fid", conditions, ours[0], theirs, 1e-10))
    return rows


def neighbour_rows() -> list[Row]:
    """Return how far density and coverage, and Wasserstein-1, lie from those of the others."""
    rows = []
    if library("prdc"):
        real, generated = features(1100, 700, 16)
        theirs = library("prdc").compute_prdc(real, generated, nearest_k=5)
        ours, conditions = metrics.density_and_coverage(generated, real, k=5), "k = 5: 1100 real, 700 generated x 16"
        pair = [theirs["density"], theirs["coverage"]]
        rows.append(row("density, coverage", "prdc", conditions, ours, pair, 1e-12, absolute=True))
    rng = np.random.default_rng(SEED)
    a, b = rng.integers(0, 9, 400), rng.integers(2, 12, 77)
    theirs = scipy.stats.wasserstein_distance(a, b)
    conditions = "counts with ties: 400 and 77"
    return [*rows, row("Wasserstein-1", "scipy.stats", conditions, wasserstein_1(a, b), theirs, 1e-12)]


def picture_rows() -> list[Row]:
    """Return how far resizing and the whole path from PNG files to FID and KID lie from clean-fid's."""
    if not library("clean-fid"):
        return []
    resize = importlib.import_module("cleanfid.resize").build_resizer("clean")
    noise = np.random.default_rng(SEED).integers(0, 256, (256, 256, 3), np.uint8)
    ours = official.clean_resize(noise)
    rows = [row("resize", "clean-fid", "noise, 256x256", ours, resize(noise), 0.0, absolute=True)]

    drawings = embedded_drawings("cat", 60)
    network, fid = small_network(), library("clean-fid")
    real, generated = drawings[:34], [[stroke[::-1] // 2 + 60 for stroke in d] for d in drawings[34:]]
    ours = [
        official.describe(official.pictures_of_drawings(side), official.Network(network, "small", None), 7).features
        for side in (real, generated)
    ]
    options = {"device": torch.device("cpu"), "num_workers": 0, "verbose": False}
    theirs_build, fid.build_feature_extractor = fid.build_feature_extractor, lambda *_, **__: network
    try:
        with tempfile.TemporaryDirectory() as folder:
            folders = [f"{folder}/{name}" for name in ("real", "generated")]
            for side, path in zip((real, generated), folders, strict=True):
                official.write_pictures(side, Path(path))
            theirs_fid = fid.compute_fid(*folders, **options)
            np.random.seed(SEED)  # noqa: NPY002 - the generator that clean-fid draws from
            theirs_kid = fid.compute_kid(*folders, **options)
    finally:
        fid.build_feature_extractor = theirs_build
    conditions = "34 and 26 drawings as PNG, 16 features"
    value = metrics.frechet_distance(*ours)
    rows.append(row("FID, whole path", "clean-fid compute_fid", conditions, value, theirs_fid, SINGLE_PRECISION))
    value, _ = metrics.official_kernel_distance(*ours, SEED)
    conditions += ", same 100 subsets"
    rows.append(row("KID, whole path", "clean-fid compute_kid", conditions, value, theirs_kid, SINGLE_PRECISION))
    return rows


def inception_rows() -> list[Row]:
    """Return how far our Inception-v3 lies from torch-fidelity's with the same random weights."""
    if not library("torch-fidelity"):
        return []
    pictures = torch.from_numpy(np.random.default_rng(SEED).integers(0, 256, (2, 3, 299, 299), np.uint8))
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder) / "random.pth"
        torch.save(random_inception_state(), path)
        kind = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3").FeatureExtractorInceptionV3
        theirs = kind("inception-v3-compat", ["2048"], str(path))(pictures)[0]
        ours = inception.load_inception(path)(pictures)
    # both float32, 47 layers of sums of up to 4,032 products, added up in another order
    return [row("Inception features", "torch-fidelity", "2 pictures of noise, random weights", ours, theirs, 1e-5)]


def rows() -> list[Row]:
    """Return the whole table. Takes some 10 s on one core."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):  # others' remarks on singular matrices
        warnings.simplefilter("ignore")
        return [*frechet_rows(), *kernel_rows(), *neighbour_rows(), *picture_rows(), *inception_rows()]


def markdown(table: Sequence[Row]) -> str:
    """Return rows as a table for a document."""
    lines = ["| score | against | on | deviation | at most |", "|---|---|---|---|---|"]
    for line in table:
        shown = "0" if line["deviation"] == 0 else f"{line['deviation']:.0e} {line['kind']}"
        bound = f"{line['bound']:.0e}" if line["bound"] else "0"
        lines.append(f"| {line['what']} | {line['against']} | {line['conditions']} | {shown} | {bound} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> list[Row]:
    """Print the table; with --write keep it, with its conditions, in results/agreement.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write results/agreement.json")
    arguments = parser.parse_args(argv)
    table = rows()
    sys.stdout.write(markdown(table) + "\n")
    if absent := [name for name in LIBRARIES if library(name) is None]:
        sys.stdout.write(f"not installed: {', '.join(absent)}\n")
    if arguments.write:
        if absent:
            parser.exit(1, f"agreement.py: error: {', '.join(absent)} not installed, nothing written\n")
        content = {"conditions": {"seed": SEED, "versions": versions()}, "rows": table}
        write_atomically(RESULTS, json.dumps(content, indent=2) + "\n")
    return table


if __name__ == "__main__":
    main()
