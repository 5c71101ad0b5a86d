/** The sheet: the strokes that are on it, what was done to them, and what the recogniser says of them. */

import { Drawing } from "../engine/history.js";
import { Recognition } from "../engine/recognition.js";
import { Paper } from "../pictures/paper.js";
import { charted } from "./chart.js";

/** One drawing on `canvas`. */
export class Sheet {
  drawing = new Drawing();
  /** What a drawing that was opened says of itself. */
  given = {};
  /** The category that the recogniser is asked about. */
  category = "cat";
  #fresh = new Set(); // the strokes of the model's last turn
  #changed;

  /** `recognise(strokes, category)` promises guesses; `changed()` hears of strokes, `news()` of guesses. */
  constructor(canvas, recognise, changed, news) {
    this.#changed = changed;
    this.paper = new Paper(canvas, () => this.strokes.map((stroke) => [stroke, this.#toneOf(stroke)]));
    this.recognition = new Recognition(recognise, news);
  }

  /** The strokes on it, in their order. */
  get strokes() {
    return this.drawing.strokes;
  }

  /** What the recogniser says of the drawing as it stands, or undefined. */
  get guesses() {
    return this.strokes.length ? this.recognition.of(this.strokes.at(-1), this.category) : undefined;
  }

  #toneOf(stroke) {
    return stroke.by === "you" ? "you" : this.#fresh.has(stroke) ? "fresh" : "model";
  }

  /** Put one more stroke on it, `fresh` if it is the model's latest. */
  put(stroke, fresh = false) {
    if (fresh) this.#fresh.add(stroke);
    this.drawing.add(stroke);
    this.paper.ink(stroke, this.#toneOf(stroke));
    this.#follow();
  }

  /**
   * Put `added` in the place of `count` strokes from the `at`-th on.
   *
   * Strokes stand for the drawing that ends with them, so those that follow become others, of the same look.
   */
  replace(at, count, added) {
    const following = this.strokes.slice(at + count).map((stroke) => ({ ...stroke }));
    this.#fresh = new Set(added);
    this.drawing.replace(at, this.strokes.length - at, [...added, ...following]);
    this.#renew();
  }

  /** Let the model's last strokes dry: they are no longer new. */
  settle() {
    if (!this.#fresh.size) return;
    this.#fresh.clear();
    this.paper.repaint();
  }

  /** Take everything off it; one undo brings it back. */
  clear() {
    this.drawing.clear();
    this.recognition.forget();
    this.settle();
    this.#renew();
  }

  /** Undo or redo; return whether there was anything. */
  back(step) {
    const done = this.drawing[step]();
    if (done) this.#renew();
    return done;
  }

  /** Put a drawing {strokes, given} on it, in the place of what is there. */
  lay({ strokes, given = {} }) {
    this.#fresh.clear();
    this.recognition.forget();
    this.drawing.replace(0, this.strokes.length, strokes);
    this.given = given;
    this.#renew();
  }

  /** Ask the recogniser about another category, as far as it was asked before. */
  ask(category) {
    this.category = category;
    this.recognition.forget();
    const all = this.strokes;
    all.forEach((stroke, i) => {
      const isShown = i >= all.length - charted(all).length;
      if (isShown && (this.recognition.knows(stroke) || i === all.length - 1)) this.recognition.want(all.slice(0, i + 1), category);
    });
  }

  #renew() {
    this.paper.repaint();
    this.#follow();
  }

  #follow() {
    if (!this.strokes.length) this.given = {};
    this.recognition.want(this.strokes, this.category);
    this.#changed();
  }
}
