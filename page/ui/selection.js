/** The stroke that is chosen to be changed: found under a tap or with the arrow keys, shown with a halo. */

import { distanceTo } from "../pictures/strokes.js";

const REACH = 16; // units between a tap and the stroke that it means

/** Chooses among the strokes that `strokes()` returns, on `paper`. */
export class Selection {
  #paper;
  #strokes;
  #changed;
  #chosen = null;

  /** `changed()` is called whenever another stroke is chosen, or none. */
  constructor(paper, strokes, changed) {
    this.#paper = paper;
    this.#strokes = strokes;
    this.#changed = changed;
  }

  /** The place of the chosen stroke in the drawing, -1 for none. */
  get at() {
    return this.#chosen ? this.#strokes().indexOf(this.#chosen) : -1;
  }

  /** Whether one was chosen, which may be off the paper by now. */
  get any() {
    return this.#chosen !== null;
  }

  /** Choose the stroke nearest to a point, the upper one of two; none where all are far. */
  tap(point) {
    let best = null, least = REACH;
    for (const stroke of this.#strokes()) {
      const distance = distanceTo(stroke.points, point);
      if (distance <= least) [best, least] = [stroke, distance];
    }
    this.choose(best);
  }

  /** Choose the stroke `by` places on, around the ends. */
  step(by) {
    const all = this.#strokes();
    if (!all.length) return;
    const from = this.at < 0 ? (by > 0 ? -1 : 0) : this.at;
    this.choose(all[(from + by + all.length) % all.length]);
  }

  /** Choose a stroke, or none. */
  choose(stroke) {
    this.#chosen = stroke;
    if (stroke) this.#paper.over.set("chosen", { points: stroke.points, tone: "chosen", wide: true });
    else this.#paper.over.delete("chosen");
    this.#paper.refresh();
    this.#changed();
  }
}
