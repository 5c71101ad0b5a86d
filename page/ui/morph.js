/** Two things and the drawings between them: two fields, a small paper, and a slider that leads from one to the other. */

import { toMorphGif } from "../files/pictures.js";
import { save } from "../files/reading.js";
import { onTheWay, square } from "../pictures/morph.js";
import { Paper } from "../pictures/paper.js";
import { Search } from "./search.js";
import { nameOf, percent, say } from "./words.js";

const $ = (id) => document.getElementById(id);
const COUNT = 13; // drawings that the model makes; between them points move
const TRIES = 4; // drawings of each end, of which the recogniser chooses
const FRAMES = 8; // of a film, from each drawing to the next

/** The card of it. The base, which knows all categories, draws; it is fetched when it is first asked for. */
export class Morph {
  #ends = ["cat", "bus"];
  #searches;
  #tell;
  #job = null; // at work: {cancel?}
  #drawings = []; // strokes [[x, y], ...] of each
  #names = []; // of what is shown
  #said = () => "";
  #paper = new Paper($("between"), () => this.strokes.map((points) => [{ points }, "model"]));

  /** `categories` can be chosen; `tell` has engine(), seed(), begin() and take(strokes). */
  constructor(categories, tell) {
    this.#tell = tell;
    this.#searches = ["from", "to"].map((id, i) => new Search($(id), $(`${id}-found`), categories, (category) => {
      this.#ends[i] = category;
      this.applyWords();
    }));
    $("morph-draw").addEventListener("click", () => (this.#job ? this.stop() : this.#draw()));
    $("place").addEventListener("input", () => this.#show());
    $("mix").addEventListener("click", () => this.#goTo(0.5));
    $("morph-take").addEventListener("click", () => this.strokes.length && tell.take(this.strokes.map((points) => ({ points, by: "model" }))));
    $("morph-gif").addEventListener("click", () => this.#save());
  }

  /** The strokes that are shown, [[x, y], ...] each. */
  get strokes() {
    return this.#drawings.length ? onTheWay(this.#drawings.map(square), Number($("place").value) * (COUNT - 1)) : [];
  }

  /** Whether the model is drawing. */
  get on() {
    return this.#job !== null;
  }

  /** Stop the model, if it draws. */
  stop() {
    if (!this.#job) return;
    this.#job.cancel?.();
    this.#done("stopped");
  }

  /** Paint anew, in other colours. */
  repaint() {
    this.#paper.repaint();
  }

  /** Show everything in the language in use. */
  applyWords() {
    this.#searches.forEach((search, i) => search.show(this.#ends[i]));
    $("morph-draw").textContent = say(this.#job ? "stop" : "morphDraw");
    $("morph-status").textContent = this.#said();
    this.#show();
  }

  #say(key, values = () => ({})) {
    this.#said = () => say(key, values());
    this.applyWords();
  }

  #done(key, values) {
    this.#job = null;
    this.#say(key, values);
  }

  #goTo(share) {
    $("place").value = share;
    this.#show();
  }

  #show() {
    const share = Number($("place").value);
    const [first, second] = this.#names.map(nameOf);
    $("way").hidden = !this.#drawings.length;
    if (this.#drawings.length) {
      [$("first").textContent, $("second").textContent] = [first, second];
      $("place").setAttribute("aria-valuetext", say("morphPlace", { first, second, share: percent(share) }));
    }
    this.#paper.repaint();
  }

  async #draw() {
    this.#tell.begin();
    const mine = (this.#job = {});
    const names = [...this.#ends];
    this.#say("starting");
    try {
      const engine = await this.#tell.engine();
      for (const name of names) await engine.load(name, (progress) => this.#hear(mine, progress), true);
      const seed = this.#tell.seed();
      const seeds = [];
      for (const [i, name] of names.entries()) {
        if (this.#job !== mine) return;
        this.#say("morphEnd", () => ({ name: nameOf(name) }));
        seeds.push(await this.#surest(engine, mine, name, seed + TRIES * i));
      }
      if (this.#job !== mine) return;
      await this.#between(engine, mine, names, seeds);
    } catch ({ message }) {
      if (this.#job === mine) this.#done("failed", () => ({ message }));
    }
  }

  #hear(mine, { loaded, total }) {
    if (this.#job === mine && total) this.#say("morphLoading", () => ({ percent: percent(loaded / total) }));
  }

  /** Promise the seed of the drawing of an end that the recogniser names most surely. */
  async #surest(engine, mine, category, seed) {
    const made = Array.from({ length: TRIES }, () => []);
    const request = { category, strokes: [], endings: TRIES, seed, base: true };
    await this.#wait(mine, engine.draw(request, ({ type, ending, stroke }) => type === "stroke" && made[ending].push(stroke)));
    const sure = (await Promise.all(made.map((strokes) => engine.recognise(strokes, category)))).map(({ own }) => own);
    return seed + sure.indexOf(Math.max(...sure));
  }

  async #between(engine, mine, names, seeds) {
    const growing = Array.from({ length: COUNT }, () => []);
    const ends = names.map((category, i) => ({ category, randomness: seeds[i] }));
    const shares = growing.map((_, i) => i / (COUNT - 1));
    this.#names = names;
    this.#drawings = growing;
    this.#goTo(0.5);
    const longest = () => Math.max(...growing.map(({ length }) => length));
    this.#say("morphDrawing", () => ({ count: COUNT, stroke: longest() }));
    await this.#wait(mine, engine.morph(ends, shares, ({ ending, stroke }) => {
      growing[ending].push(stroke.points);
      if (this.#job === mine && ending === COUNT - 1) this.applyWords();
      else this.repaint();
    }));
    if (this.#job !== mine) return;
    this.#done("morphDone");
  }

  #wait(mine, job) {
    mine.cancel = job.cancel;
    return job.done;
  }

  async #save() {
    if (this.#job || !this.strokes.length) return;
    const keys = this.#drawings.map(square);
    const frames = Array.from({ length: (COUNT - 1) * FRAMES + 1 }, (_, i) => onTheWay(keys, i / FRAMES));
    const file = `${this.#names.join("-")}.gif`;
    this.#say("saving", () => ({ file }));
    save(await toMorphGif(frames), file);
    this.#say("saved", () => ({ file }));
  }
}
