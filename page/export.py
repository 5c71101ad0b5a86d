"""The page as a folder that any web host can serve: its files, the networks as ONNX, and ONNX Runtime from npm.

A network is written as one step of what sampling does, and the loop over steps and strokes is written anew in
JavaScript (engine/sampler.js and engine/worker.js, to be read beside diffusion_process.py and sample_diffusion.py):

    history    one more stroke, caches  ->  c_k, its modulation, the stop logit, longer caches
    times      times t                  ->  the part of the denoiser's modulation that all strokes share
    denoiser   x_t, modulations, caches ->  v_hat
    recogniser pictures                 ->  the probability of every name

A step computes exactly what `diffusion_model` computes, from the same float32 weights: they are stored in the two bytes
of the checkpoints and widened when the file is loaded. Networks and runtime are packed with gzip, which the page undoes
itself: so they are small on hosts that pack nothing, too.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import gzip
import hashlib
import importlib.util
import json
import logging
import os
import shutil
import subprocess
import tarfile
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from config import ATTRIBUTION, CATEGORIES, NAMES_PATH, NETWORK_PATH, OWN_MODELS, shipped_checkpoint
from diffusion_model import Cache, HistoryState, StrokeDiffusionModel, load_with_guide
from diffusion_process import cosine_alpha_bar
from oddity.strokes import THRESHOLDS, shipped_threshold
from plumbing.command_line import check_folder
from plumbing.files import write_atomically
from plumbing.tensor_files import in_eight_bits
from scoring.feature_network import SIDE, Network, load_feature_network
from scoring.placement import probing_noise
from stroke_tokens import polyline_fit

SOURCES = Path(__file__).resolve().parent
WORDS, WORD_TABLES = SOURCES.parent / "words", ("grammar.json", "vocabulary.tsv")
SITE_FILE = "site.json"
SHIPPED = (*OWN_MODELS, "base")
"""Whose weights are on the page: four categories have their own, the base draws all others of its 345."""
RUNTIME = "onnxruntime-web@1.30.0"
RUNTIME_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME_FILES = {"ort.wasm.bundle.min.js": "ort.wasm.bundle.min.mjs",
                 "ort-wasm-simd-threaded.wasm.gz": "ort-wasm-simd-threaded.wasm"}  # fmt: skip
"""Names on the page, and in the package: many web hosts do not know .mjs, and browsers refuse what they say of it."""
NETWORKS_FORM = 6
"""Counted up whenever this file, or the code that it exports, writes other networks from the same weights."""
SMALLEST_STORED = 16_384
"""Numbers of a weight from which on it is stored in two bytes each: smaller ones the exporter would widen itself, into
constants that no longer bear the weight's name."""


# ------------------------------------------------------------------ the folder


def build_site(out: Path, say: Callable[[str], object] = print) -> bool:
    """Put the page together in the folder `out`; return False where it is there already as it would be made now.

    The weights of each category and of their guide become ONNX files, whose names carry a hash of their content; where
    only the browser's files have changed, the networks stay. Nothing is overwritten or removed but what an earlier
    build wrote. Raises ValueError, in one line, without the packages of requirements/page.txt, without npm or the
    network, and where the folder holds something else.
    """
    before, networks_version = _site(out), _version_of_networks()
    sources = _source_files()
    version = _digest(networks_version, sources.values())
    if before["version"] == version:
        return False
    check_folder(out, "--site")
    if before["version"] is None and any(out.iterdir()):
        raise ValueError(f"{out}: holds other files than a page; choose another --site, or empty it")
    complete = all((out / file).is_file() for file in before["total_bytes"])
    keep = complete and before["networks_version"] == networks_version
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".page-") as name:
        folder = Path(name)
        site = dict(before) if keep else _fetch_and_export(folder, say)
        for file, path in sources.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / file)
        site |= {"version": version, "networks_version": networks_version, "files": list(sources)}
        _put_into(out, folder, before, site)
    return True


def _site(out: Path) -> dict[str, Any]:
    """Return what a folder says of itself; a version of None where it is no page."""
    kinds = {"version": str, "networks_version": str, "files": list, "total_bytes": dict}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        found: dict[str, Any] = json.loads((out / SITE_FILE).read_text(encoding="utf-8"))
        if all(isinstance(found[key], kind) for key, kind in kinds.items()):
            return found
    return {"version": None, "networks_version": None, "files": [], "total_bytes": {}}


def _source_files() -> dict[str, Path]:
    """Return the browser's files, and their names in the folder of the page."""
    found = sorted(path for path in SOURCES.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))
    tables = {f"ui/{NAMES_PATH.name}": NAMES_PATH} | {f"words/{name}": WORDS / name for name in WORD_TABLES}
    return {path.relative_to(SOURCES).as_posix(): path for path in found} | tables


def _version_of_networks() -> str:
    """Return 12 hex digits that change with the networks of the page: their weights, their form, the runtime."""
    weights = [shipped_checkpoint(name) for name in SHIPPED]
    return _digest(f"{NETWORKS_FORM} {RUNTIME_SHA512}", [*weights, NETWORK_PATH, THRESHOLDS])


def _digest(begin: str, files: Iterable[Path]) -> str:
    digest = hashlib.sha256(begin.encode())
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]


def _put_into(out: Path, folder: Path, before: Mapping[str, Any], site: Mapping[str, Any]) -> None:
    """Move all files of `folder` into `out`, then write site.json, then remove what an earlier build alone had."""
    old, new = ({str(file) for file in (*each["files"], *each["total_bytes"])} for each in (before, site))
    moved = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    for file in moved:
        there = out / file
        if file not in old and there.exists() and there.read_bytes() != (folder / file).read_bytes():
            raise ValueError(f"{there}: is no file of the page, which has one of this name; move it away")
    for file in moved:
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        os.replace(folder / file, out / file)
    write_atomically(out / SITE_FILE, json.dumps(site, indent=1) + "\n")
    for file in old - new:
        path = (out / file).resolve()
        if path.is_file() and path.is_relative_to(out.resolve()):
            path.unlink()
            with contextlib.suppress(OSError):  # others are in it
                path.parent.rmdir()


# ------------------------------------------------------------------ networks and runtime


def _fetch_and_export(folder: Path, say: Callable[[str], object]) -> dict[str, Any]:
    """Put ort/ and models/ into `folder` and return what site.json tells of them."""
    for package in ("onnx", "onnxscript"):
        if importlib.util.find_spec(package) is None:
            raise ValueError(f"{package} is not installed, which the page's networks are written with: "
                             "pip install -r requirements/page.txt")  # fmt: skip
    say(f"fetching {RUNTIME} from the npm registry")
    _fetch_runtime(folder / "ort")
    say("writing the networks as ONNX, about a minute")
    (folder / "models").mkdir()
    site = _write_networks(folder)
    files = sorted(path for part in ("ort", "models") for path in (folder / part).iterdir())
    return site | {"total_bytes": {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}}


def _fetch_runtime(folder: Path) -> None:
    """Put ONNX Runtime for browsers into `folder`: the pinned package, checked against its hash, nothing executed."""
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError(f"npm is not installed, which fetches {RUNTIME} for the page: install Node.js")
    with tempfile.TemporaryDirectory() as name:
        done = subprocess.run([npm, "pack", "--silent", RUNTIME], cwd=name, capture_output=True, text=True)
        packed = list(Path(name).glob("*.tgz"))
        if done.returncode != 0 or len(packed) != 1:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ValueError(f"npm could not fetch {RUNTIME}: {reason:.200}")
        if base64.b64encode(hashlib.sha512(packed[0].read_bytes()).digest()).decode() != RUNTIME_SHA512:
            raise ValueError(f"{RUNTIME}: is not the package whose sha512 the page was written for")
        folder.mkdir()
        with tarfile.open(packed[0]) as archive:
            for file, packed_as in RUNTIME_FILES.items():
                content = archive.extractfile(f"package/dist/{packed_as}")
                assert content is not None
                (folder / file).write_bytes(_packed(content.read()) if file.endswith(".gz") else content.read())


def _packed(content: bytes) -> bytes:
    """Return `content` as a gzip file, the same one every time."""
    return gzip.compress(content, compresslevel=9, mtime=0)


def _write_networks(folder: Path) -> dict[str, Any]:
    """Write networks and numbers into models/ of `folder` and return what site.json tells of them."""

    def written(name: str, content: bytes) -> str:
        file = f"models/{name}.{hashlib.sha256(content).hexdigest()[:12]}.gz"
        (folder / file).write_bytes(_packed(content))
        return file

    trained = {name: load_with_guide(shipped_checkpoint(name)) for name in SHIPPED}
    loaded = {each.sha256: each for found in trained.values() for each in (found, found.guide) if each is not None}
    exported = export_models([each.model for each in loaded.values()])
    files = {
        each.sha256: {kind: written(f"{Path(each.file).stem}.{kind}", content) for kind, content in graphs.items()}
        for each, graphs in zip(loaded.values(), exported, strict=True)
    }
    models = {}
    for name, each in trained.items():
        weaker = each.guide or each
        # None stands for the category that is asked for, by its place in the base's list
        own, same = (None if name == "base" else network.category_id(name) for network in (each, weaker))
        without = {"files": files[weaker.sha256], "category": same if each.guide else each.model.null_category}
        models[name] = {
            "own": {"files": files[each.sha256], "category": own},
            "guide": None if each.guidance == 1.0 else without,
            "guidance": each.guidance,
            "unlike": shipped_threshold(name, each.sha256),
            "sampler": each.sampler,
            "steps": [each.steps] if isinstance(each.steps, int) else list(each.steps),
        }
    model = trained[CATEGORIES[0]].model
    numbers = {
        "alpha_bar": cosine_alpha_bar(len(model.time_table)).tolist(),
        "fit": polyline_fit(model.config.num_points).tolist(),
        "probe": probing_noise(model.token_dim)[0].tolist(),
        "whitening": {
            name: {part: getattr(each.whitening, part).flatten().tolist() for part in ("mean", "basis", "scale")}
            for name, each in trained.items()
        },
    }
    recogniser = load_feature_network(NETWORK_PATH)
    networks = {
        "sizes": {"layers": model.config.num_layers, "denoiser_layers": model.config.denoiser_layers,
                  "width": model.config.width, "dim": model.token_dim},
        "models": models,
        "numbers": written("numbers", json.dumps(numbers).encode()),
        "recogniser": written("recogniser", export_recogniser(recogniser.network)),
        "names": recogniser.classes,
    }  # fmt: skip
    return {
        "networks": networks,
        "categories": list(trained["base"].categories),
        "max_strokes": model.config.max_strokes,
        "attribution": ATTRIBUTION,
    }


# ------------------------------------------------------------------ one step as a graph


class Step(nn.Module):
    """A function of a network as a module; large weights are stored in one or two bytes where that loses nothing."""

    def __init__(self, network: nn.Module, compute: Callable[..., Any]) -> None:
        super().__init__()
        self.network, self.compute = copy.deepcopy(network).eval().requires_grad_(False), compute
        for module in list(self.network.modules()):
            for name, weight in list(module.named_parameters(recurse=False)):
                if weight.numel() < SMALLEST_STORED:
                    continue
                small: Tensor = weight
                widened: nn.Module | None = None
                if weight.dim() == 2 and torch.equal(torch.mul(*(pair := in_eight_bits(weight))), weight):
                    small, widened = pair[0], Scaled(pair[1])
                elif kept := [half for half in (weight.bfloat16(), weight.half()) if torch.equal(half.float(), weight)]:
                    small, widened = kept[0], Widened()
                if widened is not None:
                    setattr(module, name, nn.Parameter(small, requires_grad=False))
                    parametrize.register_parametrization(module, name, widened, unsafe=True)

    def forward(self, *inputs: Tensor) -> Any:
        """Return what the function makes of the network and the inputs."""
        return self.compute(self.network, *inputs)


class Widened(nn.Module):
    """A stored weight as the network computes with it."""

    def forward(self, stored: Tensor) -> Tensor:
        """Return float32."""
        return stored.float()


class Scaled(nn.Module):
    """A weight stored in eight bits as the network computes with it; `scale` (R, 1) is of its rows."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(scale, requires_grad=False)

    def forward(self, stored: Tensor) -> Tensor:
        """Return float32."""
        return stored.float() * self.scale


def history_step(
    model: StrokeDiffusionModel, token: Tensor, is_stroke: Tensor, category: Tensor, history: Tensor, denoiser: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return c_k (B, W), modulation (6, B, W), stop logit (B,) and the caches with one more input in them.

    ``StrokeDiffusionModel.append``, or for the first input, which is no stroke, ``start``: `token` (B, D) counts where
    `is_stroke` (1, 1) is 1, and not where it is 0. Caches are (2 layers, k, B, W), keys and values in turn, of the
    transformer and of the denoiser.
    """
    x = is_stroke * model.read_stroke(token) + model.category(category) + model.position[history.shape[1]]
    state = model.extend(x, _as_caches(history, model), _as_caches(denoiser, model))
    stop = model.stop_logits(state.last)
    return state.last, state.modulation, stop, _stacked(state.history), _stacked(state.denoiser)


def denoiser_step(
    model: StrokeDiffusionModel, x_t: Tensor, time: Tensor, last: Tensor, modulation: Tensor, denoiser: Tensor
) -> Tensor:
    """Return v_hat (B, D), given one time's modulation (layers, 6, 1, W) and what ``history_step`` has returned."""
    return model.denoise(x_t, time, HistoryState(last, modulation, [], _as_caches(denoiser, model)))


def _as_caches(stacked: Tensor, model: StrokeDiffusionModel) -> list[Cache]:
    """(2 layers, k, B, W) -> for each layer keys and values (k, B, H, W / H)."""
    parts = stacked.unflatten(-1, (model.config.num_heads, -1)).unbind(0)
    return list(zip(parts[0::2], parts[1::2], strict=True))


def _stacked(caches: list[Cache]) -> Tensor:
    return torch.stack([part for cache in caches for part in cache]).flatten(-2)


def export_models(models: Sequence[StrokeDiffusionModel]) -> list[dict[str, bytes]]:
    """Return the ONNX files `history`, `times` and `denoiser` of each of some models of one form, in evaluation mode.

    Raises ValueError where their forms differ: the two larger graphs are traced once for all models that are stored
    alike, and given each one's weights.
    """
    config = models[0].config
    if any(replace(model.config, dropout=0.0) != replace(config, dropout=0.0) for model in models):
        raise ValueError("the models have different settings, the page takes models of one form")
    width, dim = config.width, models[0].token_dim
    batch, length, steps = (torch.export.Dim(name) for name in ("batch", "length", "steps"))
    cache = {1: length, 2: batch}
    caches = [torch.zeros(2 * layers, 3, 2, width) for layers in (config.num_layers, config.denoiser_layers)]
    history = {
        "token": (torch.zeros(2, dim), {0: batch}),
        "is_stroke": (torch.ones(1, 1), {}),
        "category": (torch.zeros(2, dtype=torch.long), {0: batch}),
        "history": (caches[0], cache),
        "denoiser": (caches[1], cache),
    }
    longer = ("last", "modulation", "stop", "longer_history", "longer_denoiser")
    denoiser = {
        "x_t": (torch.zeros(2, dim), {0: batch}),
        "time": (torch.zeros(config.denoiser_layers, 6, 1, width), {}),
        "last": (torch.zeros(2, width), {0: batch}),
        "modulation": (torch.zeros(6, 2, width), {1: batch}),
        "denoiser": (caches[1], cache),
    }
    times = {"t": (torch.arange(4), {0: steps})}
    traced: dict[frozenset[tuple[str, torch.dtype]], dict[str, Any]] = {}
    files = []
    for model in models:
        own = Step(model, StrokeDiffusionModel.time_modulations)
        state = own.state_dict()
        stored_as = frozenset((name, tensor.dtype) for name, tensor in state.items())
        if stored_as not in traced:
            traced[stored_as] = {
                "history": _traced(Step(model, history_step), history, longer),
                "denoiser": _traced(Step(model, denoiser_step), denoiser, ("v",)),
            }
        graphs = traced[stored_as]
        for program in graphs.values():
            stored = [name for name in program.model.graph.initializers if name.startswith("network.")]
            program.apply_weights({name: state[name] for name in stored})
        programs = graphs | {"times": _traced(own, times, ("time",))}
        files.append({name: _content(program) for name, program in programs.items()})
    return files


def export_recogniser(network: Network) -> bytes:
    """Return the ONNX file that turns pictures (B, 64, 64), float32, 255 being ink, into probabilities (B, classes)."""
    inputs = {"pictures": (torch.zeros(2, SIDE, SIDE), {0: torch.export.Dim("batch")})}
    step = Step(network, lambda network, pictures: network(pictures).softmax(-1))
    return _content(_traced(step, inputs, ("probabilities",)))


def _traced(step: Step, inputs: Mapping[str, tuple[Tensor, dict[int, Any]]], outputs: Sequence[str]) -> Any:
    """Return a step as a torch.onnx.ONNXProgram; of each input an example and its axes that may have any length."""
    examples, shapes = zip(*inputs.values(), strict=True)
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            return torch.onnx.export(
                step, examples, dynamo=True, dynamic_shapes=(shapes,), input_names=list(inputs),
                output_names=list(outputs), verbose=False,
            )  # fmt: skip
    finally:
        quiet.setLevel(level)


def _content(program: Any) -> bytes:
    return bytes(program.model_proto.SerializeToString(deterministic=True))
