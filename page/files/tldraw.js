/** Drawings of tldraw (version 1 of its files) as strokes and back. */

import { turned } from "./excalidraw.js";

const SCALE = 2; // its pixels for one of ours
const PAGE = "page:page";
const COLOURS = { you: "black", model: "orange" };
// The form of 2024, with plain numbers: later versions read it too, and they alone write points as text.
const SCHEMA = { schemaVersion: 2, sequences: { "com.tldraw.store": 4, "com.tldraw.document": 2, "com.tldraw.page": 1,
  "com.tldraw.shape": 4, "com.tldraw.shape.draw": 2 } };
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const MIDDLING = 0.5; // pressure of what knows none

/** Return a drawing as a .tldr file: every stroke a free line, in the order of the pen. */
export function toTldraw(strokes) {
  const shapes = strokes.map(({ points, pressures, by }, i) => {
    const [x, y] = points[0].map((value) => value * SCALE);
    const free = points.map(([px, py], j) => ({ x: whole(px * SCALE - x), y: whole(py * SCALE - y), z: pressures?.[j] ?? MIDDLING }));
    return {
      typeName: "shape", type: "draw", id: `shape:stroke-${i}`, parentId: PAGE, index: indexOf(i), x: whole(x), y: whole(y), rotation: 0,
      isLocked: false, opacity: 1, meta: {},
      props: { segments: [{ type: "free", points: free }], color: COLOURS[by], fill: "none", dash: "draw", size: "m", isComplete: true,
        isClosed: false, isPen: pressures !== undefined, scale: 1 },
    };
  });
  const records = [
    { typeName: "document", id: "document:document", gridSize: 10, name: "", meta: {} },
    { typeName: "page", id: PAGE, name: "Page 1", index: "a1", meta: {} },
    ...shapes,
  ];
  const file = { tldrawFileFormatVersion: 1, schema: SCHEMA, records };
  return new Blob([JSON.stringify(file, null, 1)], { type: "application/vnd.tldraw+json" });
}

const whole = (value) => Math.round(value * 100) / 100;

/** Return the place of the i-th shape as tldraw writes places: "a" and a digit of 62, then "b" and two. */
function indexOf(i) {
  const rest = i - DIGITS.length;
  return rest < 0 ? `a${DIGITS[i]}` : `b${DIGITS[Math.floor(rest / DIGITS.length)]}${DIGITS[rest % DIGITS.length]}`;
}

/** Return the strokes [[[x, y], ...], ...] of the records of a file, or of the shapes that were copied: its free lines. */
export function fromTldraw(records) {
  const shapes = records.filter((each) => each && (each.typeName ?? "shape") === "shape");
  const byId = new Map(shapes.map((each) => [each.id, each]));
  const around = (shape) => { // the shape, its group, the group of that, ...
    const chain = new Set();
    for (let each = shape; each && !chain.has(each); each = byId.get(each.parentId)) chain.add(each);
    return [...chain];
  };
  return shapes
    .filter(({ type }) => type === "draw" || type === "highlight")
    .map((shape) => ({ shape, chain: around(shape) }))
    .map((each) => ({ ...each, place: each.chain.map(({ index }) => index ?? "").reverse().join() }))
    .sort((one, other) => (one.place < other.place ? -1 : one.place > other.place ? 1 : 0))
    .flatMap(({ shape: { props }, chain }) => (Array.isArray(props?.segments) ? props.segments : []).map((segment) =>
      pointsOf(segment).map(([x, y]) => onSheet(chain, [x * (props.scaleX ?? 1), y * (props.scaleY ?? 1)]))));
}

const onSheet = (chain, point) =>
  chain.reduce((at, { x, y, rotation = 0 }) => turned(at, [0, 0], rotation).map((value, axis) => value + [x, y][axis]), point);

/** Return the points of a part of a line: numbers, or packed as text, since 2025 each as the way from the one before. */
function pointsOf({ points, path }) {
  if (Array.isArray(points)) return points.map(({ x, y }) => [x, y]);
  const text = path ?? points;
  if (typeof text !== "string") return [];
  let bytes;
  try {
    bytes = new DataView(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
  } catch {
    return [];
  }
  const halves = (at) => [half(bytes.getUint16(at, true)), half(bytes.getUint16(at + 2, true))];
  const found = [];
  let at = 0;
  if (path !== undefined && bytes.byteLength >= 12) {
    found.push([bytes.getFloat32(0, true), bytes.getFloat32(4, true)]);
    at = 12;
  }
  for (; at + 6 <= bytes.byteLength; at += 6) {
    const [x, y] = path === undefined ? [0, 0] : found.at(-1) ?? [0, 0];
    found.push(halves(at).map((value, axis) => value + [x, y][axis]));
  }
  return found;
}

/** Return the number of two bytes, IEEE 754's binary16. */
function half(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023;
  return (bits & 0x8000 ? -1 : 1) * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
}
