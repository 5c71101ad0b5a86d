// The picture that the recogniser looks at; the twin of rendering.feature_rasters: bounding box to 236 of 256 px at
// (10, 10), lines 3 px wide, averaged 4 x 4. Python's lines are Pillow's polygons. These are the pixels whose centre is
// within 1.4 px of the line: as much ink, one pixel in six of it elsewhere by one, which the averaging all but hides.

const CANVAS = 256, BOX = 236, CORNER = 10, SIDE = 64;
const HALF_WIDTH = 1.4, BEYOND_ENDS = 0.5;

function drawSegment(ink, [x0, y0], [x1, y1]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = Math.hypot(dx, dy);
  if (length === 0) {
    ink[y0 * CANVAS + x0] = 1;
    return;
  }
  const [left, right] = [Math.max(Math.min(x0, x1) - 2, 0), Math.min(Math.max(x0, x1) + 2, CANVAS - 1)];
  const [top, bottom] = [Math.max(Math.min(y0, y1) - 2, 0), Math.min(Math.max(y0, y1) + 2, CANVAS - 1)];
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const along = ((x - x0) * dx + (y - y0) * dy) / length;
      const across = Math.abs((x - x0) * dy - (y - y0) * dx) / length;
      if (across <= HALF_WIDTH && along >= -BEYOND_ENDS && along <= length + BEYOND_ENDS) ink[y * CANVAS + x] = 1;
    }
  }
}

/** Return the picture, Float32Array (64 x 64) from 0 ink to 255 paper, of strokes [[[x, y], ...], ...]. */
export function picture(strokes) {
  const ink = new Uint8Array(CANVAS * CANVAS);
  const bounds = [Infinity, Infinity, -Infinity, -Infinity];
  for (const points of strokes) {
    for (const [x, y] of points) {
      bounds[0] = Math.min(bounds[0], x);
      bounds[1] = Math.min(bounds[1], y);
      bounds[2] = Math.max(bounds[2], x);
      bounds[3] = Math.max(bounds[3], y);
    }
  }
  const extent = Math.max(bounds[2] - bounds[0], bounds[3] - bounds[1]);
  const scale = extent > 0 ? BOX / extent : 1;
  for (const points of strokes) {
    const pixels = points.map((point) => point.map((value, axis) => Math.floor((value - bounds[axis]) * scale + CORNER)));
    if (pixels.length === 1) drawSegment(ink, pixels[0], pixels[0]);
    for (let i = 1; i < pixels.length; i++) drawSegment(ink, pixels[i - 1], pixels[i]);
  }
  const block = CANVAS / SIDE;
  const grey = new Float32Array(SIDE * SIDE);
  for (let y = 0; y < CANVAS; y++) {
    for (let x = 0; x < CANVAS; x++) grey[Math.floor(y / block) * SIDE + Math.floor(x / block)] += ink[y * CANVAS + x];
  }
  return grey.map((count) => Math.floor((255 * (block * block - count)) / (block * block) + 0.5));
}
