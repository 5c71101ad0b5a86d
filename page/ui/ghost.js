/** The stroke that the model would draw next, shown faintly until it is taken, changed, or drawn over. */

const MODEST = { limit: 1, steps: "quick", place: true };
const TAP = 2, NEAR = 9; // units; a stroke no longer than this is a tap, and a tap this near the ghost takes it

/** Proposes strokes on `paper`; whoever draws on ignores them. */
export class Ghost {
  /** Ms from the question to the ghost, of the last one; null before. */
  latency = null;
  #paper;
  #changed;
  #job = null;
  #request = null; // of the last question
  #stroke = null; // on show
  #passed = null; // the one that was on show when the pen came down

  /** `changed()` is called whenever there is one, or no longer. */
  constructor(paper, changed) {
    this.#paper = paper;
    this.#changed = changed;
  }

  /** The stroke on show, or null. */
  get stroke() {
    return this.#stroke;
  }

  /** Ask `engine` for the stroke after `request.strokes`, as {category, strokes, seed, temperature}; nothing if it is finished. */
  ask(engine, request) {
    this.hide();
    this.#request = { engine, ...request };
    this.#draw({ unlessFinished: true });
  }

  /** Show another proposal in the place of this one. */
  another() {
    if (!this.#request) return;
    const request = { ...this.#request, seed: this.#request.seed + 1 };
    this.hide();
    this.#request = request;
    this.#draw({});
  }

  /** Take it off the paper and return it. */
  take() {
    const stroke = this.#stroke;
    this.hide();
    return stroke;
  }

  /** Take it away, and stop what was asked for. */
  hide() {
    this.#job?.cancel();
    this.#job = this.#request = this.#passed = null;
    this.#show(null);
  }

  /** The pen comes down: the ghost makes way. */
  yield() {
    const stroke = this.#stroke;
    this.hide();
    this.#passed = stroke;
  }

  /** Return the ghost that made way, if what the pen has drawn is a tap on it. */
  tapped(points) {
    const [stroke, [first]] = [this.#passed, points];
    this.#passed = null;
    const far = ([x, y], [a, b]) => Math.hypot(x - a, y - b);
    const isTap = stroke && points.every((point) => far(point, first) <= TAP);
    return isTap && stroke.points.some((point) => far(point, first) <= NEAR) ? stroke : null;
  }

  async #draw(more) {
    const began = performance.now();
    const { engine, ...request } = this.#request;
    const job = (this.#job = engine.draw({ ...request, ...MODEST, ...more }, ({ type, stroke }) => {
      if (type !== "stroke") return;
      this.latency = performance.now() - began;
      this.#show(stroke);
    }));
    await job.done.catch(() => {}); // the page is as good without it
    if (this.#job === job) this.#job = null;
  }

  #show(stroke) {
    if (stroke === this.#stroke) return;
    this.#stroke = stroke;
    if (stroke) this.#paper.over.set("ghost", { points: stroke.points, tone: "ghost" });
    else this.#paper.over.delete("ghost");
    this.#paper.refresh();
    this.#changed();
  }
}
