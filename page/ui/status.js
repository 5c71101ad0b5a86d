/** The line under the paper that says what happens. */

import { say } from "./words.js";

const SPOKEN_MS = 1500; // between two reports of progress, which screen readers read out
const PROGRESS = ["", "starting", "loading", "preparing"]; // texts that progress may replace; others are news

/** Remembers what it says, so that it can say it in another language. */
export class Status {
  #line;
  #bar;
  #key = "";
  #values = () => ({});
  #spoken = -Infinity;

  /** `line` gets the text, `bar` is a progress element. */
  constructor(line, bar) {
    this.#line = line;
    this.#bar = bar;
  }

  /** Say the text `key`; `values` returns what is put into it, in the language of the moment. */
  tell(key, values = () => ({})) {
    this.#key = key;
    this.#values = values;
    this.show();
  }

  /** Say the text `key` in the place of `old`, and of nothing else. */
  instead(old, key) {
    if (this.#key === old) this.tell(key);
  }

  /** Show progress from 0 to 1, and say the text `key` from time to time. */
  progress(share, key, values) {
    this.#bar.hidden = false;
    this.#bar.value = share;
    if (!PROGRESS.includes(this.#key)) return;
    if (key === this.#key && performance.now() - this.#spoken < SPOKEN_MS) return;
    this.#spoken = performance.now();
    this.tell(key, values);
  }

  /** Take the bar away, and say the text `key`, if any, unless there is other news. */
  endProgress(key) {
    this.#bar.hidden = true;
    if (key && PROGRESS.includes(this.#key)) this.tell(key);
  }

  /** Say it again, in the language in use. */
  show() {
    this.#line.textContent = this.#key ? say(this.#key, this.#values()) : "";
  }
}
