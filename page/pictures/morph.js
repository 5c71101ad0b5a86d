/** A drawing on its way to another, as words/morph.py moves it: points along straight lines, strokes that only one has grow. */

import { Box, boxOf, placed } from "../words/layout.js";
import { BOX } from "./strokes.js";

/** Return a drawing, strokes [[x, y], ...], in the middle of the sheet and as large as it. */
export function square(drawing) {
  if (!drawing.length) return drawing;
  const own = boxOf(drawing);
  const scale = BOX / Math.max(own.width, own.height);
  const [width, height] = [own.width * scale, own.height * scale];
  return placed(drawing, new Box((BOX - width) / 2, (BOX - height) / 2, width, height));
}

/** Return the drawing at `place` of a row of drawings, a number from 0 to their count less 1. */
export function onTheWay(drawings, place) {
  const at = Math.min(Math.floor(place), drawings.length - 2);
  const linear = place - at, share = linear * linear * (3 - 2 * linear);
  const [one, other] = [drawings[at], drawings[at + 1]];
  return Array.from({ length: Math.max(one.length, other.length) }, (_, k) => {
    const [a, b] = [one[k] ?? middles(other[k]), other[k] ?? middles(one[k])];
    return a.map(([x, y], i) => [(1 - share) * x + share * b[i][0], (1 - share) * y + share * b[i][1]]);
  }).filter((_, k) => (share < 1 || other[k]) && (share > 0 || one[k]));
}

/** Return as many points as a stroke has, all in its middle. */
function middles(points) {
  const middle = [0, 1].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / points.length);
  return points.map(() => middle);
}
