/** What to draw: buttons of the categories with a model of their own, a field for all others, and what the drawing looks like. */

import { Search } from "./search.js";
import { nameOf, say } from "./words.js";

const $ = (id) => document.getElementById(id);
const SURE = 0.4; // of a guess that is worth saying
const FEWEST = 0.15; // of the chosen category; as long as it is that likely, nothing else is proposed

/** Shows and changes the chosen category. */
export class Choice {
  /** The category that is drawn. */
  category = "cat";
  #choose;
  #scene;
  #search;
  #proposed = null;

  /** `choose(category)` and `scene(understood)` are told what is pressed. */
  constructor(choose, scene) {
    [this.#choose, this.#scene] = [choose, scene];
    $("guess").addEventListener("click", () => this.#proposed && choose(this.#proposed));
  }

  /** Offer what the site has models for. */
  offer(site) {
    if (!site.categories.includes(this.category)) this.category = site.categories[0];
    const own = Object.keys(site.networks.models).filter((name) => site.categories.includes(name));
    const choices = own.map((name) => {
      const label = document.createElement("label");
      const input = document.createElement("input");
      Object.assign(input, { type: "radio", name: "category", id: `category-${name}`, value: name, checked: name === this.category });
      input.addEventListener("change", () => this.#choose(name));
      const text = document.createElement("span");
      text.dataset.category = name;
      label.append(input, text);
      return label;
    });
    $("categories").replaceChildren(...choices);
    this.#search = new Search($("find"), $("found"), site.categories, this.#choose, this.#scene);
  }

  /** Show the chosen category: its button is down, or else it stands in the search field. */
  show() {
    const buttons = [...$("categories").querySelectorAll("input")];
    for (const button of buttons) button.checked = button.value === this.category;
    this.#search?.show(buttons.some((button) => button.checked) ? "" : this.category);
    this.#showProposed();
  }

  /** Propose what the recogniser takes the drawing for, `guesses` {top, own}, where that is something else. */
  propose(guesses) {
    const best = guesses?.top[0];
    const other = best && best.name !== this.category && best.probability >= SURE && !(guesses.own >= FEWEST);
    this.#proposed = other ? best.name : null;
    this.#showProposed();
  }

  #showProposed() {
    $("guess").hidden = !this.#proposed;
    if (this.#proposed) $("guess").textContent = say("guess", { name: nameOf(this.#proposed) });
  }
}
