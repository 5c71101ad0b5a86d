"""The networks as ONNX files, for a browser: one step each of what sampling does, with everything else left outside.

    history    one more stroke, caches  ->  c_k, its modulation, the stop logit, longer caches
    times      times t                  ->  the part of the denoiser's modulation that all strokes share
    denoiser   x_t, modulations, caches ->  v_hat
    recogniser pictures                 ->  the probability of every name

A step computes exactly what ``diffusion_model`` computes, from the same float32 weights: they are stored in the
bfloat16 of the checkpoints and widened when the file is loaded. The loop over steps and strokes is written anew in
JavaScript (page/sampler.js), to be read beside ``generation`` and ``diffusion_process``.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from diffusion_model import Cache, HistoryState, StrokeDiffusionModel
from scoring.feature_network import SIDE, SketchFeatureNetwork

SMALLEST_STORED = 1024
"""Numbers of a weight from which on it is stored in two bytes each."""


def _as_caches(stacked: Tensor, num_heads: int) -> list[Cache]:
    """(2 layers, k, B, W) -> for each layer keys and values (k, B, H, W / H)."""
    parts = stacked.unflatten(-1, (num_heads, -1)).unbind(0)
    return list(zip(parts[0::2], parts[1::2], strict=True))


def _stacked(caches: list[Cache]) -> Tensor:
    return torch.stack([part for cache in caches for part in cache]).flatten(-2)


class HistoryStep(nn.Module):
    """``StrokeDiffusionModel.append``, or for the first input, which is no stroke, ``start``."""

    def __init__(self, model: StrokeDiffusionModel) -> None:
        super().__init__()
        self.model, self.num_heads = model, model.config.num_heads

    def forward(
        self, token: Tensor, is_stroke: Tensor, category: Tensor, history: Tensor, denoiser: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return c_k (B, W), modulation (6, B, W), stop logit (B,) and the caches with one more input in them.

        `token` (B, D) counts where `is_stroke` (1, 1) is 1 and not where it is 0: the drawing's category (B,) comes
        first. Caches are (2 layers, k, B, W), keys and values in turn, of the transformer and of the denoiser.
        """
        model = self.model
        position = model.position[history.shape[1]]
        x = is_stroke * model.read_stroke(token) + model.category(category) + position
        state = model.extend(x, _as_caches(history, self.num_heads), _as_caches(denoiser, self.num_heads))
        logit = model.stop_logits(state.last)
        return state.last, state.modulation, logit, _stacked(state.history), _stacked(state.denoiser)


class TimeModulations(nn.Module):
    """``StrokeDiffusionModel.time_modulation_at`` of several times at once."""

    def __init__(self, model: StrokeDiffusionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, t: Tensor) -> Tensor:
        """Return (S, layers, 6, 1, W) of times `t`, int64 (S,)."""
        return self.model.time_modulations(t)


class DenoiserStep(nn.Module):
    """``StrokeDiffusionModel.denoise``."""

    def __init__(self, model: StrokeDiffusionModel) -> None:
        super().__init__()
        self.model, self.num_heads = model, model.config.num_heads

    def forward(self, x_t: Tensor, time: Tensor, last: Tensor, modulation: Tensor, denoiser: Tensor) -> Tensor:
        """Return v_hat (B, D), given one time's modulation (layers, 6, 1, W) and what ``HistoryStep`` has returned."""
        state = HistoryState(last, modulation, [], _as_caches(denoiser, self.num_heads))
        return self.model.denoise(x_t, time, state)


class Recogniser(nn.Module):
    """The sketch feature network as probabilities."""

    def __init__(self, network: SketchFeatureNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the probabilities (B, classes) of pictures (B, 64, 64), float32 from 0 ink to 255."""
        return self.network(pictures).softmax(-1)


def export_models(models: Sequence[StrokeDiffusionModel]) -> list[dict[str, bytes]]:
    """Return the ONNX files `history`, `times` and `denoiser` of each of some models of one form, in evaluation mode.

    Raises ValueError where their forms differ: the two larger graphs are traced once and given each model's weights.
    """
    if any(replace(model.config, dropout=0.0) != replace(models[0].config, dropout=0.0) for model in models):
        raise ValueError("the models have different settings, the page takes models of one form")
    graphs = {"history": _history_graph(models[0]), "denoiser": _denoiser_graph(models[0])}
    files = []
    for model in models:
        state = {f"model.{name}": tensor.numpy() for name, tensor in model.state_dict().items()}
        own = {name: _file(_with_weights(graph, state)) for name, graph in graphs.items()}
        files.append(own | {"times": _file(_times_graph(model))})
    return files


def _history_graph(model: StrokeDiffusionModel) -> Any:
    config = model.config
    caches = (torch.zeros(2 * layers, 3, 2, config.width) for layers in (config.num_layers, config.denoiser_layers))
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    of_cache = {1: length, 2: batch}
    return _traced(
        HistoryStep(model),
        (torch.zeros(2, model.token_dim), torch.ones(1, 1), torch.zeros(2, dtype=torch.long), *caches),
        ({0: batch}, {}, {0: batch}, of_cache, of_cache),
        ("token", "is_stroke", "category", "history", "denoiser"),
        ("last", "modulation", "stop", "longer_history", "longer_denoiser"),
    )


def _times_graph(model: StrokeDiffusionModel) -> Any:
    return _traced(TimeModulations(model), (torch.arange(4),), ({0: torch.export.Dim("steps")},), ("t",), ("time",))


def _denoiser_graph(model: StrokeDiffusionModel) -> Any:
    layers, width = model.config.denoiser_layers, model.config.width
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length")
    return _traced(
        DenoiserStep(model),
        (torch.zeros(2, model.token_dim), torch.zeros(layers, 6, 1, width), torch.zeros(2, width),
         torch.zeros(6, 2, width), torch.zeros(2 * layers, 3, 2, width)),
        ({0: batch}, {}, {0: batch}, {1: batch}, {1: length, 2: batch}),
        ("x_t", "time", "last", "modulation", "denoiser"),
        ("v",),
    )  # fmt: skip


def export_recogniser(network: SketchFeatureNetwork) -> bytes:
    """Return the ONNX file of a feature network in evaluation mode."""
    shapes = ({0: torch.export.Dim("batch")},)
    return _file(_traced(Recogniser(network), (torch.zeros(2, SIDE, SIDE),), shapes, ("pictures",), ("probabilities",)))


def _traced(
    module: nn.Module, arguments: tuple[Tensor, ...], shapes: tuple[dict[int, Any], ...], inputs: Sequence[str],
    outputs: Sequence[str],
) -> Any:  # fmt: skip
    """Return a module as an onnx.ModelProto; `shapes` names the axes of each argument that may have any length."""
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            program: Any = torch.onnx.export(
                module.eval(), arguments, dynamo=True, dynamic_shapes=shapes, input_names=list(inputs),
                output_names=list(outputs), verbose=False,
            )  # fmt: skip
    finally:
        quiet.setLevel(level)
    return program.model_proto


def _with_weights(graph: Any, state: Mapping[str, np.ndarray]) -> Any:
    """Return a copy of a traced model with the weights of another one of its form."""
    from onnx import numpy_helper

    result = type(graph)()
    result.CopyFrom(graph)
    for tensor in result.graph.initializer:
        if tensor.name in state:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(state[tensor.name]), tensor.name))
    return result


def _file(content: Any) -> bytes:
    _store_in_two_bytes(content)
    return bytes(content.SerializeToString(deterministic=True))


def _store_in_two_bytes(content: Any) -> None:
    """Store every large float32 weight whose numbers are all bfloat16 as such, and widen it where it is used."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph: onnx.GraphProto = content.graph
    widened = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        numbers = np.ascontiguousarray(numpy_helper.to_array(tensor), dtype=np.float32)
        bits = numbers.view(np.uint32)
        if numbers.size < SMALLEST_STORED or (bits & 0xFFFF).any():
            continue
        name, shape = tensor.name, list(tensor.dims)
        raw = (bits >> 16).astype("<u2").tobytes()
        tensor.CopyFrom(helper.make_tensor(f"{name}.stored", TensorProto.BFLOAT16, shape, raw, raw=True))
        widened.append(helper.make_node("Cast", [tensor.name], [name], to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*widened, *nodes])
