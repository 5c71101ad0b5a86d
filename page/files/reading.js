/** Drawings from files and from what was copied: ndjson of Quick, Draw!, SVG, Excalidraw, tldraw; and as ndjson. */

import { officialPoints } from "../engine/engine.js";
import { bounds, BOX } from "../pictures/strokes.js";
import { fromExcalidraw } from "./excalidraw.js";
import { FileFault } from "./faults.js";
import { parseSvg } from "./svg.js";
import { fromTldraw } from "./tldraw.js";

/** What a drawing that is read may have; longer ones are cut. */
export const MOST_STROKES = 2000, MOST_POINTS = 20000;
const FARTHEST = 1e9; // of a coordinate, in pixels of any screen
const SMALL = 63; // longest side in pixels of a drawing that is fitted: a quarter of the box, and no real one is so small
const LONGEST_LINE = 32 << 20; // characters
const CHUNK = 1 << 18;

/** What a drawing says of itself where nothing else is known: the values that the scripts of this project write. */
const PLAIN = { countrycode: "ZZ", timestamp: "1970-01-01 00:00:00.00000 UTC", recognized: false };

/** Return a drawing as one line of the simplified form of Quick, Draw!; `given` is what it said of itself when opened. */
export function toNdjson(strokes, word, given = {}) {
  const drawing = strokes.map((stroke) => {
    const points = officialPoints(stroke);
    return [points.map(([x]) => x), points.map(([, y]) => y)];
  });
  const key = String(Date.now()).padStart(16, "0"); // any number that no other drawing of the reader has
  const record = { word, ...PLAIN, key_id: key, ...given, drawing };
  return new Blob([`${JSON.stringify(record)}\n`], { type: "application/x-ndjson" });
}

/** Let the reader save `blob` under a name. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Promise the drawing of a file or of a text in a Blob, of ndjson that of its first line; as `drawingOf`. Throws FileFault. */
export async function readDrawing(file) {
  const line = await firstLine(file);
  if (line.startsWith("<")) return placed(parseSvg(await whole(file)));
  const record = parsed(line) ?? (line.startsWith("{") ? parsed(await whole(file)) : undefined);
  if (record === undefined) throw new FileFault("fileNotJson");
  const board = boardOf(record);
  return board ? placed(board.filter((points) => points.length)) : drawingOf(record);
}

/** Return the strokes of a file, or of what was copied, of Excalidraw or tldraw; null of anything else. */
function boardOf(record) {
  if (Array.isArray(record?.elements)) return fromExcalidraw(record.elements);
  const shapes = record?.records ?? record?.shapes;
  return Array.isArray(shapes) ? fromTldraw(shapes) : null;
}

async function whole(file) {
  if (file.size > LONGEST_LINE) throw new FileFault("fileLong");
  return file.text();
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Return strokes of any coordinates as a drawing that fits the square. */
function placed(all) {
  const sound = all.filter((points) => points.every((point) => point.length >= 2 && point.slice(0, 2).every(inRange)));
  if (!sound.length) throw new FileFault("fileNoPoints");
  const { kept, cut } = withinLimits(sound.map((points) => points.map(([x, y]) => [x, y])));
  const fit = fitted(kept);
  const strokes = fit.map((points) => ({ points, by: "you" }));
  return { strokes, word: "", given: {}, cut, fitted: fit !== kept };
}

const inRange = (value) => Number.isFinite(value) && Math.abs(value) <= FARTHEST;

async function firstLine(file) {
  const decoder = new TextDecoder(); // which also drops a byte order mark
  let text = "";
  for (let at = 0; at < file.size; at += CHUNK) {
    let bytes;
    try {
      bytes = await file.slice(at, at + CHUNK).arrayBuffer();
    } catch {
      throw new FileFault("fileUnreadable");
    }
    text = (text + decoder.decode(bytes, { stream: true })).replace(/^\s+/, "");
    const end = text.indexOf("\n", Math.max(text.length - CHUNK - 4, 0));
    if (end >= 0) return text.slice(0, end);
    if (text.length > LONGEST_LINE) throw new FileFault("fileLong");
  }
  if (!text) throw new FileFault("fileEmpty");
  return text;
}

/**
 * Return the drawing of a record of ndjson, {strokes, word, given, cut, fitted}: whether it was cut, whether it was not
 * in the box and so is scaled to fill it, and what else it says of itself, `given`. Throws FileFault.
 */
function drawingOf(record) {
  const given = record?.drawing;
  if (!Array.isArray(given)) throw new FileFault("fileNoDrawing");
  const rows = given[0]?.length;
  given.forEach((stroke, i) => check(stroke, i + 1, rows));
  const all = given.filter(([xs]) => xs.length).map(([xs, ys]) => xs.map((x, i) => [x, ys[i]]));
  if (!all.length) throw new FileFault("fileNoPoints");
  const { kept, cut } = withinLimits(all);
  const fit = fitted(kept);
  const official = (points) => rows === 2 && fit === kept && points.every((point) => point.every(Number.isInteger));
  return {
    strokes: fit.map((points) => ({ points, by: "you", official: official(points) })),
    word: typeof record.word === "string" ? record.word : "",
    given: Object.fromEntries(["key_id", ...Object.keys(PLAIN)].filter((key) => key in record).map((key) => [key, record[key]])),
    cut,
    fitted: fit !== kept,
  };
}

function check(stroke, number, rows) {
  const form = Array.isArray(stroke) && (rows === 2 || rows === 3) && stroke.length === rows;
  if (!form || !stroke.every((row) => Array.isArray(row) && row.length === stroke[0].length)) {
    throw new FileFault("fileStroke", { stroke: number });
  }
  const [xs, ys, times = []] = stroke;
  const sound = xs.every(inRange) && ys.every(inRange) && times.every(Number.isFinite);
  if (!sound) throw new FileFault("fileNumber", { stroke: number });
}

function withinLimits(strokes) {
  const kept = [];
  let room = MOST_POINTS;
  for (const points of strokes.slice(0, MOST_STROKES)) {
    if (!room) break;
    kept.push(points.slice(0, room));
    room -= kept.at(-1).length;
  }
  const cut = kept.length < strokes.length || kept.at(-1).length < strokes[kept.length - 1].length;
  return { kept, cut };
}

/** Return strokes as they are if they lie in the box and are no speck in it, else scaled to fill it. */
function fitted(strokes) {
  const [left, top, right, bottom] = bounds(strokes.flat());
  const side = Math.max(right - left, bottom - top);
  const inBox = left >= 0 && top >= 0 && right <= BOX && bottom <= BOX;
  if (inBox && (side === 0 || side > SMALL)) return strokes;
  const scale = side > 0 ? BOX / side : 0;
  const inside = (value) => Math.min(value * scale, BOX); // for what rounding adds
  return strokes.map((points) => points.map(([x, y]) => [inside(x - left), inside(y - top)]));
}
