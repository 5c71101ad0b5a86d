/** The drawing on the paper, kept in this browser so that a reload does not lose it. */

import { remember, remembered } from "./preferences.js";

const KEY = "drawing";
const isPoint = (point) => Array.isArray(point) && point.length === 2 && point.every(Number.isFinite);

/** Keep `strokes`, and what else has to come back with them; an empty drawing is forgotten. */
export function keepDrawing(strokes, more) {
  const kept = strokes.map(({ token, ...stroke }) => (token ? { ...stroke, token: Array.from(token) } : stroke));
  remember(KEY, strokes.length ? JSON.stringify({ ...more, strokes: kept }) : null);
}

/** Return what `keepDrawing` kept, {strokes, ...more}, or null where that is nothing, or no drawing. */
export function keptDrawing() {
  try {
    const { strokes, ...more } = JSON.parse(remembered(KEY));
    const sound = ({ points, by }) => points.length > 0 && points.every(isPoint) && (by === "you" || by === "model");
    if (!strokes.length || !strokes.every(sound)) return null;
    const given = ({ token, ...stroke }) => (token ? { ...stroke, token: Float32Array.from(token) } : stroke);
    return { ...more, strokes: strokes.map(given) };
  } catch {
    return null;
  }
}
