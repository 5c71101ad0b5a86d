/** Turns a drawing into an animated GIF: its strokes one after another, at the pen's speed. */

import { GifWriter } from "./gif.js";
import { beginning, bounds, BOX, drawingTime, lengthsAlong, MARGIN, paint, PEN, PEN_LIFT_MS } from "./strokes.js";

const FRAME_MS = 40;
const MOST_FRAMES = 400; // of long drawings, which are drawn faster
const REST_MS = 400, HOLD_MS = 1600; // of white paper at the beginning, of the drawing at the end
const NOTHING = [0, 0, 0, 0];
const SHADES = 8; // from paper to pen, for smooth edges
const BREATH = 20; // frames after which the page may react

const css = (colour) => `rgb(${colour.join(",")})`;

/** Promise `strokes` as a GIF of `side` pixels; `colours` are those of the strokes by whom they are, as [r, g, b]. */
export async function film(strokes, side, colours) {
  const done = sheet(side), shown = sheet(side); // with the strokes that are complete; with the one under the pen, too
  const scale = side / (BOX + 2 * MARGIN);
  const palette = paletteOf(Object.values(colours));
  const nearest = nearestColour(palette);
  const gif = new GifWriter(side, side, palette);
  let count = 0;

  /** Add what has changed within a box of the drawing; `partial` is what there is of the stroke under the pen. */
  const shoot = ([left, top, right, bottom], milliseconds, partial = null) => {
    const pixel = (value, extra) => Math.min(Math.max(Math.floor((value + MARGIN) * scale) + extra, 0), side - 1);
    const around = Math.ceil(PEN * scale) + 1;
    const [fromX, fromY] = [pixel(left, -around), pixel(top, -around)];
    const [width, height] = [pixel(right, around) - fromX + 1, pixel(bottom, around) - fromY + 1];
    shown.setTransform(1, 0, 0, 1, 0, 0);
    shown.drawImage(done.canvas, 0, 0);
    if (partial) paint(shown, scale, partial, css(colours[partial.by]));
    const { data } = shown.getImageData(fromX, fromY, width, height);
    gif.frame({ left: fromX, top: fromY, width, height, indices: nearest(data), milliseconds });
    count++;
  };

  gif.frame({ left: 0, top: 0, width: side, height: side, indices: new Uint8Array(side * side), milliseconds: REST_MS });
  const plan = strokes.map((stroke) => {
    const along = lengthsAlong(stroke.points);
    return { stroke, along, ms: drawingTime(along.at(-1)) };
  });
  const whole = plan.reduce((sum, { ms }) => sum + ms + PEN_LIFT_MS, 0);
  const speed = Math.max(1, whole / (MOST_FRAMES * FRAME_MS)); // ms of drawing in one ms of film
  let clock = 0, last = 0, changed = null; // the stroke's begin and the last frame, in ms of film; what is new since
  for (const { stroke, along, ms } of plan) {
    const { points } = stroke;
    const duration = ms / speed;
    let known = 0; // points of the stroke that frames before have shown
    const change = (part) => {
      changed = joined(changed, bounds(part.slice(Math.max(0, known - 1))));
      known = Math.max(part.length - 1, 1);
    };
    for (let time = last + FRAME_MS; time < clock + duration; time += FRAME_MS) {
      const part = time > clock ? beginning(points, along, (time - clock) / duration) : null;
      if (part) change(part);
      shoot(changed ?? NOTHING, FRAME_MS, part && { ...stroke, points: part });
      [last, changed] = [time, null];
      if (count % BREATH === 0) await new Promise((resolve) => setTimeout(resolve));
    }
    change(points);
    paint(done, scale, stroke, css(colours[stroke.by]));
    clock += duration + PEN_LIFT_MS / speed;
  }
  shoot(changed ?? NOTHING, HOLD_MS);
  return gif.finish();
}

/** Promise whole drawings, [[x, y], ...] each stroke, as the frames of a GIF of `side` pixels; the first and the last are held. */
export async function frames(drawings, side, colour) {
  const context = sheet(side), palette = paletteOf([colour]), nearest = nearestColour(palette);
  const gif = new GifWriter(side, side, palette);
  for (const [i, strokes] of drawings.entries()) {
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillRect(0, 0, side, side);
    for (const points of strokes) paint(context, side / (BOX + 2 * MARGIN), { points }, css(colour));
    const held = i === 0 || i === drawings.length - 1;
    const { data } = context.getImageData(0, 0, side, side);
    gif.frame({ left: 0, top: 0, width: side, height: side, indices: nearest(data), milliseconds: held ? HOLD_MS : FRAME_MS });
    if (i % BREATH === 0) await new Promise((resolve) => setTimeout(resolve));
  }
  return gif.finish();
}

/** Return white and, for each colour, the shades from it to the colour. */
const paletteOf = (colours) => [[255, 255, 255], ...colours.flatMap((colour) =>
  Array.from({ length: SHADES }, (_, i) => colour.map((part) => Math.round(255 + ((part - 255) * (i + 1)) / SHADES))))];

function sheet(side) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, side, side);
  return context;
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
