/** Shows the model's strokes at the speed of a hand, while the model is already further on. */

import { beginning, drawingTime, lengthsAlong, PEN_LIFT_MS } from "./strokes.js";

const NOISE_MS = 40; // of one denoising step
const LONGEST_FRAME_MS = 250; // for pages that get no frames, such as hidden ones

const still = matchMedia("(prefers-reduced-motion: reduce)");

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, document.hidden ? 0 : ms));

const nextFrame = () =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, LONGEST_FRAME_MS);
    requestAnimationFrame(() => (clearTimeout(timer), resolve()));
  });

/** Plays a queue of strokes on one paper, one after another. */
export class Player {
  #paper;
  #finished;
  #place;
  #queue = []; // {noise: points} or {stroke}
  #current = null; // the stroke under the pen
  #ended = false;
  #halted = false;
  #wake = () => {};

  /** `finished(stroke)` is called when a stroke has been drawn to its end; `place` says where on the paper points are. */
  constructor(paper, finished, place = (points) => points) {
    this.#paper = paper;
    this.#finished = finished;
    this.#place = place;
    /** Promised when all has been shown and nothing more comes. */
    this.done = this.#play();
  }

  /** Show the points of a stroke that is still noise, for a moment. */
  noise(points) {
    this.#push({ noise: points });
  }

  /** Draw a stroke. */
  stroke(stroke) {
    this.#push({ stroke });
  }

  /** Say that nothing more comes. */
  end() {
    this.#ended = true;
    this.#wake();
  }

  /** Stop at once: the stroke under the pen is finished, the others are forgotten. */
  halt() {
    this.#halted = true;
    if (this.#current) this.#complete();
    this.#show(null);
    this.#wake();
  }

  #push(item) {
    this.#queue.push(item);
    this.#wake();
  }

  async #play() {
    while (!this.#halted) {
      const item = this.#queue.shift();
      if (item?.noise) await this.#flicker(item.noise);
      else if (item) await this.#draw(item.stroke);
      else if (this.#ended) return;
      else await new Promise((resolve) => (this.#wake = resolve));
    }
  }

  async #flicker(points) {
    this.#show(points, "noise"); // stays until the next takes its place
    await pause(NOISE_MS);
  }

  async #draw(stroke) {
    const along = lengthsAlong(stroke.points);
    const ms = drawingTime(along.at(-1));
    const since = performance.now();
    this.#current = stroke;
    const share = () => (document.hidden || still.matches ? 1 : (performance.now() - since) / ms);
    while (this.#current && share() < 1) {
      this.#show(beginning(stroke.points, along, share()), "fresh");
      await nextFrame();
    }
    if (!this.#current) return; // halted
    this.#complete();
    if (!still.matches) await pause(PEN_LIFT_MS);
  }

  #complete() {
    const stroke = this.#current;
    this.#current = null;
    this.#show(null);
    this.#finished(stroke);
  }

  #show(points, tone) {
    if (points) this.#paper.over.set("model", { points: this.#place(points), tone });
    else this.#paper.over.delete("model");
    this.#paper.refresh();
  }
}
