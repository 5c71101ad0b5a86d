/** The settings of the model, as they stand in the form. */

import { decimal, say } from "./words.js";

const GREATEST_SEED = 2147483640; // which leaves room for the endings
const ROLLED = 1_000_000; // seeds that a roll chooses from: few digits are easy to note down

const $ = (id) => document.getElementById(id);

/** Reads and shows temperature, steps, seed and the checkboxes. */
export class Settings {
  #stepsChosen = false;

  /** How much noise the strokes come from, 1 as in training. */
  get temperature() {
    return Number($("temperature").value);
  }

  /** Denoising steps of a stroke; undefined, which is as the model was tuned, until the reader chooses. */
  get steps() {
    return this.#stepsChosen ? Number($("steps").value) : undefined;
  }

  /** A whole number >= 0; whatever else stands in the field counts as the nearest. */
  get seed() {
    return Math.min(Math.max(Math.floor(Number($("seed").value)) || 0, 0), GREATEST_SEED);
  }

  set seed(value) {
    $("seed").value = value > GREATEST_SEED ? 0 : value;
  }

  /** Whether strokes are shown while they are still noise. */
  get watch() {
    return $("watch").checked;
  }

  /** Whether the model goes on as soon as the pen is lifted. */
  get auto() {
    return $("auto").checked;
  }

  /** Whether the next stroke is proposed after each of the person's. */
  get ghost() {
    return $("ghosts").checked;
  }

  /** Follow what the reader changes. */
  listen() {
    $("steps").addEventListener("input", () => (this.#stepsChosen = true));
    for (const id of ["temperature", "steps"]) $(id).addEventListener("input", () => this.show());
    $("seed").addEventListener("change", () => (this.seed = this.seed)); // shows the number that counts
    $("roll").addEventListener("click", () => (this.seed = Math.floor(Math.random() * ROLLED)));
  }

  /** Show the values beside the sliders. */
  show() {
    $("temperature-value").textContent = decimal(this.temperature, 2);
    $("steps-value").textContent = this.steps ? decimal(this.steps, 0) : say("stepsTuned");
  }
}
