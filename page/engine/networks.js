// The networks in ONNX Runtime: one more stroke of history, one denoising step; the twins of diffusion_model.py.

import * as ort from "../ort/ort.wasm.bundle.min.js";

ort.env.wasm.numThreads = 1; // more need headers that a plain web host does not send
ort.env.logLevel = "error";

const OPTIONS = { executionProviders: ["wasm"], graphOptimizationLevel: "all" };

/** Take the WebAssembly of ONNX Runtime (Uint8Array), before the first session. */
export function useRuntime(content) {
  ort.env.wasm.wasmBinary = content.buffer;
}

// The runtime keeps what it is at work on in one stack, which two that work in turns would write over.
let last = Promise.resolve();
const inTurn = (work) => {
  const done = last.then(work);
  last = done.catch(() => {});
  return done;
};

/** Promise an inference session of the file `content` (Uint8Array): what can `run`, after all that others have asked. */
export async function session(content) {
  const made = await inTurn(() => ort.InferenceSession.create(content, OPTIONS));
  return { run: (inputs) => inTurn(() => made.run(inputs)) };
}

const float = (data, dims) => new ort.Tensor("float32", data, dims);
const long = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [values.length]);

/** Repeat every row of a tensor's axis `axis`, of length 1, `count` times. */
function repeated(tensor, axis, count) {
  const inner = tensor.dims.slice(axis + 1).reduce((a, b) => a * b, 1);
  const outer = tensor.dims.slice(0, axis).reduce((a, b) => a * b, 1);
  const data = new Float32Array(tensor.data.length * count);
  for (let i = 0; i < outer; i++) {
    const row = tensor.data.subarray(i * inner, (i + 1) * inner);
    for (let j = 0; j < count; j++) data.set(row, (i * count + j) * inner);
  }
  return float(data, tensor.dims.map((size, i) => (i === axis ? count : size)));
}

/** Follow every row of a tensor's axis `axis` by all of them again. */
function doubled(tensor, axis) {
  const block = tensor.dims.slice(axis).reduce((a, b) => a * b, 1);
  const data = new Float32Array(tensor.data.length * 2);
  for (let at = 0; at < tensor.data.length; at += block) {
    const rows = tensor.data.subarray(at, at + block);
    data.set(rows, 2 * at);
    data.set(rows, 2 * at + block);
  }
  return float(data, tensor.dims.map((size, i) => (i === axis ? 2 * size : size)));
}

/** Return a state with each tensor changed along the axis of drawings. */
function byDrawing(state, change) {
  const axes = { last: 0, modulation: 1, stop: 0, longer_history: 2, longer_denoiser: 2 };
  return Object.fromEntries(Object.entries(axes).map(([name, axis]) => [name, change(state[name], axis)]));
}

/** A model at work: p(next stroke | category, strokes so far), a step at a time. */
export class Model {
  #begun; // the promise of the state without strokes, which all drawings begin with

  /** `sessions` are {history, times, denoiser}, `sizes` {layers, denoiser_layers, width, dim}. */
  constructor(sessions, category, sizes) {
    Object.assign(this, { sessions, category, sizes });
    this.modulations = new Map(); // by time: they serve all strokes
  }

  /** Promise the state of a drawing without strokes. */
  start() {
    const { layers, denoiser_layers, width, dim } = this.sizes;
    const empty = (count) => float(new Float32Array(0), [2 * count, 0, 1, width]);
    return (this.#begun ??= this.#step(new Float32Array(dim), 0, 1, empty(layers), empty(denoiser_layers)));
  }

  /** Promise the state after one more stroke a drawing: `tokens` (B x D) end to end. */
  append(state, tokens) {
    return this.#step(tokens, 1, tokens.length / this.sizes.dim, state.longer_history, state.longer_denoiser);
  }

  async #step(tokens, isStroke, count, history, denoiser) {
    return this.sessions.history.run({
      token: float(tokens, [count, this.sizes.dim]),
      is_stroke: float(Float32Array.of(isStroke), [1, 1]),
      category: long(Array(count).fill(this.category)),
      history,
      denoiser,
    });
  }

  /** Return the state of one drawing as that of `count` drawings. */
  repeat(state, count) {
    return count === 1 ? state : byDrawing(state, (tensor, axis) => repeated(tensor, axis, count));
  }

  /** Return the state of some drawings with each of them once more, behind the others. */
  twice(state) {
    return byDrawing(state, doubled);
  }

  /** Compute what all strokes share at the `times` that are to come. */
  async prepareTimes(times) {
    const missing = [...new Set(times)].filter((t) => !this.modulations.has(t));
    if (missing.length === 0) return;
    const { time } = await this.sessions.times.run({ t: long(missing) });
    const size = time.data.length / missing.length;
    missing.forEach((t, i) => {
      this.modulations.set(t, float(time.data.slice(i * size, (i + 1) * size), time.dims.slice(1)));
    });
  }

  /** Promise v_hat of noisy strokes `x` (B x D) at time `t`. */
  async velocity(x, t, state) {
    const { v } = await this.sessions.denoiser.run({
      x_t: float(x, [x.length / this.sizes.dim, this.sizes.dim]),
      time: this.modulations.get(t),
      last: state.last,
      modulation: state.modulation,
      denoiser: state.longer_denoiser,
    });
    return v.data;
  }
}

/** Promise the probabilities of all names for a picture (64 x 64, 0 ink to 255 paper). */
export async function probabilities(recogniser, picture) {
  const side = Math.sqrt(picture.length);
  const result = await recogniser.run({ pictures: float(picture, [1, side, side]) });
  return result.probabilities.data;
}
