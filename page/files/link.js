/** A drawing in the address of the page: compressed behind the #, which no server sees. */

import { BOX } from "../pictures/strokes.js";
import { officialPoints } from "../engine/simplify.js";

const MARK = "#drawing=";
const MOST_BYTES = 1 << 20; // unpacked, so that no address fills the memory

/** Promise the address of the page with a drawing in it. */
export async function linkTo(strokes, category) {
  // a byte for who drew it, two for how many points, then their coordinates
  const drawn = strokes.flatMap((stroke) => {
    const points = officialPoints(stroke);
    return [stroke.by === "you" ? 0 : 1, points.length & 255, points.length >> 8, ...points.flat()];
  });
  const name = new TextEncoder().encode(category);
  const bytes = Uint8Array.from([name.length, ...name, ...drawn]);
  const packed = await through(bytes, new CompressionStream("deflate-raw"));
  const text = btoa(String.fromCharCode(...packed)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `${location.href.split("#")[0]}${MARK}${text}`;
}

/** Promise the drawing {strokes, category} of an address, or null where there is none. */
export async function drawingIn(hash) {
  if (!hash.startsWith(MARK)) return null;
  try {
    const text = atob(hash.slice(MARK.length).replaceAll("-", "+").replaceAll("_", "/"));
    const packed = Uint8Array.from(text, (character) => character.charCodeAt(0));
    return unpacked(await through(packed, new DecompressionStream("deflate-raw")));
  } catch {
    return null;
  }
}

async function through(bytes, transform) {
  const reader = new Blob([bytes]).stream().pipeThrough(transform).getReader();
  const parts = [];
  let size = 0;
  for (let each = await reader.read(); !each.done; each = await reader.read()) {
    parts.push(each.value);
    size += each.value.length;
    if (size > MOST_BYTES) throw new RangeError("too long");
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

function unpacked(bytes) {
  let at = 1 + bytes[0];
  const category = new TextDecoder().decode(bytes.subarray(1, at));
  const strokes = [];
  while (at + 3 <= bytes.length) {
    const [by, low, high] = bytes.subarray(at, at + 3);
    const count = low + 256 * high;
    const numbers = bytes.subarray(at + 3, (at += 3 + 2 * count));
    if (!count || numbers.length < 2 * count) return null;
    const points = Array.from({ length: count }, (_, i) => [Math.min(numbers[2 * i], BOX), Math.min(numbers[2 * i + 1], BOX)]);
    strokes.push({ points, by: by ? "model" : "you", official: true });
  }
  return strokes.length ? { strokes, category } : null;
}
