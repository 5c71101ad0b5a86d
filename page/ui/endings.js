/** Several endings of one drawing, which grow beside each other on the paper until one is chosen. */

import { Player } from "../pictures/animation.js";
import { Paper } from "../pictures/paper.js";
import { say } from "./words.js";

/** The endings that lie over the paper, in `container`. */
export class Endings {
  #container;
  #tell;
  #all = []; // {button, paper, strokes: shown, given: all that came, ended}

  /** `tell` has choose(strokes, number), unfinished(number) and close(). */
  constructor(container, tell) {
    this.#container = container;
    this.#tell = tell;
  }

  /** Tell whether endings are on show. */
  get open() {
    return this.#all.length > 0;
  }

  /** How many strokes each of them has got so far. */
  get sizes() {
    return this.#all.map(({ given }) => given.length);
  }

  /** Lay out `count` copies of a drawing, [stroke, tone] pairs; return a player for each. */
  show(drawing, count) {
    this.#all = Array.from({ length: count }, (_, i) => this.#ending(drawing, i));
    const close = document.createElement("button");
    close.type = "button";
    close.className = "close";
    close.textContent = "×";
    close.addEventListener("click", () => this.#tell.close());
    this.#container.replaceChildren(...this.#all.map(({ button }) => button), close);
    this.#container.hidden = false;
    this.applyWords();
    return this.#all.map((each) => new Player(each.paper, (stroke) => this.#drawn(each, stroke)));
  }

  /** Hear an event of the engine. */
  hear({ type, ending, stroke }) {
    const each = this.#all[ending];
    if (!each) return;
    if (type === "stroke") each.given.push(stroke);
    if (type === "end") each.ended = true;
    this.applyWords();
  }

  /** Take what has come as all that comes: the model was stopped. */
  settle() {
    for (const each of this.#all) {
      if (!each.ended) each.given = each.strokes;
      each.ended = true;
    }
    this.applyWords();
  }

  /** Move the keyboard to the first ending. */
  focus() {
    this.#all[0]?.button.focus();
  }

  /** Paint all anew, in other colours. */
  repaint() {
    for (const { paper } of this.#all) paper.repaint();
  }

  /** Say in the language in use what each button does. */
  applyWords() {
    this.#all.forEach(({ button, given, ended }, i) => {
      const label = ended ? say("endingReady", { number: i + 1, count: given.length }) : say("ending", { number: i + 1 });
      button.setAttribute("aria-label", label);
      button.setAttribute("aria-disabled", String(!ended));
    });
    const close = this.#container.querySelector(".close");
    if (!close) return;
    close.title = say("endingsClose");
    close.setAttribute("aria-label", say("endingsClose"));
  }

  /** Take them away. */
  hide() {
    this.#all = [];
    this.#container.replaceChildren();
    this.#container.hidden = true;
  }

  #ending(drawing, i) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "ending";
    const canvas = document.createElement("canvas");
    button.append(canvas);
    const each = { button, strokes: [], given: [], ended: false };
    each.paper = new Paper(canvas, () => [...drawing, ...each.strokes.map((stroke) => [stroke, "fresh"])]);
    button.addEventListener("click", () => {
      if (each.ended) this.#tell.choose(each.given, i + 1);
      else this.#tell.unfinished(i + 1);
    });
    return each;
  }

  #drawn(each, stroke) {
    each.strokes.push(stroke);
    each.paper.ink(stroke, "fresh");
  }
}
