/** Drawings as pictures and films: PNG, GIF, and video by the browser's own recorder. */

import { film, frames } from "../pictures/film.js";
import { beginning, BOX, drawingTime, lengthsAlong, MARGIN, paint, PEN_LIFT_MS } from "../pictures/strokes.js";

const PNG_SIDE = 512, GIF_SIDE = 300, VIDEO_SIDE = 512;
const VIDEO_KINDS = ["video/mp4;codecs=avc1.42E01E", "video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm"];
const VIDEO_HOLD_MS = 900, LONGEST_MS = 20000; // longer drawings are drawn faster

/** The colours of strokes by whom they are, on white, as in the pictures of the project. */
export const COLOURS = { you: [26, 28, 33], model: [232, 77, 41] };

/** Return the CSS colour of a stroke on white. */
export const colourOf = ({ by }) => `rgb(${COLOURS[by].join(",")})`;

function sheet(side) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  wipe(context);
  return context;
}

function wipe(context) {
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
}

/** Promise a drawing as a PNG file, on white. */
export function toPng(strokes) {
  const context = sheet(PNG_SIDE);
  for (const stroke of strokes) paint(context, PNG_SIDE / (BOX + 2 * MARGIN), stroke, colourOf(stroke));
  return new Promise((resolve, reject) => {
    context.canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("PNG"))), "image/png");
  });
}

/** Promise a drawing as an animated GIF file. */
export const toGif = (strokes) => film(strokes, GIF_SIDE, COLOURS);

/** Promise drawings that turn into one another, strokes [[x, y], ...] each, as an animated GIF file. */
export const toMorphGif = (drawings) => frames(drawings, GIF_SIDE, COLOURS.model);

/** The kind of video that this browser records, or undefined where it records none. */
export const videoKind = () => VIDEO_KINDS.find((kind) => globalThis.MediaRecorder?.isTypeSupported(kind));

/** Promise a drawing as a video that lasts as long as a hand takes to draw it; recording takes that time, too. */
export async function toVideo(strokes) {
  const context = sheet(VIDEO_SIDE);
  const scale = VIDEO_SIDE / (BOX + 2 * MARGIN);
  const recorder = new MediaRecorder(context.canvas.captureStream(30), { mimeType: videoKind(), videoBitsPerSecond: 2_500_000 });
  const parts = [];
  recorder.ondataavailable = ({ data }) => parts.push(data);
  const ended = new Promise((resolve, reject) => {
    recorder.onstop = resolve;
    recorder.onerror = ({ error }) => reject(error ?? new Error("MediaRecorder"));
  });
  recorder.start();
  const plan = strokes.map((stroke) => {
    const along = lengthsAlong(stroke.points);
    return { stroke, along, ms: drawingTime(along.at(-1)) };
  });
  const whole = plan.reduce((sum, { ms }) => sum + ms + PEN_LIFT_MS, 0);
  const speed = Math.max(1, whole / LONGEST_MS);
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  for (const [done, { stroke, along, ms }] of plan.entries()) {
    const since = performance.now();
    for (let share = 0; share < 1; await pause(16)) {
      share = Math.min(((performance.now() - since) * speed) / ms, 1);
      wipe(context);
      for (const { stroke: before } of plan.slice(0, done)) paint(context, scale, before, colourOf(before));
      paint(context, scale, { ...stroke, points: beginning(stroke.points, along, share) }, colourOf(stroke));
    }
    await pause(PEN_LIFT_MS / speed);
  }
  await pause(VIDEO_HOLD_MS);
  recorder.stop();
  await ended;
  return new Blob(parts, { type: recorder.mimeType.split(";")[0] });
}
