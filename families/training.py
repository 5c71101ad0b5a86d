"""The one training loop of all families, their weights files, and the list of them.

A budget is processor seconds of one thread, so that a busy machine changes nothing but the wait. The learning rate
rises over the first updates and falls as half a cosine over the budget; what is kept is a moving average.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from config import ATTRIBUTION, BASE_PATH, RunFailed
from families.diffusion import Diffusion
from families.energy import Energy
from families.gan import GAN
from families.interface import Family, Material, num_parameters
from families.latent_diffusion import LatentDiffusion
from families.mixture import Mixture
from families.picture_gan import PictureGAN
from families.picture_vae import PictureVAE
from families.pictures import IndependentPixels
from families.sketch_rnn import SketchRNN
from families.vae import VAE
from families.vocabulary import Vocabulary
from families.whole_sequence import WholeSequence
from plumbing.tensor_files import read_header, write_tensors

FORMAT = "family-1"
WEIGHTS = Path(__file__).resolve().parent / "weights"
WARM_UP, EMA_DECAY, CLIP = 50, 0.99, 1.0
FAMILIES: dict[str, type[Family]] = {
    "mixture": Mixture, "vae": VAE, "gan": GAN, "vocabulary": Vocabulary, "energy": Energy, "diffusion": Diffusion,
    "sketch_rnn": SketchRNN, "whole_sequence": WholeSequence,
    "pictures": IndependentPixels, "picture_vae": PictureVAE, "picture_gan": PictureGAN,
    "latent_diffusion": LatentDiffusion,
}  # fmt: skip
"""By the names of their files; to add one, write its file and a word here."""
MARKS = (0.25, 0.5, 1.0)
"""Shares of the budget after which the curve of quality against training time has a point."""

Watch = Callable[[float, Family], None]


def train(
    family: Family, material: Material, seconds: float, seed: int = 0, watch: Watch = lambda spent, family: None
) -> tuple[Family, dict[str, Any]]:
    """Return the moving average of a family trained for so many processor seconds, and how it was trained.

    `watch` is called at each of MARKS with the processor seconds spent and the average so far; its own time is not
    counted. Raises RunFailed where the loss is not finite.
    """
    torch.manual_seed(seed)
    family.prepare(material)
    average = AveragedModel(family, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY))
    batches, marks, steps, spent = family.batches(material, seed), list(MARKS), 0, 0.0
    family.train()
    learned = [parameter for parameter in family.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned or [torch.zeros(1)], betas=family.betas, weight_decay=0.01)
    while marks and learned:
        began = time.process_time()
        share = min(1.0, spent / seconds)
        family.progress(share)
        rate = family.learning_rate * min(1.0, (steps + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = family.loss(next(batches))
        if not torch.isfinite(loss):
            raise RunFailed(f"{family.title}: the loss is not finite after {steps} updates")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, CLIP)
        optimizer.step()
        average.update_parameters(family)
        steps, spent = steps + 1, spent + time.process_time() - began
        while marks and spent >= seconds * marks[0]:
            marks.pop(0)
            watch(spent, cast(Family, average.module).eval())
    drawings = {name: len(side) for name, side in zip(material.categories, material.train, strict=True)}
    conditions = {"updates": steps, "processor_seconds": round(spent, 1), "seed": seed, "train_drawings": drawings,
                  "parameters": num_parameters(family), "reader_sha256": family.reads_with(),
                  "attribution": ATTRIBUTION}  # fmt: skip
    return cast(Family, average.module).eval(), conditions


def save_family(path: Path, name: str, family: Family, conditions: dict[str, Any]) -> None:
    """Write a safetensors file: what was learned in bfloat16, what was fitted in float32."""
    learned = dict(family.named_parameters())
    whole = family.state_dict()
    tensors = {key: tensor.to(torch.bfloat16) if key in learned else tensor for key, tensor in whole.items()}
    words = {"format": FORMAT, "family": name, "categories": json.dumps(family.categories),
             "conditions": json.dumps(conditions)}  # fmt: skip
    write_tensors(path, tensors, words)


def load_family(path: Path) -> tuple[Family, dict[str, Any]]:
    """Return the family of a weights file, in float32 and evaluation mode, and how it was trained.

    Raises FileNotFoundError, or ValueError with one line for a file that is damaged or of something else.
    """
    header = read_header(path, "weights file of a family")
    name = header.words.get("family", "")
    if header.words.get("format") != FORMAT or name not in FAMILIES:
        raise ValueError(f"{path}: not the weights of a family that this program knows ({name!r:.40})")
    categories, conditions = header.value("categories"), header.value("conditions")
    family = FAMILIES[name](categories)
    try:
        family.load_state_dict({key: tensor.float() for key, tensor in header.tensors().items()})
    except RuntimeError as error:  # one line a tensor
        reason = str(error).splitlines()[1].strip()
        raise ValueError(f"{path}: its tensors do not fit {family.title} ({reason:.120})") from None
    if conditions.get("reader_sha256") != family.reads_with():
        raise ValueError(f"{path}: learned with another {BASE_PATH.name} than the one at hand; --retrain makes it anew")
    return family.eval(), conditions


def shipped(names: Sequence[str] = (), folder: Path = WEIGHTS) -> dict[str, Path]:
    """Return the weights files at hand by family, of `names` or of all."""
    paths = {name: folder / f"{name}.safetensors" for name in names or FAMILIES}
    return {name: path for name, path in paths.items() if path.is_file()}
