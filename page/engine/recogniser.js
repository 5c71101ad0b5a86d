// The picture that the recogniser looks at; the twin of rendering.feature_rasters, pixel by pixel: bounding box to 236 of
// 256 px at (10, 10), lines 3 px wide and not antialiased, averaged 4 x 4.

const CANVAS = 256, BOX = 236, CORNER = 10, SIDE = 64;

const halfUp = (value) => Math.floor(value + 0.5);
const halfDown = (value) => Math.ceil(value - 0.5);
const halfOut = (value) => Math.sign(value) * halfUp(Math.abs(value));

/**
 * Put a line between two pixels, as wide as its neighbours on both sides, as Pillow does: four corners, one pixel beside
 * each end, and on every row the pixels between the sides.
 */
function drawLine(ink, [x0, y0], [x1, y1]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = Math.hypot(dx, dy);
  if (length === 0) {
    ink[y0 * CANVAS + x0] = 1;
    return;
  }
  const [sideX, sideY] = [halfOut(dy / length), halfOut(dx / length)];
  const corners = [
    [x0 - sideX, y0 + sideY], [x1 - sideX, y1 + sideY], [x1 + sideX, y1 - sideY], [x0 + sideX, y0 - sideY],
  ];
  const rows = corners.map(([, y]) => y);
  for (let y = Math.min(...rows); y <= Math.max(...rows); y++) {
    let [left, right] = [Infinity, -Infinity];
    corners.forEach(([ax, ay], i) => {
      const [bx, by] = corners[(i + 1) % 4];
      if (y < Math.min(ay, by) || y > Math.max(ay, by)) return;
      for (const x of ay === by ? [ax, bx] : [ax + ((y - ay) * (bx - ax)) / (by - ay)]) {
        left = Math.min(left, x);
        right = Math.max(right, x);
      }
    });
    for (let x = halfUp(left); x <= halfDown(right); x++) ink[y * CANVAS + x] = 1;
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
    if (pixels.length === 1) drawLine(ink, pixels[0], pixels[0]);
    for (let i = 1; i < pixels.length; i++) drawLine(ink, pixels[i - 1], pixels[i]);
  }
  const block = CANVAS / SIDE;
  const grey = new Float32Array(SIDE * SIDE);
  for (let y = 0; y < CANVAS; y++) {
    for (let x = 0; x < CANVAS; x++) grey[Math.floor(y / block) * SIDE + Math.floor(x / block)] += ink[y * CANVAS + x];
  }
  return grey.map((count) => Math.floor((255 * (block * block - count)) / (block * block) + 0.5));
}
