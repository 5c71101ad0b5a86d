/** The pen: mouse, finger, stylus and keyboard on the paper, told as strokes. */

import { BOX } from "../pictures/strokes.js";

const PALM = 60; // CSS pixels; a touch as broad as this is no finger
const PEN_MS = 1500; // after a pen was near the paper, a touch is the hand that holds it
const UNKNOWN = 0.5; // pressure that a pen tells which measures none
const CALM = 0.6; // of the pressure before stays in the next: pens tremble
const NEAR = 0.4; // units; a pointer that has moved less has not moved
const STEP = 8, SMALL_STEP = 1; // units of the keyboard's pen for one key press
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Listens to `canvas` and draws on `paper` what is being drawn. */
export class Pad {
  #paper;
  #tell;
  #points = null; // of the stroke being drawn
  #pointer = null; // the one that draws it
  #isTouch = false; // whether that is a finger
  #pressures = null; // of the points, where that is a pen
  #penSeen = -Infinity; // when a pen was last near, ms
  #cursor = null; // the keyboard's pen, once it has been moved

  /**
   * `tell` has begin(), stroke(points, pressures), drop(), finish(), leave() and pen(down), all called after the fact; chooses(): does
   * the pen choose strokes instead of drawing, by choose(point) and step(by); take() and another() of the proposed stroke,
   * which return whether there is one.
   */
  constructor(canvas, paper, tell) {
    this.#paper = paper;
    this.#tell = tell;
    canvas.addEventListener("pointerdown", (event) => this.#down(canvas, event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointercancel", (event) => event.pointerId === this.#pointer && this.#drop());
    for (const end of ["pointerup", "lostpointercapture"]) {
      canvas.addEventListener(end, (event) => event.pointerId === this.#pointer && this.#lift());
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press draws
    canvas.addEventListener("keydown", (event) => {
      canvas.classList.remove("by-pointer");
      this.#key(event);
    });
    canvas.addEventListener("blur", () => {
      this.#cursor = null;
      if (this.#pointer === null) this.#lift();
    });
  }

  #down(canvas, event) {
    if (event.button !== 0) return;
    event.preventDefault();
    if (this.#isPalm(event)) return;
    if (this.#pointer !== null) {
      if (event.pointerType !== "pen" || !this.#isTouch) return;
      this.#drop(); // the hand that rests there while the pen draws
    }
    canvas.focus({ preventScroll: true });
    canvas.classList.add("by-pointer"); // which needs no ring around the paper
    if (this.#tell.chooses()) {
      this.#tell.choose(this.#paper.pointAt(event));
      return;
    }
    this.#cursor = null;
    this.#lift(); // what the keyboard has begun
    this.#pointer = event.pointerId;
    this.#isTouch = event.pointerType === "touch";
    canvas.setPointerCapture(event.pointerId);
    this.#begin(this.#paper.pointAt(event), event);
  }

  /** Tell whether a touch is a hand and no finger; remembers when a pen was near. */
  #isPalm({ pointerType, width, height, timeStamp }) {
    if (pointerType === "pen") this.#penSeen = timeStamp;
    return pointerType === "touch" && (Math.max(width, height) >= PALM || timeStamp - this.#penSeen < PEN_MS);
  }

  #move(event) {
    const isPalm = this.#isPalm(event);
    if (event.pointerId !== this.#pointer) return;
    if (isPalm) {
      this.#drop();
      return;
    }
    const passed = event.getCoalescedEvents?.() ?? [];
    for (const each of passed.length ? passed : [event]) this.#to(this.#paper.pointAt(each), each);
    this.#show();
  }

  #begin(point, event) {
    this.#tell.begin();
    this.#points = [point];
    this.#pressures = event?.pointerType === "pen" ? [event.pressure] : null;
    this.#show();
  }

  #to([x, y], event) {
    const [lastX, lastY] = this.#points.at(-1);
    if (Math.hypot(x - lastX, y - lastY) < NEAR) return;
    this.#points.push([x, y]);
    this.#pressures?.push(CALM * this.#pressures.at(-1) + (1 - CALM) * event.pressure);
  }

  #lift() {
    const points = this.#points;
    const pressures = this.#pressures?.some((each) => each !== UNKNOWN) ? this.#pressures : null;
    this.#points = this.#pointer = this.#pressures = null;
    this.#show();
    if (points) this.#tell.stroke(points, pressures);
  }

  /** Take back the stroke being drawn: it was none. */
  #drop() {
    this.#points = this.#pointer = this.#pressures = null;
    this.#show();
    this.#tell.drop();
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Tab") {
      if (!event.shiftKey && !this.#points && this.#tell.take()) event.preventDefault();
      return;
    }
    if (event.key in ARROWS && this.#tell.chooses()) this.#tell.step(ARROWS[event.key][0] + ARROWS[event.key][1]);
    else if (event.key.toLowerCase() === "n" && !this.#points) this.#tell.another();
    else if (event.key in ARROWS) this.#walk(ARROWS[event.key], event.shiftKey ? SMALL_STEP : STEP);
    else if (event.key.toLowerCase() === "d" || (event.key === " " && this.#cursor)) !event.repeat && this.#toggle();
    else if (event.key === "Enter" || event.key === " ") !event.repeat && this.#finish();
    else if (event.key === "Escape") this.#leave();
    else return;
    event.preventDefault();
  }

  #walk([dx, dy], step) {
    if (this.#pointer !== null) return;
    const [x, y] = this.#cursor ?? [BOX / 2, BOX / 2];
    const inside = (value) => Math.min(Math.max(value, 0), BOX);
    this.#cursor = [inside(x + dx * step), inside(y + dy * step)];
    if (this.#points) this.#to(this.#cursor);
    this.#show();
  }

  #toggle() {
    if (this.#pointer !== null || this.#tell.chooses()) return;
    if (this.#points) {
      this.#lift();
      this.#tell.pen(false);
      return;
    }
    this.#cursor ??= [BOX / 2, BOX / 2];
    this.#begin(this.#cursor);
    this.#tell.pen(true);
  }

  #finish() {
    if (this.#pointer !== null) return;
    this.#lift();
    this.#tell.finish();
  }

  #leave() {
    this.#lift();
    this.#cursor = null;
    this.#show();
    this.#tell.leave();
  }

  #show() {
    if (this.#points) this.#paper.over.set("pen", { points: this.#points, pressures: this.#pressures, tone: "you" });
    else this.#paper.over.delete("pen");
    if (this.#cursor) this.#paper.over.set("cursor", { cursor: this.#cursor, down: this.#points !== null });
    else this.#paper.over.delete("cursor");
    this.#paper.refresh();
  }
}
