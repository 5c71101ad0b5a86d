/** Asks the recogniser about drawings, one at a time, and remembers what it said of each. */

const MOST_WAITING = 48; // as many as the chart shows

/** What comes before a stroke never changes, so a stroke stands for the drawing that ends with it. */
export class Recognition {
  #recognise;
  #news;
  #known = new WeakMap(); // stroke -> {category: guesses}
  #waiting = [];
  #asking = false;

  /** `recognise(strokes, category)` promises guesses; `news()` is called when there are new ones. */
  constructor(recognise, news) {
    this.#recognise = recognise;
    this.#news = news;
  }

  /** Return the guesses {top, own} for the drawing that ends with `stroke`, or undefined. */
  of(stroke, category) {
    return this.#known.get(stroke)?.[category];
  }

  /** Tell whether anything, for whatever category, is known of the drawing that ends with `stroke`. */
  knows(stroke) {
    return this.#known.has(stroke);
  }

  /** Ask for the guesses for a drawing, unless they are known. */
  want(strokes, category) {
    if (!strokes.length || this.of(strokes.at(-1), category)) return;
    this.#waiting.push({ strokes: strokes.slice(), category });
    if (this.#waiting.length > MOST_WAITING) this.#waiting.shift();
    if (!this.#asking) this.#ask();
  }

  /** Forget the questions that have no answer yet. */
  forget() {
    this.#waiting = [];
  }

  async #ask() {
    this.#asking = true;
    while (this.#waiting.length) {
      const { strokes, category } = this.#waiting.shift();
      try {
        const guesses = await this.#recognise(strokes, category);
        this.#known.set(strokes.at(-1), { ...this.#known.get(strokes.at(-1)), [category]: guesses });
        this.#news();
      } catch (error) {
        console.warn("the recogniser:", error.message); // the page is as good without its opinion
      }
    }
    this.#asking = false;
  }
}
