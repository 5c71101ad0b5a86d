/** The field that finds a category by its name in either language: a combobox with a list. */

import { currentLanguage, nameOf, otherNameOf, plainName, say } from "./words.js";

/** Offers all categories and, where `scene` is given, a scene of several things; what is chosen stands in the field, unless it has a button of its own. */
export class Search {
  #input;
  #list;
  #categories;
  #choose;
  #scene;
  #reader = null; // of prompts, once it has been fetched
  #offered = null; // the scene on offer
  #shown = ""; // the category whose name stands in the field, if any
  #active = -1; // of the options

  /** `input` and `list` are the elements, `choose(category)` and `scene(understood)` are told what is chosen. */
  constructor(input, list, categories, choose, scene) {
    [this.#input, this.#list, this.#categories, this.#choose, this.#scene] = [input, list, categories, choose, scene];
    input.addEventListener("focus", () => input.select());
    input.addEventListener("click", () => this.#open(""));
    input.addEventListener("input", () => this.#open(input.value));
    input.addEventListener("blur", () => this.#close());
    input.addEventListener("keydown", (event) => this.#key(event));
    import("../words/prompts.js").then((reader) => (this.#reader = reader), () => {}); // without a network there are the names
    list.addEventListener("pointerdown", (event) => event.preventDefault()); // the focus stays in the field
    list.addEventListener("click", ({ target }) => this.#take(target.closest("[role=option]")));
  }

  /** Show the chosen category, "" for none, in the language in use. */
  show(category = this.#shown) {
    this.#shown = category;
    this.#input.value = category && nameOf(category);
    this.#input.placeholder = say("find", { count: this.#categories.length });
    this.#input.classList.toggle("chosen", category !== "");
  }

  #open(typed) {
    const named = this.#found(plainName(typed));
    const { scene, fault } = named.length ? {} : this.#understood(typed);
    const isOne = scene?.things.length === 1 && scene.things[0].size === 1 && !scene.told.length;
    const found = isOne ? [scene.things[0].category] : named;
    const wanted = this.#scene && !isOne ? scene : null;
    const options = found.map((category, i) => {
      const option = document.createElement("li");
      Object.assign(option, { id: `${this.#list.id}-${i}`, role: "option", textContent: nameOf(category) });
      option.dataset.category = category;
      const other = document.createElement("small");
      Object.assign(other, { lang: currentLanguage() === "tr" ? "en" : "tr", textContent: otherNameOf(category) });
      option.append(other);
      return option;
    });
    this.#offered = wanted;
    if (!options.length) {
      const only = document.createElement("li");
      Object.assign(only, { id: `${this.#list.id}-0`, role: "option", className: "scene" });
      if (!wanted) only.ariaDisabled = "true";
      const lines = wanted ? [say("findScene", scene), ...scene.relations.map((one) => say("relation", { ...scene, ...one }))] : [fault ?? say("findNone")];
      const told = wanted?.told.map(([key, values]) => say(key, values)) ?? [];
      for (const [kind, text] of [...lines.map((line) => ["div", line]), ...told.map((line) => ["small", line])]) {
        only.append(Object.assign(document.createElement(kind), { textContent: text }));
      }
      options.push(only);
    }
    this.#list.replaceChildren(...options);
    this.#list.hidden = false;
    this.#input.ariaExpanded = "true";
    this.#activate(typed && (found.length || wanted) ? 0 : found.indexOf(this.#shown));
  }

  /** Return the `scene` that a prompt asks for, or in words why it asks for none. */
  #understood(typed) {
    if (!this.#reader) return { fault: say("findNone") };
    try {
      return { scene: this.#reader.readPrompt(typed) };
    } catch (error) {
      if (!(error instanceof this.#reader.PromptFault)) throw error;
      return { fault: say(error.key, error.values) };
    }
  }

  /** Return the categories that have a name like this, those that begin with it first. */
  #found(plain) {
    const rank = (category) => {
      const names = [category, nameOf(category), otherNameOf(category)].map(plainName);
      if (names.some((name) => name.startsWith(plain))) return 0;
      return names.some((name) => name.includes(plain)) ? 1 : 2;
    };
    const order = new Intl.Collator(currentLanguage()).compare;
    return this.#categories
      .map((category) => [rank(category), category])
      .filter(([place]) => place < 2)
      .sort(([a, one], [b, other]) => a - b || order(nameOf(one), nameOf(other)))
      .map(([, category]) => category);
  }

  #close() {
    this.#list.hidden = true;
    this.#input.ariaExpanded = "false";
    this.#activate(-1);
    this.show();
    if (document.activeElement === this.#input) this.#input.select(); // what is typed next replaces the name
  }

  #activate(index) {
    const options = this.#list.children;
    options[this.#active]?.removeAttribute("aria-selected");
    this.#active = index;
    const option = options[index];
    if (option) {
      option.ariaSelected = "true";
      this.#input.setAttribute("aria-activedescendant", option.id);
      this.#list.scrollTop = option.offsetTop - (this.#list.clientHeight - option.offsetHeight) / 2;
    } else this.#input.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    const isOpen = !this.#list.hidden;
    const count = this.#list.querySelectorAll("[data-category]").length;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if (!isOpen) this.#open("");
      else if (count) this.#activate((this.#active + (event.key === "ArrowDown" ? 1 : -1) + count) % count);
    } else if (event.key === "Enter" && isOpen) this.#take(this.#list.children[Math.max(this.#active, 0)]);
    else if (event.key === "Escape" && isOpen) this.#close();
    else return;
    event.preventDefault();
    event.stopPropagation(); // Escape would stop the model
  }

  #take(option) {
    const [category, scene] = [option?.dataset.category, this.#offered];
    if (!category && !scene) return;
    this.#close();
    if (category) this.#choose(category);
    else this.#scene(scene);
  }
}
