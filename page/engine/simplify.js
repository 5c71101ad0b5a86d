// The form of the dataset: a stroke resampled at one pixel, then Ramer-Douglas-Peucker with epsilon 2; the twin of
// drawings/simplify.py. The distance is taken to the infinite line through the chord, as in the official files.

const EPSILON = 2;
const MOST_SAMPLES = 10000;
const LARGEST = 255;

/** Return a stroke [[x, y], ...] at every pixel along it, and its last point. */
function everyPixel(points) {
  const along = [0];
  for (let i = 1; i < points.length; i++) {
    along.push(along[i - 1] + Math.hypot(points[i][0] - points[i - 1][0], points[i][1] - points[i - 1][1]));
  }
  const ink = along[along.length - 1];
  const spacing = Math.max(1, ink / MOST_SAMPLES);
  const count = Math.max(Math.ceil(ink / spacing), 1) + 1;
  const samples = [];
  let segment = 0;
  for (let i = 0; i < count; i++) {
    const at = Math.min(i * spacing, ink);
    while (segment < points.length - 2 && along[segment + 1] < at) segment++;
    const next = Math.min(segment + 1, points.length - 1);
    const length = along[next] - along[segment];
    const share = length > 0 ? Math.min((at - along[segment]) / length, 1) : 0;
    samples.push([0, 1].map((axis) => points[segment][axis] + share * (points[next][axis] - points[segment][axis])));
  }
  return samples;
}

/** Return the points of [[x, y], ...] that Ramer-Douglas-Peucker keeps. */
function thinned(points) {
  const kept = new Uint8Array(points.length);
  kept[0] = kept[points.length - 1] = 1;
  const open = [[0, points.length - 1]];
  while (open.length) {
    const [first, last] = open.pop();
    const [x, y] = points[first];
    const [dx, dy] = [points[last][0] - x, points[last][1] - y];
    const norm = Math.hypot(dx, dy);
    let farthest = -1, middle = first;
    for (let i = first + 1; i < last; i++) {
      const [ax, ay] = [points[i][0] - x, points[i][1] - y];
      const distance = norm > 0 ? Math.abs(dx * ay - dy * ax) / Math.max(norm, 1e-12) : Math.hypot(ax, ay);
      if (distance > farthest) [farthest, middle] = [distance, i];
    }
    if (farthest > EPSILON) {
      kept[middle] = 1;
      open.push([first, middle], [middle, last]);
    }
  }
  return points.filter((_, i) => kept[i]);
}

/**
 * Return a stroke {points} as whole pixels 0 ... 255 [[x, y], ...], simplified as the dataset's own.
 *
 * One that is marked as `official` already is left as it is: simplified twice it would lose points.
 */
export function officialPoints(stroke) {
  if (stroke.official) return stroke.points;
  const whole = (value) => Math.min(Math.max(Math.round(value), 0), 255);
  return thinned(everyPixel(stroke.points)).map(([x, y]) => [whole(x), whole(y)]);
}

/** Return the points of each stroke, simplified as if the drawing filled the square; official ones as they are. */
export function simplifiedPoints(strokes) {
  const [xs, ys] = [0, 1].map((axis) => strokes.flatMap(({ points }) => points.map((point) => point[axis])));
  const extent = Math.max(...[xs, ys].map((values) => Math.max(...values) - Math.min(...values)));
  const scale = extent > 0 ? LARGEST / extent : 1;
  const scaled = (points, by) => points.map(([x, y]) => [x * by, y * by]);
  return strokes.map(({ points, official }) => (official ? points : scaled(thinned(everyPixel(scaled(points, scale))), 1 / scale)));
}
