/** Paper: a canvas that shows strokes. What is finished is kept as a picture, so that a frame costs one copy of it. */

import { BOX, MARGIN, paint } from "./strokes.js";

const SPAN = BOX + 2 * MARGIN;
const TONES = { you: "--ink", fresh: "--accent", model: "--second", noise: "--noise", cursor: "--cursor",
  ghost: "--ghost", chosen: "--halo", odd: "--odd" };
const HALO = 10; // units, of a line that is `wide`

/** One sheet. Its strokes are said to `repaint` as a whole or to `ink` one by one; `over` is shown above them. */
export class Paper {
  /** What moves above the strokes: {points, pressures?, tone, wide?} or {cursor: [x, y], down}, by name. */
  over = new Map();
  #canvas;
  #context;
  #picture = document.createElement("canvas");
  #colours = {};
  #frame = 0;
  #wanted;

  /** `wanted` returns the [stroke, tone] pairs to show whenever all must be painted anew. */
  constructor(canvas, wanted) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d");
    this.#wanted = wanted;
    new ResizeObserver(() => this.#fit()).observe(canvas);
    this.repaint();
  }

  /** Paint all strokes anew: after undo, or in other colours. */
  repaint() {
    const style = getComputedStyle(this.#canvas);
    for (const [tone, name] of Object.entries(TONES)) this.#colours[tone] = style.getPropertyValue(name).trim();
    this.#picture.width = this.#canvas.width; // which also wipes it
    this.#picture.height = this.#canvas.height;
    for (const [stroke, tone] of this.#wanted()) this.ink(stroke, tone);
    this.refresh();
  }

  /** Add one stroke to the finished ones. */
  ink(stroke, tone) {
    this.#line(this.#picture.getContext("2d"), stroke, tone);
    this.refresh();
  }

  /** Show the picture and what is over it with the next frame. */
  refresh() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#show();
    });
  }

  /** Return the point of the box under a pointer, which may lie beyond the edge. */
  pointAt({ clientX, clientY }) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    const inside = (share) => Math.min(Math.max(share * SPAN - MARGIN, 0), BOX);
    return [inside((clientX - left) / width), inside((clientY - top) / height)];
  }

  /** Return where on the page, in CSS pixels, a point of the box is. */
  placeOf([x, y]) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return [left + ((x + MARGIN) / SPAN) * width, top + ((y + MARGIN) / SPAN) * height];
  }

  #fit() {
    const side = Math.round(this.#canvas.clientWidth * (window.devicePixelRatio || 1));
    if (!side || side === this.#canvas.width) return;
    this.#canvas.width = this.#canvas.height = side;
    this.repaint();
    this.#show(); // at once: a new size has wiped the canvas
  }

  #show() {
    const { width, height } = this.#canvas;
    if (!width || !height) return;
    this.#context.setTransform(1, 0, 0, 1, 0, 0);
    this.#context.clearRect(0, 0, width, height);
    this.#context.drawImage(this.#picture, 0, 0);
    for (const each of this.over.values()) {
      if (each.cursor) this.#cursor(each);
      else this.#line(this.#context, each, each.tone, each.wide ? HALO : undefined);
    }
  }

  #line(context, stroke, tone, width) {
    paint(context, this.#canvas.width / SPAN, stroke, this.#colours[tone], width);
  }

  #cursor({ cursor: [x, y], down }) {
    const scale = this.#canvas.width / SPAN;
    const context = this.#context;
    context.setTransform(scale, 0, 0, scale, MARGIN * scale, MARGIN * scale);
    context.strokeStyle = context.fillStyle = this.#colours.cursor;
    context.lineWidth = 1.2;
    context.beginPath();
    context.arc(x, y, 5, 0, 2 * Math.PI);
    if (down) context.fill();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 5 * dx, y + 5 * dy);
      context.lineTo(x + 9 * dx, y + 9 * dy);
    }
    context.stroke();
  }
}
