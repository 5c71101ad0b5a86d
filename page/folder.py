"""The page as a folder that any web host can serve: its sources, the networks as ONNX, and ONNX Runtime from npm."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from config import ATTRIBUTION, CATEGORIES, CHECKPOINTS, NETWORK_PATH
from plumbing.files import write_atomically

SOURCES = Path(__file__).resolve().parent
SITE_FILE = "site.json"
RUNTIME = "onnxruntime-web@1.30.0"
RUNTIME_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
NPM_SECONDS = 300


def version_of_sources() -> str:
    """Return 12 hex digits that change with anything the page is made of: its sources and its networks."""
    return _digest(version_of_networks().encode(), _source_files())


def version_of_networks() -> str:
    """Return 12 hex digits that change with the networks of the page: weights, the code that exports them, runtime."""
    weights = [CHECKPOINTS / f"{name}.safetensors" for name in (*CATEGORIES, "base")]
    modules = (
        "page/folder", "page/models", "diffusion_model", "diffusion_process", "scoring/feature_network", "stroke_tokens"
    )
    code = [SOURCES.parent / f"{name}.py" for name in modules]
    return _digest(RUNTIME_SHA512.encode(), [*code, *weights, NETWORK_PATH])


def _digest(begin: bytes, files: list[Path]) -> str:
    digest = hashlib.sha256(begin)
    for path in files:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]


def is_current(out: Path) -> bool:
    """Tell whether the folder `out` holds the page as it would be made now."""
    return bool(_site(out).get("version") == version_of_sources())


def _site(out: Path) -> dict[str, Any]:
    """Return what a folder says of itself, nothing where it is no page."""
    try:
        found = json.loads((out / SITE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def build_site(out: Path, say: Callable[[str], object] = print) -> None:
    """Put the page together in the folder `out`, which any web host can serve as it is.

    The weights of each category and of their guide become ONNX files, whose names carry a hash of their content; where
    only other sources have changed, those that are there stay. Raises ValueError, in one line, without the packages of
    requirements-page.txt, without npm or the network.
    """
    before, networks_version = _site(out), version_of_networks()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".page-") as name:
        folder = Path(name) / "site"
        shutil.copytree(SOURCES, folder)
        if before.get("networks_version") == networks_version:
            networks = before["networks"]
            for part in ("ort", "models"):
                shutil.copytree(out / part, folder / part)
        else:
            for package in ("onnx", "onnxscript"):
                if importlib.util.find_spec(package) is None:
                    raise ValueError(f"{package} is not installed, which the page's networks are written with: "
                                     "pip install -r requirements-page.txt")  # fmt: skip
            say(f"fetching {RUNTIME} from the npm registry")
            _fetch_runtime(folder / "ort")
            (folder / "models").mkdir()
            say("writing the networks as ONNX, about a minute")
            networks = _write_networks(folder / "models")
        written = sorted(path for part in ("ort", "models") for path in (folder / part).iterdir())
        site = {
            "version": version_of_sources(),
            "networks_version": networks_version,
            "networks": networks,
            "files": [_name(path, SOURCES) for path in _source_files()],
            "total_bytes": {_name(path, folder): path.stat().st_size for path in written},
            "categories": list(CATEGORIES),
            "max_strokes": networks["max_strokes"],
            "attribution": ATTRIBUTION,
        }
        write_atomically(folder / SITE_FILE, json.dumps(site, indent=1) + "\n")
        for path in out.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in sorted(folder.iterdir(), key=lambda path: path.name == SITE_FILE):  # it says that all are there
            path.rename(out / path.name)


def _source_files() -> list[Path]:
    return sorted(path for path in SOURCES.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _fetch_runtime(folder: Path) -> None:
    """Put ONNX Runtime for browsers into `folder`: the pinned package, checked against its hash, nothing executed."""
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError(f"npm is not installed, which fetches {RUNTIME} for the page: install Node.js")
    with tempfile.TemporaryDirectory() as name:
        try:
            done = subprocess.run([npm, "pack", "--silent", RUNTIME], cwd=name, capture_output=True, text=True,
                                  timeout=NPM_SECONDS)  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ValueError(f"npm did not fetch {RUNTIME} within {NPM_SECONDS} s") from None
        packed = list(Path(name).glob("*.tgz"))
        if done.returncode != 0 or len(packed) != 1:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ValueError(f"npm could not fetch {RUNTIME}: {reason:.200}")
        if base64.b64encode(hashlib.sha512(packed[0].read_bytes()).digest()).decode() != RUNTIME_SHA512:
            raise ValueError(f"{RUNTIME}: is not the package whose sha512 the page was written for")
        folder.mkdir()
        with tarfile.open(packed[0]) as archive:
            for file in RUNTIME_FILES:
                content = archive.extractfile(f"package/dist/{file}")
                assert content is not None
                write_atomically(folder / file, content.read())


def _write_networks(folder: Path) -> dict[str, Any]:
    """Write networks and numbers into `folder` and return what site.json tells of them under `networks`."""
    # here, so that whether a folder is current is known without torch
    from diffusion_model import load_with_guide
    from diffusion_process import cosine_alpha_bar
    from page.models import export_models, export_recogniser
    from scoring.feature_network import load_feature_network
    from stroke_tokens import polyline_fit

    def written(name: str, ending: str, content: bytes) -> str:
        path = folder / f"{name}.{hashlib.sha256(content).hexdigest()[:12]}.{ending}"
        write_atomically(path, content)
        return f"{folder.name}/{path.name}"

    trained = {name: load_with_guide(CHECKPOINTS / f"{name}.safetensors") for name in CATEGORIES}
    first = trained[CATEGORIES[0]]
    guides = {each.guide.file: each.guide for each in trained.values() if each.guide is not None}
    files = {}
    exported = export_models([each.model for each in (*trained.values(), *guides.values())])
    for name, networks in zip((*trained, *guides), exported, strict=True):
        stem = name.removesuffix(".safetensors")
        files[name] = {kind: written(f"{stem}.{kind}", "onnx", content) for kind, content in networks.items()}

    def entry(name: str) -> dict[str, Any]:
        each = trained[name]
        guide = each.guide and {"files": files[each.guide.file], "category": each.guide.category_id(name)}
        own = {"files": files[name], "category": each.category_id(name)}
        return {"own": own, "guide": guide, "guidance": each.guidance}

    config = first.model.config
    numbers = {
        "alpha_bar": cosine_alpha_bar(len(first.model.time_table)).tolist(),
        "fit": polyline_fit(config.num_points).tolist(),
        "whitening": {
            name: {part: getattr(each.whitening, part).flatten().tolist() for part in ("mean", "basis", "scale")}
            for name, each in trained.items()
        },
    }
    recogniser = load_feature_network(NETWORK_PATH)
    return {
        "max_strokes": config.max_strokes,
        "sizes": {"layers": config.num_layers, "denoiser_layers": config.denoiser_layers, "width": config.width,
                  "dim": first.model.token_dim},
        "models": {name: entry(name) for name in CATEGORIES},
        "numbers": written("numbers", "json", json.dumps(numbers).encode()),
        "recogniser": written("recogniser", "onnx", export_recogniser(recogniser.network)),
        "names": recogniser.classes,
    }  # fmt: skip
