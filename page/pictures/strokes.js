/** What is known of a stroke, a list of points [x, y] in the box 0..255: its length, its beginning, its path. */

/** Side of the box that drawings live in. */
export const BOX = 255;

/** Width of the pen, and the air around the box in every picture, in units of the box. */
export const PEN = 2.6, MARGIN = 9;

const PEN_SPEED = 600; // units of the box a second
const SHORTEST_MS = 120; // even a dot takes a moment

/** Pause in ms while the pen moves from one stroke to the next. */
export const PEN_LIFT_MS = 80;

/** Return the length of the path up to each of the points, beginning with 0. */
export function lengthsAlong(points) {
  const along = [0];
  for (let i = 1; i < points.length; i++) {
    along.push(along[i - 1] + Math.hypot(points[i][0] - points[i - 1][0], points[i][1] - points[i - 1][1]));
  }
  return along;
}

/** Return the points of the first `share` (0..1) of a stroke by arc length, given what `lengthsAlong` returned. */
export function beginning(points, along, share) {
  const wanted = along.at(-1) * share;
  if (share >= 1) return points;
  let next = 1;
  while (next < points.length && along[next] <= wanted) next++;
  const kept = points.slice(0, next);
  if (next < points.length && along[next] > along[next - 1]) {
    const part = (wanted - along[next - 1]) / (along[next] - along[next - 1]);
    kept.push([0, 1].map((axis) => points[next - 1][axis] + part * (points[next][axis] - points[next - 1][axis])));
  }
  return kept;
}

/** Return how many ms a hand takes for a stroke of this length. */
export const drawingTime = (length) => Math.max(SHORTEST_MS, (length / PEN_SPEED) * 1000);

/** Return how wide the pen is at a pressure of 0..1: as ever at 0.5, which is what devices say that measure none. */
const widthAt = (pressure) => PEN * (0.5 + pressure);

/**
 * Paint a stroke with a 2D context on which the box and its margin take `scale` pixels a unit.
 *
 * `pressures` of its points, where a pen has measured them, make it wider and thinner; `width` is of any other.
 */
export function paint(context, scale, { points, pressures }, colour, width = PEN) {
  context.setTransform(scale, 0, 0, scale, MARGIN * scale, MARGIN * scale);
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = width;
  context.strokeStyle = colour;
  if (pressures && width === PEN) {
    for (let i = 0; i < Math.max(points.length - 1, 1); i++) {
      const ends = [pressures[i], pressures[i + 1] ?? pressures[i]];
      context.lineWidth = widthAt((ends[0] + ends[1]) / 2);
      trace(context, points.slice(i, i + 2));
      context.stroke();
    }
    return;
  }
  trace(context, points);
  context.stroke();
}

/** Trace a stroke as the path of a 2D context; one without extent becomes a dot under a round pen. */
function trace(context, points) {
  context.beginPath();
  context.moveTo(points[0][0], points[0][1]);
  if (isDot(points)) {
    context.lineTo(points[0][0] + 0.01, points[0][1]); // browsers draw nothing for a line of no length
    return;
  }
  for (let i = 1; i < points.length; i++) context.lineTo(points[i][0], points[i][1]);
}

/** Tell whether all points of a stroke are the same. */
export const isDot = (points) => points.every(([x, y]) => x === points[0][0] && y === points[0][1]);

/** Return how far a point is from a stroke. */
export function distanceTo(points, [x, y]) {
  let least = Math.hypot(points[0][0] - x, points[0][1] - y);
  for (let i = 1; i < points.length; i++) {
    const [[ax, ay], [bx, by]] = [points[i - 1], points[i]];
    const square = (bx - ax) ** 2 + (by - ay) ** 2;
    const along = square > 0 ? Math.min(Math.max(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / square, 0), 1) : 0;
    least = Math.min(least, Math.hypot(ax + along * (bx - ax) - x, ay + along * (by - ay) - y));
  }
  return least;
}

/** Return the smallest rectangle [left, top, right, bottom] around points. */
export function bounds(points) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}
