"""Laws of the network: nothing looks ahead, padding is invisible, the cache changes nothing."""

import pytest
import torch

from config import ModelConfig
from diffusion_model import StrokeDiffusionModel

CONFIG = ModelConfig(num_points=6, max_strokes=7, width=32, num_layers=2, num_heads=2, denoiser_layers=2)


@pytest.fixture
def model() -> StrokeDiffusionModel:
    torch.manual_seed(0)
    model = StrokeDiffusionModel(CONFIG, num_categories=3).eval()
    for parameter in model.parameters():  # zero-initialised parts would hide faults
        torch.nn.init.normal_(parameter, std=0.2)
    return model


TOKENS = torch.randn(4, 5, 12, generator=torch.Generator().manual_seed(1))
CATEGORY = torch.tensor([0, 1, 2, 3])
X_T = torch.randn(4, 5, 2, 12, generator=torch.Generator().manual_seed(2))
TIME = torch.full((4, 5, 2), 600)


def test_context_does_not_see_later_strokes(model: StrokeDiffusionModel) -> None:
    changed = TOKENS.clone()
    changed[:, 3:] += 5
    a, b = model.context(TOKENS, CATEGORY), model.context(changed, CATEGORY)
    torch.testing.assert_close(a[:, :4], b[:, :4])
    assert (a[:, 4:] - b[:, 4:]).abs().min(dim=-1).values.max() > 1e-4


def test_denoiser_does_not_see_the_stroke_it_denoises_nor_later_ones(model: StrokeDiffusionModel) -> None:
    changed = TOKENS.clone()
    changed[:, 2:] += 5
    a, b = (model.denoise_all(X_T, TIME, model.context(x, CATEGORY)[:, :-1]) for x in (TOKENS, changed))
    torch.testing.assert_close(a[:, :3], b[:, :3])
    assert (a[:, 3:] - b[:, 3:]).abs().max() > 1e-3


def test_denoiser_depends_on_time_category_and_every_earlier_stroke(model: StrokeDiffusionModel) -> None:
    reference = model.denoise_all(X_T, TIME, model.context(TOKENS, CATEGORY)[:, :-1])
    other_time = model.denoise_all(X_T, TIME - 300, model.context(TOKENS, CATEGORY)[:, :-1])
    other_kind = model.denoise_all(X_T, TIME, model.context(TOKENS, (CATEGORY + 1) % 4)[:, :-1])
    first = TOKENS.clone()
    first[:, 0] += 1
    other_first = model.denoise_all(X_T, TIME, model.context(first, CATEGORY)[:, :-1])
    for other in (other_time, other_kind):
        assert (reference - other).abs().amax(dim=(2, 3)).min() > 1e-4
    assert (reference - other_first)[:, 1:].abs().amax(dim=(2, 3)).min() > 1e-4


def test_copies_of_a_stroke_do_not_see_each_other(model: StrokeDiffusionModel) -> None:
    context = model.context(TOKENS, CATEGORY)[:, :-1]
    both = model.denoise_all(X_T, TIME, context)
    alone = model.denoise_all(X_T[:, :, :1], TIME[:, :, :1], context)
    torch.testing.assert_close(both[:, :, :1], alone)


def test_cached_sampling_equals_teacher_forcing(model: StrokeDiffusionModel) -> None:
    context = model.context(TOKENS, CATEGORY)
    full = model.denoise_all(X_T, TIME, context[:, :-1])
    state, by_time = model.start(CATEGORY), model.time_modulation_at(600)
    for k in range(TOKENS.shape[1]):
        torch.testing.assert_close(state.last, context[:, k], rtol=1e-4, atol=1e-4)
        one = model.denoise(X_T[:, k, 0], by_time, state)
        torch.testing.assert_close(one, full[:, k, 0], rtol=1e-4, atol=1e-4)
        state = model.append(state, TOKENS[:, k], CATEGORY)
    from_prefix = model.start(CATEGORY, TOKENS)
    torch.testing.assert_close(from_prefix.last, state.last, rtol=1e-4, atol=1e-4)


def test_selected_drawings_go_on_as_before(model: StrokeDiffusionModel) -> None:
    state, by_time = model.start(CATEGORY, TOKENS[:, :3]), model.time_modulation_at(5)
    rows = torch.tensor([3, 1])
    a = model.denoise(X_T[:, 0, 0], by_time, state)[rows]
    b = model.denoise(X_T[rows, 0, 0], by_time, state.select(rows))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_new_model_says_zero_and_even_odds() -> None:
    model = StrokeDiffusionModel(CONFIG, num_categories=3).eval()
    context = model.context(TOKENS, CATEGORY)
    assert model.denoise_all(X_T, TIME, context[:, :-1]).abs().max() == 0
    assert model.stop_logits(context).abs().max() == 0


def test_drawing_longer_than_the_model_is_refused(model: StrokeDiffusionModel) -> None:
    state = model.start(CATEGORY, torch.zeros(4, 7, 12))
    with pytest.raises(ValueError, match="at most 7"):
        model.append(state, torch.zeros(4, 12), CATEGORY)


def test_every_parameter_gets_a_gradient(model: StrokeDiffusionModel) -> None:
    context = model.context(TOKENS, CATEGORY, torch.full((4, 4), 0.1))
    loss = model.denoise_all(X_T, TIME, context[:, :-1]).square().mean() + model.stop_logits(context).square().mean()
    loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_told_augmentation_changes_every_context_and_none_is_zeros(model: StrokeDiffusionModel) -> None:
    plain, told = model.context(TOKENS, CATEGORY), model.context(TOKENS, CATEGORY, torch.full((4, 4), 0.3))
    assert (plain - told).abs().amax(-1).min() > 1e-4
    torch.testing.assert_close(model.context(TOKENS, CATEGORY, torch.zeros(4, 4)), plain)
