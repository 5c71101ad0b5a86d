/** Drawings as files: SVG, PNG, GIF and the ndjson of Quick, Draw!, and back from ndjson. */

import { officialPoints } from "../engine/engine.js";
import { film } from "../pictures/film.js";
import { bounds, BOX, isDot, MARGIN, paint, PEN } from "../pictures/strokes.js";

const PNG_SIDE = 512, GIF_SIDE = 300;
const COLOURS = { you: [26, 28, 33], model: [232, 77, 41] }; // as in the pictures of the project, on white

/** What a drawing that is read may have; longer ones are cut. */
export const MOST_STROKES = 2000, MOST_POINTS = 20000;
const FARTHEST = 1e9; // of a coordinate, in pixels of any screen
const SMALL = 63; // longest side in pixels of a drawing that is fitted: a quarter of the box, and no real one is so small
const LONGEST_LINE = 32 << 20; // characters
const CHUNK = 1 << 18;

const colourOf = ({ by }) => `rgb(${COLOURS[by].join(",")})`;

/** Return a drawing as an SVG file. */
export function toSvg(strokes) {
  const side = BOX + 2 * MARGIN;
  const number = (value) => String(Math.round(value * 10) / 10);
  const paths = strokes.map((stroke) => {
    const [first, ...others] = stroke.points.map(([x, y]) => `${number(x)} ${number(y)}`);
    const path = isDot(stroke.points) ? `M${first}h.01` : `M${first}L${others.join(" ")}`;
    return `<path stroke="${colourOf(stroke)}" d="${path}"/>\n`;
  });
  const text =
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="${-MARGIN} ${-MARGIN} ${side} ${side}" ` +
    `width="${PNG_SIDE}" height="${PNG_SIDE}">\n` +
    `<rect x="${-MARGIN}" y="${-MARGIN}" width="${side}" height="${side}" fill="#fff"/>\n` +
    `<g fill="none" stroke-width="${PEN}" stroke-linecap="round" stroke-linejoin="round">\n${paths.join("")}</g>\n</svg>\n`;
  return new Blob([text], { type: "image/svg+xml" });
}

/** Promise a drawing as a PNG file, on white. */
export function toPng(strokes) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = PNG_SIDE;
  const context = canvas.getContext("2d");
  const scale = PNG_SIDE / (BOX + 2 * MARGIN);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, PNG_SIDE, PNG_SIDE);
  for (const stroke of strokes) paint(context, scale, stroke.points, colourOf(stroke));
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("PNG"))), "image/png");
  });
}

/** Promise a drawing as an animated GIF file. */
export const toGif = (strokes) => film(strokes, GIF_SIDE, COLOURS);

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

/** A file that is no drawing; `key` and `values` name the text that says why. */
export class FileFault extends Error {
  constructor(key, values = {}) {
    super(key);
    this.key = key;
    this.values = values;
  }
}

/** Promise the drawing on the first line of a file, as `parseDrawing` returns it. Throws FileFault. */
export async function readDrawing(file) {
  return parseDrawing(await firstLine(file));
}

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
 * Return the drawing of a line of ndjson, {strokes, word, given, cut, fitted}: whether it was cut, whether it was not in
 * the box and so is scaled to fill it, and what else it says of itself, `given`. Throws FileFault.
 */
export function parseDrawing(line) {
  let record;
  try {
    record = JSON.parse(line);
  } catch {
    throw new FileFault("fileNotJson");
  }
  const given = record?.drawing;
  if (!Array.isArray(given)) throw new FileFault("fileNoDrawing");
  const rows = given[0]?.length;
  given.forEach((stroke, i) => check(stroke, i + 1, rows));
  const all = given.filter(([xs]) => xs.length).map(([xs, ys]) => xs.map((x, i) => [x, ys[i]]));
  if (!all.length) throw new FileFault("fileNoPoints");
  const { kept, cut } = withinLimits(all);
  const placed = fitted(kept);
  const official = (points) => rows === 2 && placed === kept && points.every((point) => point.every(Number.isInteger));
  return {
    strokes: placed.map((points) => ({ points, by: "you", official: official(points) })),
    word: typeof record.word === "string" ? record.word : "",
    given: Object.fromEntries(["key_id", ...Object.keys(PLAIN)].filter((key) => key in record).map((key) => [key, record[key]])),
    cut,
    fitted: placed !== kept,
  };
}

function check(stroke, number, rows) {
  const form = Array.isArray(stroke) && (rows === 2 || rows === 3) && stroke.length === rows;
  if (!form || !stroke.every((row) => Array.isArray(row) && row.length === stroke[0].length)) {
    throw new FileFault("fileStroke", { stroke: number });
  }
  const inside = (value) => Number.isFinite(value) && Math.abs(value) <= FARTHEST;
  const [xs, ys, times = []] = stroke;
  const sound = xs.every(inside) && ys.every(inside) && times.every(Number.isFinite);
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
