// What the page knows of the models: asks the worker and hands its answers on.

export { officialPoints } from "./simplify.js";

const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11];

/** Tell whether this browser has what the runtime needs: WebAssembly with SIMD, a program of which is above. */
export const canCompute = () => globalThis.WebAssembly?.validate(Uint8Array.from(SIMD)) ?? false;

/** The models, in a worker. A stroke is {points: [[x, y], ...] in 0 ... 255, by: "you" or "model", token?, official?}. */
export class Engine {
  #worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  #waiting = new Map(); // id -> {resolve, reject, tell}
  #ids = 0;

  constructor() {
    this.#worker.onmessage = ({ data: { id, event, result, error } }) => {
      const waiting = this.#waiting.get(id);
      if (!waiting) return;
      if (event !== undefined) {
        waiting.tell(event);
        return;
      }
      this.#waiting.delete(id);
      if (error !== undefined) waiting.reject(new Error(error));
      else waiting.resolve(result);
    };
    this.#worker.onerror = (event) => {
      for (const { reject } of this.#waiting.values()) reject(new Error(event.message || "the worker did not start"));
      this.#waiting.clear();
    };
  }

  #ask(task, body = {}, tell = () => {}) {
    const id = ++this.#ids;
    const done = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject, tell }));
    this.#worker.postMessage({ id, task, body: { job: id, ...body } });
    return { id, done };
  }

  /** Promise the contents of site.json. */
  site() {
    return this.#ask("site").done;
  }

  /** Promise that the networks of `category` are ready; `progress` is told {loaded, total} in bytes; `base` asks for the base's. */
  load(category, progress, base = false) {
    return this.#ask("load", { category, base }, progress).done;
  }

  /** Read the strokes in advance, so that the model's first one comes sooner. */
  prepare({ category, strokes, place }) {
    return this.#ask("prepare", { category, strokes, place }).done.catch(() => {});
  }

  /**
   * Draw on from `strokes`; `tell` gets {type: "noise" | "stroke" | "end", ending, ...}. Returns {done, cancel}.
   *
   * `steps` are denoising steps, one number or a list by stroke, or "quick"; without them they are as the model was
   * tuned. Each of the `endings` takes the seeds from `seed` on, or the random numbers `randomness[ending][stroke]`
   * {uniform, normal} themselves, to compare with another program. `more` are {place, around, unlessFinished, goesOn,
   * tidied, base}, as worker.js explains them.
   */
  draw({ category, strokes, endings = 1, limit = Infinity, temperature = 1, steps, seed = 0, watch = false, randomness, ...more }, tell) {
    return this.#begin("draw", { category, strokes, endings, limit, temperature, steps, seed, watch, randomness, ...more }, tell);
  }

  /** Draw what lies between two `ends` {category, randomness: a seed}, at each of `shares` of the way; tells and returns as `draw`. */
  morph(ends, shares, tell) {
    return this.#begin("morph", { ends, shares }, tell);
  }

  #begin(task, body, tell) {
    let live = true;
    const { id, done } = this.#ask(task, body, (event) => live && tell(event));
    const cancel = () => {
      live = false;
      if (this.#waiting.has(id)) this.#worker.postMessage({ task: "cancel", body: { job: id } });
    };
    return { done, cancel };
  }

  /** Promise whether the last of `strokes` is unlike the category; never where nobody has measured what is usual. */
  unlike({ category, strokes }) {
    return this.#ask("unlike", { category, strokes }).done;
  }

  /** Promise {top: [{name, probability}] of three, own: probability of `category`} of a drawing. */
  recognise(strokes, category) {
    return this.#ask("recognise", { strokes, category }).done;
  }
}
