"""A critic: of many drawings of a model, the ones that people might have drawn.

A logistic regression on features tells real from generated drawings; its logit is, up to a constant, the logarithm of
the ratio r of their densities as far as these features see. Drawing many candidates and keeping each in proportion to r
gives drawings distributed more like real ones (discriminator rejection sampling: Azadi et al. 2019, arXiv:1810.06758).
Here n of N candidates are drawn without replacement with weights r, which is what the n largest of
log r + Gumbel noise are (Kool et al. 2019, arXiv:1903.06059); no bound on r is needed, and n is what was asked for.

What chooses must not judge. So a critic sees through networks that have no part in any score: one that names pictures
and has never seen a drawing of the categories chosen among, so that real ones are as new to it as generated ones
(`studies.train_features --leave-out`), and the base, which has read the strokes. docs/HONESTY.md has what it is worth.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.rnn import pad_sequence

from config import ATTRIBUTION, BASE_PATH
from diffusion_model import TrainedModel, load_weights
from plumbing.tensor_files import read_header, write_tensors
from scoring.feature_network import LoadedNetwork, load_feature_network
from scoring.reference import Drawing, describe_drawings
from scoring.two_sample import logistic_weights
from stroke_tokens import points_to_vectors, resample_each

Array = NDArray[np.float64]
FORMAT = "critics-2"
CRITICS = Path(__file__).resolve().parent / "critics.safetensors"
EYE_PATH = CRITICS.with_name("critic_eye.safetensors")
AT_ONCE = 256


@dataclass(frozen=True)
class Eye:
    """What a critic sees: of pictures what a network makes of them, of strokes what the base remembers of them."""

    category: str
    network: LoadedNetwork = field(default_factory=lambda: load_feature_network(EYE_PATH))
    base: TrainedModel = field(default_factory=lambda: load_weights(BASE_PATH))

    def features(self, drawings: Sequence[Drawing]) -> Array:
        """Return features (N, F + 2 W + 1): the network's (F), the base's contexts (W), mean and last, and strokes."""
        pictures = describe_drawings(drawings, self.network).features
        return np.hstack([pictures, self.contexts(drawings)]).astype(float)

    @torch.inference_mode()
    def contexts(self, drawings: Sequence[Drawing]) -> NDArray[np.float32]:
        """Return the mean and the last of the base's contexts of drawings, and how many strokes, (N, 2 W + 1)."""
        config, number = self.base.model.config, self.base.category_id(self.category)
        found = np.zeros((len(drawings), 2 * config.width + 1), np.float32)
        by_length = np.argsort([len(drawing) for drawing in drawings], kind="stable")  # the less is padded
        for rows in np.split(by_length, range(AT_ONCE, len(drawings), AT_ONCE)):
            kept = [drawings[i][: config.max_strokes] for i in rows]
            vectors = [points_to_vectors(resample_each(drawing, config.num_points)) for drawing in kept]
            lengths = torch.tensor([len(own) for own in vectors])
            tokens = self.base.whitening.encode(pad_sequence(vectors, batch_first=True))
            contexts = self.base.model.context(tokens, torch.full((len(rows),), number))
            seen = (torch.arange(contexts.shape[1]) <= lengths[:, None]).unsqueeze(-1)
            mean = (contexts * seen).sum(1) / seen.sum(1)
            last = contexts[torch.arange(len(rows)), lengths]
            found[rows] = torch.cat([mean, last, lengths[:, None]], 1).numpy()
        return found


@dataclass(frozen=True)
class Critic:
    """Weights (F,) of features in the logarithm of the density ratio, and how they came about."""

    weights: Array
    conditions: Mapping[str, Any]

    @staticmethod
    def between(generated: Array, real: Array, conditions: Mapping[str, Any] | None = None) -> Critic:
        """Return the critic that tells features (N, F) of generated from those (M, F) of real drawings.

        Both sides count the same in all, however many there are.
        """
        x = np.concatenate([generated, real])
        y = np.repeat([-1.0, 1.0], [len(generated), len(real)])
        row_weights = np.repeat([0.5 / len(generated), 0.5 / len(real)], [len(generated), len(real)])
        mean = row_weights @ x
        std = np.sqrt(row_weights @ (x - mean) ** 2)
        std = np.where(std > 0, std, 1.0)
        return Critic(logistic_weights((x - mean) / std, y, row_weights) / std, conditions or {})

    def chosen(self, drawings: Sequence[Drawing], count: int, seed: int) -> NDArray[np.intp]:
        """Return which `count` of some drawings of the critic's category are kept; see ``choose``."""
        return self.choose(Eye(self.conditions["category"]).features(drawings), count, seed)

    def choose(self, features: Array, count: int, seed: int) -> NDArray[np.intp]:
        """Return which `count` of N candidates with features (N, F) are kept, in order; the same seed, the same."""
        noise = np.random.default_rng([seed, len(features)]).gumbel(size=len(features))
        return np.sort(np.argsort(-(features @ self.weights + noise), kind="stable")[:count])


def save_critics(path: Path, critics: Mapping[str, Critic]) -> None:
    """Write the critics of categories."""
    words = {"format": FORMAT, "attribution": ATTRIBUTION,
             "conditions": json.dumps({name: critic.conditions for name, critic in critics.items()})}  # fmt: skip
    write_tensors(path, {name: torch.from_numpy(critic.weights).float() for name, critic in critics.items()}, words)


def load_critics(path: Path = CRITICS) -> dict[str, Critic]:
    """Return the critics of a file by category, none where there is no file; ValueError for a file of another kind."""
    if not path.is_file():
        return {}
    header = read_header(path, "file of critics")
    if header.words.get("format") != FORMAT:
        raise ValueError(f"{path}: not a file of critics of this program")
    conditions = header.value("conditions")
    return {name: Critic(tensor.double().numpy(), conditions[name]) for name, tensor in header.tensors().items()}


def shipped_critic(category: str, sha256: str) -> Critic:
    """Return the critic of what the weights of `sha256` draw of a category.

    Raises ValueError where the category has no critic, or one that learned from the drawings of other weights.
    """
    critics = load_critics()
    if category not in critics:
        raise ValueError(f"--choose: {category} has no critic; {', '.join(critics) or 'no category'} have one")
    if critics[category].conditions["sha256"] != sha256:
        raise ValueError(f"--choose: the critic of {category} knows what the shipped model draws by default alone, not "
                         "what these weights do")  # fmt: skip
    return critics[category]
