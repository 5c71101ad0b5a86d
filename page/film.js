/** Turns a drawing into an animated GIF: its strokes one after another, at the pen's speed. */

import { GifWriter } from "./gif.js";
import { beginning, bounds, BOX, drawingTime, lengthsAlong, PEN_LIFT_MS, trace } from "./strokes.js";

const FRAME_MS = 40;
const MOST_FRAMES = 400; // of long drawings, which are drawn faster
const HOLD_MS = 1600; // at the end, before it begins again
const MARGIN = 8, PEN = 3; // in units
const SHADES = 8; // from paper to pen, for smooth edges
const BREATH = 20; // frames after which the page may react

/** Promise `strokes` as a GIF of `side` pixels; `colours` are those of the strokes by whom they are, as [r, g, b]. */
export async function film(strokes, side, colours) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const scale = side / (BOX + 2 * MARGIN);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, side, side);
  context.setTransform(scale, 0, 0, scale, MARGIN * scale, MARGIN * scale);
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = PEN;

  const tones = Object.keys(colours);
  const palette = [[255, 255, 255]];
  for (const tone of tones) {
    for (let i = 1; i <= SHADES; i++) {
      palette.push(colours[tone].map((part) => Math.round(255 + ((part - 255) * i) / SHADES)));
    }
  }
  const nearest = nearestColour(palette);
  const gif = new GifWriter(side, side, palette);
  const everything = { left: 0, top: 0, width: side, height: side };
  let count = 0;

  /** Add what has changed within a box of the drawing. */
  const shoot = ([left, top, right, bottom], milliseconds) => {
    const pixel = (value, extra) => Math.min(Math.max(Math.floor((value + MARGIN) * scale) + extra, 0), side);
    const around = Math.ceil((PEN / 2) * scale) + 1;
    const from = [pixel(left, -around), pixel(top, -around)];
    const to = [pixel(right, around + 1), pixel(bottom, around + 1)];
    const [width, height] = [Math.max(to[0] - from[0], 1), Math.max(to[1] - from[1], 1)];
    const { data } = context.getImageData(from[0], from[1], width, height);
    gif.frame({ left: from[0], top: from[1], width, height, indices: nearest(data), milliseconds });
    count++;
  };

  gif.frame({ ...everything, indices: new Uint8Array(side * side), milliseconds: 10 * FRAME_MS });
  const plan = strokes.map(({ points, by }) => {
    const along = lengthsAlong(points);
    return { points, along, by, ms: drawingTime(along.at(-1)) };
  });
  const whole = plan.reduce((sum, { ms }) => sum + ms + PEN_LIFT_MS, 0);
  const speed = Math.max(1, whole / (MOST_FRAMES * FRAME_MS)); // ms of drawing in one ms of film
  let clock = 0, shown = 0, changed = null; // clock and shown in ms of film
  for (const { points, along, by, ms } of plan) {
    context.strokeStyle = `rgb(${colours[by].join(" ")})`;
    let done = 0; // points of the stroke that frames before have shown
    const duration = ms / speed;
    const draw = (share) => {
      const part = beginning(points, along, share);
      const fresh = part.slice(Math.max(0, done - 1));
      done = share < 1 ? Math.max(part.length - 1, 1) : part.length;
      trace(context, fresh);
      context.stroke();
      changed = joined(changed, bounds(fresh));
    };
    for (let time = shown + FRAME_MS; time < clock + duration; time += FRAME_MS) {
      if (time > clock) draw((time - clock) / duration);
      if (changed) shoot(changed, FRAME_MS);
      [shown, changed] = [time, null];
      if (count % BREATH === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    draw(1);
    clock += duration + PEN_LIFT_MS / speed;
  }
  shoot(changed ?? [0, 0, 0, 0], HOLD_MS);
  return gif.finish();
}

const joined = (a, b) =>
  a ? [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])] : b;

/** Return a function from RGBA bytes to indices of the nearest colours. */
function nearestColour(palette) {
  const known = new Map();
  const find = (red, green, blue) => {
    let best = 0, least = Infinity;
    palette.forEach(([r, g, b], i) => {
      const distance = (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2;
      if (distance < least) [best, least] = [i, distance];
    });
    return best;
  };
  return (data) => {
    const indices = new Uint8Array(data.length / 4);
    for (let i = 0; i < indices.length; i++) {
      const [red, green, blue] = [data[4 * i], data[4 * i + 1], data[4 * i + 2]];
      const key = (red << 16) | (green << 8) | blue;
      if (!known.has(key)) known.set(key, find(red, green, blue));
      indices[i] = known.get(key);
    }
    return indices;
  };
}
