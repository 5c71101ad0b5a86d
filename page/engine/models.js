/** Knows which models are there, and fetches the others. */
export class Models {
  #load;
  #progress;
  #loads = new Map(); // category -> promise
  #there = new Set();

  /** `load(category, tell)` fetches a model; `progress(category, {loaded, total})` hears how far it has come. */
  constructor(load, progress) {
    this.#load = load;
    this.#progress = progress;
  }

  /** Tell whether the model of a category is ready to draw. */
  has(category) {
    return this.#there.has(category);
  }

  /** Promise that the model of a category is there; it is fetched once, and again after a failure. */
  load(category) {
    if (!this.#loads.has(category)) this.#loads.set(category, this.#fetch(category));
    return this.#loads.get(category);
  }

  async #fetch(category) {
    try {
      await this.#load(category, (progress) => this.#progress(category, progress));
      this.#there.add(category);
    } catch (error) {
      this.#loads.delete(category);
      throw error;
    }
  }
}
