"""A transformer over a learned vocabulary: a stroke is spelled by a few codes (van den Oord et al. 2017, VQ-VAE).

arXiv:1711.00937; residual codes as in Zeghidour et al. 2021, SoundStream, arXiv:2107.03312.

    stroke ~ e_1[i_1] + e_2[i_2] + ... + e_L[i_L]        p(stroke | c) = prod_l softmax(i_l | i_1 ... i_{l-1}, c)

The codebooks e_l are learned first, by k-means on what the levels before left over; then the trunk predicts codes, as
language models predict words. Exact likelihood of the codes, L evaluations a stroke, and nothing finer than the
vocabulary can be drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffusion_model import HistoryState
from families.interface import Material
from families.strokes import StrokeFamily, read_once
from sample_diffusion import StrokeRandomness

LEVELS, CODES = 6, 128


class Vocabulary(StrokeFamily):
    """Residual vector quantisation, and a softmax over the codes; the temperature divides the logits."""

    title, likelihood, surprise_unit = "Learned vocabulary", "exact", "a probability of codes"
    inputs, outputs, times, evaluations = StrokeFamily.token_dim, CODES, LEVELS, LEVELS

    def __init__(self, categories: Sequence[str]) -> None:
        """Build trunk and codebooks."""
        super().__init__(categories)
        self.codebooks = nn.Parameter(torch.zeros(LEVELS, CODES, self.token_dim), requires_grad=False)
    def prepare(self, material: Material) -> None:
        """Learn the codebooks from all strokes to learn from, in pixels' proportions."""
        super().prepare(material)
        read = [one for number in range(len(material.categories)) for one in read_once(material, number, 0)]
        tokens = torch.cat([one.tokens[0] for one in read])
        self.codebooks.data.copy_(residual_codebooks(tokens * self.scale, LEVELS, CODES))

    def spell(self, tokens: Tensor) -> Tensor:
        """Return the codes int64 (..., L) of tokens (..., D)."""
        return nearest_codes(tokens * self.scale, self.codebooks)

    def sound(self, codes: Tensor) -> Tensor:
        """Return the tokens (..., D) that codes (..., L) stand for."""
        return sum_of_codes(codes, self.codebooks) / self.scale

    def _before(self, codes: Tensor) -> Tensor:
        """Return inputs (..., L, D) of the trunk: for each level the stroke as the levels before spell it."""
        pieces = torch.stack([book[codes[..., level]] for level, book in enumerate(self.codebooks)], -2)
        return (pieces.cumsum(-2) - pieces) / self.scale

    def stroke_surprise(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Return - log p (B, K) of the codes of each stroke."""
        codes = self.spell(tokens)
        times = torch.arange(LEVELS).expand(codes.shape)
        logits = self.answers(self._before(codes), context, times)
        return F.cross_entropy(logits.flatten(0, 2), codes.flatten(), reduction="none").view(codes.shape).sum(-1)

    def head_loss(self, tokens: Tensor, context: Tensor, mask: Tensor) -> Tensor:
        """Return the nats a code, mean over real strokes."""
        return self.stroke_surprise(tokens, context)[mask].mean() / LEVELS

    def draw(self, history: HistoryState, random: StrokeRandomness, temperature: float) -> Tensor:
        """Return strokes spelled level after level."""
        codes = torch.zeros(len(history.last), LEVELS, dtype=torch.long)
        for level in range(LEVELS):
            logits = self.answer(self._before(codes)[:, level], history, level)
            chance = torch.softmax(logits / max(temperature, 1e-3), -1).double().cumsum(-1)
            uniform = torch.tensor([generator.random() for generator in random.generators])[:, None]
            codes[:, level] = (uniform > chance).sum(-1).clamp(max=CODES - 1)
        return self.sound(codes)


def residual_codebooks(vectors: Tensor, levels: int, codes: int, rounds: int = 12, seed: int = 0) -> Tensor:
    """Return codebooks (L, C, D) by k-means on vectors (S, D), level after level on what is left over."""
    generator = torch.Generator().manual_seed(seed)
    rest, books = vectors.clone(), []
    for _ in range(levels):
        book = rest[torch.randperm(len(rest), generator=generator)[torch.arange(codes) % len(rest)]].clone()
        for _ in range(rounds):
            own = nearest(rest, book)
            counts = torch.bincount(own, minlength=codes).float()
            sums = torch.zeros_like(book).index_add_(0, own, rest)
            book = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], book)
        books.append(book)
        rest = rest - book[nearest(rest, book)]
    return torch.stack(books)


def nearest(vectors: Tensor, book: Tensor) -> Tensor:
    """Return the number of the nearest code of a book (C, D) for vectors (..., D), int64 (...)."""
    return (book.square().sum(-1) - 2 * vectors @ book.T).argmin(-1)


def nearest_codes(vectors: Tensor, books: Tensor) -> Tensor:
    """Return residual codes int64 (..., L) of vectors (..., D) by codebooks (L, C, D)."""
    codes, rest = [], vectors
    for book in books:
        codes.append(nearest(rest, book))
        rest = rest - book[codes[-1]]
    return torch.stack(codes, -1)


def sum_of_codes(codes: Tensor, books: Tensor) -> Tensor:
    """Return the vectors (..., D) that residual codes (..., L) stand for."""
    return torch.stack([book[codes[..., level]] for level, book in enumerate(books)]).sum(0)
