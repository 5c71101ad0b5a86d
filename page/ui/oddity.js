/** Says it where a stroke of the person's is unlike the category, at that stroke. */

/** Asks about the last stroke of a drawing and marks it on `paper`; whatever is done next takes the mark away. */
export class Oddity {
  /** The stroke that is marked, or null. */
  stroke = null;
  /** Promises the answer to the last question. */
  answer = null;
  #paper;
  #tell;
  #asked = null;

  /** `tell()` is called when a stroke is marked. */
  constructor(paper, tell) {
    this.#paper = paper;
    this.#tell = tell;
  }

  /** Ask `engine` about the last of `strokes`; a first stroke may be anything. */
  async ask(engine, { category, strokes }) {
    this.hide();
    if (strokes.length < 2) return;
    const mine = (this.#asked = strokes.at(-1));
    const isOdd = await (this.answer = engine.unlike({ category, strokes }).catch(() => false)); // no harm without it
    if (!isOdd || this.#asked !== mine) return;
    this.stroke = mine;
    this.#paper.over.set("odd", { points: mine.points, tone: "odd", wide: true });
    this.#paper.refresh();
    this.#tell();
  }

  /** Take the mark away, and do not mark what was asked about. */
  hide() {
    this.#asked = this.stroke = null;
    if (this.#paper.over.delete("odd")) this.#paper.refresh();
  }
}
