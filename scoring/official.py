"""The assignment's official protocol: what clean-fid 0.1.35 does before it compares features, with all its defaults.

256x256 pictures in the official rendering, resized channel by channel by Pillow's bicubic filter in float32 (mode
"clean", Parmar et al. 2022, arXiv:2104.11222), features of the TensorFlow Inception-v3, FID of all of them, KID over
100 seeded subsets. FID and KID themselves are in `metrics.py`, which has the commands:

    python metrics.py official --real test.ndjson --generated drawings.ndjson --inception-weights FILE
    python metrics.py pictures --drawings drawings.ndjson --out FOLDER      # PNG files for anyone's own tool
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

import rendering
from config import RunFailed
from plumbing.command_line import check_folder
from plumbing.files import atomic_file, sha256_of
from plumbing.processes import best_device
from scoring.inception import load_inception

Drawing = Sequence[NDArray[Any]]
Picture = NDArray[np.uint8]
Array = NDArray[np.float64]
Extractor = Callable[[Tensor], Tensor]

CANVAS = rendering.CANVAS
INPUT_SIDE = 299
NUM_SUBSETS = 100
SUBSET_SIZE = 1000
OFFICIAL_N = 2_000
NUM_FEATURES = 2_048
CLEAN_FID = "0.1.35"
PUBLISHED_SHA256 = "6726825d"  # how the sha256 of the public .pth begins: its name says so
PICTURE_SUFFIXES = {".bmp", ".jpg", ".jpeg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp", ".npy"}
BATCH_SIZE = 16  # on a CPU core 14.6 pictures/s in 0.7 GB; 64 pictures at once 11.6 in 1.5 GB
RENDERING = "256x256 white RGB, PIL ImageDraw.line, width 1, no antialiasing, coordinates as they are"
RESIZE = "clean-fid mode 'clean': PIL bicubic to 299x299, each channel in float32, clipped to 0..255"


# ------------------------------------------------------------------ pictures


def official_picture(drawing: Drawing) -> Picture:
    """Return the (256, 256, 3) uint8 picture of the official rendering: black lines 1 px wide on white."""
    return np.repeat(rendering.official_raster(drawing)[:, :, None], 3, axis=2)


@dataclass(frozen=True)
class Pictures:
    """Holds `count` pictures (256, 256, 3) uint8 that are made one at a time, when `make(index)` asks for them.

    `name(index)` is what a picture is called, and `note` what has to be told of all of them.
    """

    count: int
    make: Callable[[int], Picture]
    name: Callable[[int], str] = "drawing {}".format
    note: str = ""


def pictures_of_drawings(drawings: Sequence[Drawing]) -> Pictures:
    """Return drawings as pictures in the official rendering, in their order."""
    return Pictures(len(drawings), lambda index: official_picture(drawings[index]))


def pictures_in_folder(folder: Path) -> Pictures:
    """Return the PNG pictures of a folder and its subfolders, in the order of their paths, as clean-fid finds them.

    What is transparent shows white, the paper of the official rendering, and not black, as it would to clean-fid.
    Raises ValueError for fewer than 2, for other kinds and for sizes other than 256x256, and when read for damaged
    files.
    """
    paths, transparent = picture_paths(folder), 0
    for path in paths:
        if path.suffix.lower() != ".png":
            raise ValueError(f"{path}: official pictures are PNG files")
        with _opened(path) as image:
            if image.size != (CANVAS, CANVAS):
                raise ValueError(f"{path}: is {image.width}x{image.height}, official pictures are {CANVAS}x{CANVAS}")
            transparent += image.has_transparency_data
    if len(paths) < 2:
        raise ValueError(f"{folder}: {len(paths)} pictures, scoring needs at least 2")

    def make(index: int) -> Picture:
        with _opened(paths[index]) as image:
            try:
                return on_white(image)
            except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damaged PNG data
                raise ValueError(f"{paths[index]}: damaged ({error})") from None

    note = f"{folder}: {transparent} of {len(paths)} pictures have transparent parts, which are white here"
    return Pictures(len(paths), make, lambda index: str(paths[index]), note if transparent else "")


def on_white(image: Image.Image) -> Picture:
    """Return a picture of any kind as (H, W, 3) uint8, what is transparent as white."""
    if image.mode.startswith("I"):  # grey of 16 bits, which Pillow would cut at 255
        image = Image.fromarray((np.asarray(image, dtype=np.float64) / 257).round().clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except (UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError):
        raise ValueError(f"{path}: damaged, or not a picture") from None


def picture_paths(folder: Path) -> list[Path]:
    """Return what clean-fid takes for pictures: it looks into subfolders, but not at hidden files."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file())
    visible = (path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    return sorted(visible, key=str)


def write_pictures(drawings: Sequence[Drawing], folder: Path, numbers: Sequence[int] | None = None) -> list[Path]:
    """Write drawings as 256x256 RGB PNG files 00000.png, 00001.png ... into a folder, each whole or not at all.

    They are named by `numbers`, in ascending order, such as their lines in a file, or else by their places. Raises
    ValueError, before anything is written, when the folder holds any picture: it may be somebody's, and a tool that
    scores the folder would count it.
    """
    if not drawings:
        raise ValueError(f"{folder}: no drawings to write as pictures")
    if found := picture_paths(folder):
        raise ValueError(f"{folder}: holds {len(found)} pictures ({found[0].name}), must hold none: another --out")
    check_folder(folder)
    numbers = range(len(drawings)) if numbers is None else numbers
    digits = max(5, len(str(numbers[-1])))
    paths = [folder / f"{number:0{digits}d}.png" for number in numbers]
    for path, drawing in zip(tqdm(paths, desc="pictures", unit="picture", disable=None), drawings, strict=True):
        with atomic_file(path) as file:
            Image.fromarray(official_picture(drawing)).save(file, "PNG")
    return paths


def clean_resize(picture: Picture) -> NDArray[np.float32]:
    """Return a picture (H, W, 3) uint8 as (299, 299, 3) float32 in 0 ... 255, as clean-fid's mode "clean" resizes it.

    Pillow's bicubic filter, which widens its support when shrinking; every channel by itself as float32, so that no
    value is rounded; overshoot is cut off at 0 and 255 (Parmar et al. 2022, section 4).
    """
    channels = [
        Image.fromarray(picture[:, :, channel].astype(np.float32)).resize(
            (INPUT_SIDE, INPUT_SIDE), Image.Resampling.BICUBIC
        )
        for channel in range(3)
    ]
    return np.stack([np.asarray(channel).clip(0, 255) for channel in channels], axis=2)


# ------------------------------------------------------------------ features


@dataclass(frozen=True)
class Network:
    """An Inception network: maps (B, 3, 299, 299) floats 0 ... 255 to (B, d), and says where it comes from."""

    extract: Extractor
    described: str
    sha256: str | None
    device: str = "auto"


def open_network(weights: Path | None, device: str = "auto") -> Network:
    """Return the Inception network of a weights file, or clean-fid's own, which clean-fid downloads once.

    Raises ValueError or FileNotFoundError for a bad file, RunFailed where there is neither a file nor clean-fid.
    """
    if weights is None:
        return _clean_fid_network(device)
    network = load_inception(weights).to(best_device(device))
    return Network(network, "the FID's Inception-v3, weights from a file", sha256_of(weights), device)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:150]


def _clean_fid_network(device: str) -> Network:
    """Return what `compute_fid` and `compute_kid` of clean-fid build when their mode is "clean", their default."""
    try:
        from cleanfid.features import build_feature_extractor  # optional: it wants torchvision
    except (ImportError, RuntimeError) as error:  # a torchvision that does not fit its torch raises the latter
        raise RunFailed(
            f"no Inception network ({_first_line(error)}): give --inception-weights FILE, torch-fidelity's "
            "weights-inception-2015-12-05-6726825d.pth, or install clean-fid, which downloads its own: "
            "pip install -r requirements/official.txt"
        ) from None
    try:
        extract: Extractor = build_feature_extractor("clean", best_device(device), use_dataparallel=False)
    except (OSError, RuntimeError) as error:  # no connection; or what an interrupted download has left is not loaded
        raise RunFailed(
            f"clean-fid has no Inception network ({_first_line(error)}): it downloads inception-2015-12-05.pt into the "
            "folder for temporary files, remove a broken one there, or give --inception-weights FILE"
        ) from error
    return Network(extract, "clean-fid's own download", None, device)


@dataclass(frozen=True)
class Described:
    """Features (N, d) of N pictures, how many of the pictures are different ones, and which are of one colour only."""

    features: Array
    num_unique: int
    plain: tuple[str, ...] = ()


def describe(pictures: Pictures, network: Network, batch_size: int = BATCH_SIZE, name: str = "pictures") -> Described:
    """Return the features of pictures, made, resized and described `batch_size` at a time, with a progress bar.

    The batch size changes the speed and, by rounding, the last digits.
    """
    device, rows = best_device(network.device), []
    seen: set[bytes] = set()
    plain: list[str] = []
    # PyTorch's default on a GPU lets convolutions round their factors to 10 bits.
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    with torch.no_grad(), exact, tqdm(total=pictures.count, desc=name, unit="picture", disable=None) as bar:
        for start in range(0, pictures.count, batch_size):
            batch = [pictures.make(index) for index in range(start, min(start + batch_size, pictures.count))]
            seen.update(hashlib.sha256(picture.tobytes()).digest() for picture in batch)
            plain += [pictures.name(start + i) for i, picture in enumerate(batch) if picture.min() == picture.max()]
            resized = np.stack([clean_resize(picture).transpose(2, 0, 1) for picture in batch])
            rows.append(network.extract(torch.from_numpy(resized).to(device)).cpu().double().numpy())
            bar.update(len(batch))
    return Described(np.concatenate(rows), len(seen), tuple(plain))


# ------------------------------------------------------------------ protocol


def subset_marks(n_real: int, n_generated: int, seed: int = 0) -> tuple[Array, Array]:
    """Return which pictures are in each of the 100 subsets of KID, 0 or 1: (n_real, 100) and (n_generated, 100).

    The subsets of min(1000, n_real, n_generated) are those that clean-fid draws after `np.random.seed(seed)`, in the
    same order, so that the mean over them equals its `compute_kid(real, generated)` up to float32 rounding.
    """
    size = min(SUBSET_SIZE, n_real, n_generated)
    rng = np.random.RandomState(seed)
    in_real, in_generated = np.zeros((n_real, NUM_SUBSETS)), np.zeros((n_generated, NUM_SUBSETS))
    for subset in range(NUM_SUBSETS):
        in_generated[rng.choice(n_generated, size, replace=False), subset] = 1
        in_real[rng.choice(n_real, size, replace=False), subset] = 1
    return in_real, in_generated


def protocol(network: Network, seed: int) -> dict[str, str | None]:
    """Return the conditions of official scores, as a plain dict for JSON."""
    return {
        "tool": f"fid.compute_fid and fid.compute_kid of clean-fid {CLEAN_FID}, all defaults",
        "rendering": RENDERING,
        "resize": RESIZE,
        "network": network.described,
        "weights_sha256": network.sha256,
        "subsets": f"numpy's legacy generator, as clean-fid draws them after np.random.seed({seed})",
    }


def plain_note(plain: Sequence[str], shown: int = 5) -> str:
    """Return in words which pictures are of one colour only, at most `shown` by name; "" where none is."""
    names = ", ".join(plain[:shown]) + (", ..." if len(plain) > shown else "")
    return f"in {len(plain)} pictures nothing, or everything, is ink: {names}" if plain else ""


def limits_note(n_real: int, n_generated: int, network: Network) -> str:
    """Return in words what keeps official scores from being compared with others, empty where nothing does."""
    notes = []
    if (n_real, n_generated) != (OFFICIAL_N, OFFICIAL_N):
        notes.append(f"not the official {OFFICIAL_N} against {OFFICIAL_N}: FID falls as the number of pictures grows")
    if min(n_real, n_generated) <= NUM_FEATURES:
        notes.append(f"a covariance of {NUM_FEATURES} features from no more pictures is singular: prefer KID")
    if network.sha256 is not None and not network.sha256.startswith(PUBLISHED_SHA256):
        notes.append(f"the weights are not the public file, whose sha256 begins {PUBLISHED_SHA256}")
    return "; ".join(notes)
