/** The model's turns: it draws on, shows several endings, or draws one stroke anew, until it is stopped. */

import { outside } from "../engine/placement.js";
import { Turn } from "../engine/turn.js";
import { Player } from "../pictures/animation.js";
import { arranged, behindPairs, boxOf, scaleIn, visibleParts } from "../words/layout.js";
import { Endings } from "./endings.js";

const NUM_ENDINGS = 4;
const BOX = 255;
const PICTURE = { width: 640, height: 640, margin: 14 }; // that a scene is arranged in, in its pixels
const TRIES = 4; // drawings of each thing, of which the recogniser chooses

/** What the model is asked to do to `sheet`. */
export class Turns {
  /** Ms from asking the model to its first stroke, of the last turn; null before. */
  latency = null;
  #turn = null;
  #scene = null; // that is being made, if any
  #finished = []; // strokes that one press on "Finish it" or an ending put at the end of the drawing
  #sheet;
  #settings;
  #status;
  #tell;

  /**
   * `tell` has model(category): promises {engine, category, ready, isReady, most}, `ready` being the promise of its networks;
   * show(isDrawing), offered(), closed() and adopted(), which are called after the fact.
   */
  constructor(sheet, settings, status, container, tell) {
    [this.#sheet, this.#settings, this.#status, this.#tell] = [sheet, settings, status, tell];
    this.endings = new Endings(container, {
      choose: (strokes, number) => this.#adopt(strokes, number),
      unfinished: (number) => status.tell("endingUnfinished", () => ({ number })),
      close: () => {
        this.leave();
        tell.closed();
      },
    });
  }

  /** Whether the model is drawing. */
  get on() {
    return this.#turn !== null;
  }

  /** Stop the model, if it draws, and put the endings away. */
  leave() {
    this.stop();
    this.endings.hide();
  }

  /** Stop the model, if it draws. */
  stop() {
    this.#scene = null;
    if (!this.#turn) return;
    const stopped = this.#turn;
    this.#turn = null;
    stopped.stop();
    this.endings.settle();
    this.#status.tell("stopped");
    this.#tell.show(false);
  }

  /** Draw on the sheet itself, until the drawing is finished. */
  finish() {
    return this.#drawOn("drawing", Infinity);
  }

  /** Draw one stroke. */
  one() {
    return this.#drawOn("oneMore", 1);
  }

  async #drawOn(key, limit) {
    const { most } = await this.#tell.model();
    this.leave();
    const sheet = this.#sheet;
    if (this.#isFull(sheet.strokes, most)) return;
    sheet.settle();
    const before = sheet.strokes.length;
    const mine = [];
    this.#finished = limit === Infinity ? mine : [];
    const player = new Player(sheet.paper, (stroke) => {
      mine.push(stroke);
      sheet.put(stroke, true);
    });
    const reasons = await this.#play([player], key, { strokes: sheet.strokes.slice(), limit });
    if (!reasons) return;
    if (sheet.strokes.length === before) this.#status.tell("nothing");
    else if (reasons[0] === "longest") this.#status.tell("longest", () => ({ most }));
    else if (reasons[0] === "limit") this.#status.tell("added");
    else this.#status.tell("finished", () => ({ count: sheet.strokes.length }));
  }

  /** Show several endings of what was there before the model finished it. */
  async another() {
    const { most } = await this.#tell.model();
    const again = this.endings.open;
    this.leave();
    const strokes = this.#sheet.strokes.slice(0, this.#sheet.strokes.length - this.#surplus());
    if (this.#isFull(strokes, most)) return;
    if (again) this.#settings.seed += NUM_ENDINGS; // those of this seed have been seen
    const shown = strokes.map((stroke) => [stroke, stroke.by === "you" ? "you" : "model"]);
    const players = this.endings.show(shown, NUM_ENDINGS);
    const request = { strokes, endings: NUM_ENDINGS, limit: Infinity, goesOn: true };
    const reasons = await this.#play(players, "drawingEndings", request, (event) => this.endings.hear(event));
    if (!reasons) return;
    this.#status.tell("chooseEnding");
    this.#tell.offered();
  }

  /**
   * Draw the `at`-th stroke anew, after those before it; `tidy` keeps close to the one that is there.
   *
   * Promises the new stroke, or null if there is none.
   */
  async redraw(at, tidy) {
    const { most } = await this.#tell.model();
    this.leave();
    const all = this.#sheet.strokes.slice();
    if (at >= most) return this.#isFull(all, most) && null;
    const old = all[at];
    const seed = Math.floor(Math.random() * 2 ** 31);
    const strokes = all.slice(0, at);
    const player = new Player(this.#sheet.paper, (stroke) => this.#sheet.replace(at, 1, [stroke]));
    const request = { strokes, around: all.slice(0, most), limit: 1, seed, ...(tidy ? { tidied: old } : {}) };
    const reasons = await this.#play([player], "oneMore", request);
    if (!reasons) return null;
    this.#status.tell(tidy ? "tidied" : "redrawn");
    return this.#sheet.strokes[at] ?? null;
  }

  /** Draw what a prompt asks for, {things, relations, told}, each where its relations want it, in the place of what is on the sheet. */
  async scene({ things, relations, told }) {
    const { engine } = await this.#tell.model();
    this.leave();
    const sheet = this.#sheet;
    sheet.clear();
    const mine = (this.#scene = {});
    const drawings = [];
    for (const [number, { category }] of things.entries()) {
      const drawing = await this.#surest(engine, category, this.#settings.seed + TRIES * number);
      if (!drawing || this.#scene !== mine) return;
      drawings.push(drawing);
    }
    const boxes = arranged(things, drawings.map((drawing) => drawing.map(({ points }) => points)), relations, PICTURE);
    const whole = drawings.map((drawing, i) => onSheet(drawing, boxes[i]));
    const player = new Player(sheet.paper, (stroke) => sheet.put(stroke, true));
    this.#turn = { stop: () => player.halt() };
    this.#tell.show(true);
    this.#status.tell("drawing");
    for (const [i, drawing] of whole.entries()) {
      const fronts = behindPairs(relations).filter(([back]) => back === i).map(([, front]) => whole[front].map(({ points }) => points));
      for (const stroke of drawing) for (const part of fronts.reduce(cut, [stroke])) player.stroke(part);
    }
    player.end();
    await player.done;
    if (this.#scene !== mine) return;
    this.#turn = null;
    this.#tell.show(false);
    this.#status.tell("sceneFinished", () => ({ count: things.length, told }));
  }

  /** Promise the strokes of a thing, of several drawings those that the recogniser names most surely; null if it was stopped. */
  async #surest(engine, category, seed) {
    const made = Array.from({ length: TRIES }, () => []);
    const unseen = made.map((strokes) => ({ noise() {}, stroke: (stroke) => strokes.push(stroke), end() {}, halt() {}, done: true }));
    const request = { category, strokes: [], endings: TRIES, limit: Infinity, seed, place: false };
    if (!(await this.#play(unseen, "drawing", request))) return null;
    const guesses = await Promise.all(made.map((strokes) => engine.recognise(strokes, category)));
    const sure = guesses.map(({ own }) => own);
    return made[sure.indexOf(Math.max(...sure))];
  }

  /** Let the model draw on; return why each ending ended, or null if it was stopped or failed. */
  async #play(players, key, request, tell) {
    const mine = (this.#turn = new Turn(players));
    this.#tell.show(true);
    const { engine, category, ready, isReady } = await this.#tell.model(request.category);
    this.#status.tell(isReady ? key : "starting"); // which progress may replace
    const told = ready.then(() => this.#turn === mine && this.#status.tell(key));
    const { temperature, steps, seed, watch } = this.#settings;
    const whole = { category, temperature, steps, seed, watch, place: true, ...request };
    try {
      return await mine.run(engine, told, whole, (event) => {
        this.latency = mine.latency ?? this.latency;
        tell?.(event);
      });
    } catch ({ message }) {
      if (this.#turn === mine) {
        this.endings.hide();
        this.#status.tell("failed", () => ({ message }));
      }
      return null;
    } finally {
      if (this.#turn === mine) this.#turn = null;
      this.#tell.show(this.#turn !== null);
    }
  }

  /** Return how many strokes at the end of the drawing an ending would replace. */
  #surplus() {
    const { strokes } = this.#sheet;
    const last = strokes.slice(-this.#finished.length);
    return this.#finished.length && last.every((stroke, i) => stroke === this.#finished[i]) ? this.#finished.length : 0;
  }

  #adopt(strokes, number) {
    this.leave();
    const surplus = this.#surplus();
    this.#finished = strokes;
    this.#sheet.replace(this.#sheet.strokes.length - surplus, surplus, strokes);
    this.#status.tell("adopted", () => ({ number }));
    this.#tell.adopted();
  }

  #isFull(strokes, most) {
    const full = strokes.length >= most;
    if (full) this.#status.tell("full", () => ({ most }));
    return full;
  }
}

/** Return the strokes of a drawing in a box of the picture of a scene, on the sheet. */
function onSheet(drawing, box) {
  const own = boxOf(drawing.map(({ points }) => points));
  const unit = BOX / PICTURE.width, scale = scaleIn(own, box);
  const square = { left: (box.left - own.left * scale) * unit, top: (box.top - own.top * scale) * unit, side: BOX * scale * unit };
  return drawing.map((stroke) => ({ ...stroke, points: outside(square, stroke.points), square }));
}

/** Return strokes without what `front` hides of them. */
const cut = (strokes, front) => strokes.flatMap((stroke) => {
  const parts = visibleParts(stroke.points, front);
  return parts[0] === stroke.points ? [stroke] : parts.map((points) => ({ points, by: stroke.by, square: stroke.square }));
});
