/** Drawings of Excalidraw (version 2 of its files) as strokes and back. */

const SCALE = 2; // their pixels for one of ours
const LINES = ["freedraw", "line", "arrow"];
const COLOURS = { you: "#1e1e1e", model: "#e8590c" };

/** Return a drawing as an .excalidraw file: every stroke a free line, in the order of the pen. */
export function toExcalidraw(strokes) {
  const elements = strokes.map((stroke, i) => {
    const xs = stroke.points.map(([x]) => x * SCALE), ys = stroke.points.map(([, y]) => y * SCALE);
    const [x, y] = [Math.min(...xs), Math.min(...ys)];
    const whole = (value) => Math.round(value * 100) / 100;
    return {
      id: `stroke-${i}`, type: "freedraw", x, y, width: Math.max(...xs) - x, height: Math.max(...ys) - y, angle: 0,
      strokeColor: COLOURS[stroke.by], backgroundColor: "transparent", fillStyle: "solid", strokeWidth: 2, strokeStyle: "solid",
      roughness: 1, opacity: 100, groupIds: [], frameId: null, roundness: null, seed: i + 1, version: 1, versionNonce: i + 1,
      isDeleted: false, boundElements: null, updated: 1, link: null, locked: false,
      points: xs.map((px, j) => [whole(px - x), whole(ys[j] - y)]), pressures: stroke.pressures ?? [],
      simulatePressure: !stroke.pressures, lastCommittedPoint: null,
    };
  });
  const file = { type: "excalidraw", version: 2, source: "", elements, appState: { viewBackgroundColor: "#ffffff" }, files: {} };
  return new Blob([JSON.stringify(file, null, 1)], { type: "application/vnd.excalidraw+json" });
}

/** Return the strokes [[[x, y], ...], ...] of its elements; what is no line becomes its outline, text is left out. */
export const fromExcalidraw = (elements) => elements.filter((each) => each && !each.isDeleted).flatMap(ofExcalidraw);

function ofExcalidraw({ type, x, y, width, height, angle = 0, points }) {
  if (![x, y].every(Number.isFinite)) return [];
  const own = LINES.includes(type) ? [points] : outline(type, width, height);
  const [cx, cy] = middle(own.flat(), width, height);
  return own.filter(Array.isArray).map((stroke) => stroke.map((point) => {
    const [px, py] = turned(point, [cx, cy], angle);
    return [px + x, py + y];
  }));
}

function outline(type, width, height) {
  const [w, h] = [width, height];
  if (type === "rectangle") return [[[0, 0], [w, 0], [w, h], [0, h], [0, 0]]];
  if (type === "diamond") return [[[w / 2, 0], [w, h / 2], [w / 2, h], [0, h / 2], [w / 2, 0]]];
  if (type !== "ellipse") return [];
  const at = (i) => [w / 2 + (w / 2) * Math.cos((i * Math.PI) / 24), h / 2 + (h / 2) * Math.sin((i * Math.PI) / 24)];
  return [Array.from({ length: 49 }, (_, i) => at(i))];
}

/** Return the middle of a shape, which it is turned about. */
function middle(points, width, height) {
  if (!points.length) return [width / 2, height / 2];
  return [0, 1].map((axis) => {
    const values = points.map((point) => point[axis]);
    return (Math.min(...values) + Math.max(...values)) / 2;
  });
}

/** Return a point turned about another by an angle in radians. */
export function turned([x, y], [cx, cy], angle) {
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return [cx + cos * (x - cx) - sin * (y - cy), cy + sin * (x - cx) + cos * (y - cy)];
}
