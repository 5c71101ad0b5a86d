/** Drawings as SVG, one path a stroke in the order of the pen, and any SVG as strokes. */

import { BOX, isDot, MARGIN, PEN } from "../pictures/strokes.js";
import { FileFault } from "./faults.js";
import { colourOf } from "./pictures.js";

const UNIT_MM = 0.5; // of paper for one unit of the box: a drawing of 12.75 cm, which a sheet of A5 holds
const NS = "http://www.w3.org/2000/svg";
const SHAPES = "path, polyline, polygon, line, rect, circle, ellipse";
const UNSEEN = "defs, clipPath, mask, pattern, marker, symbol, title, desc, metadata, style";
const FINENESS = 200; // points along the longest side of the picture, for curves
const MOST_ALONG = 2000; // points along one shape

/** Return a drawing as an SVG file, in millimetres; the paper is a colour and no shape, which a plotter would draw. */
export function toSvg(strokes) {
  const side = BOX + 2 * MARGIN;
  const number = (value) => String(Math.round(value * 10) / 10);
  const paths = strokes.map((stroke) => {
    const [first, ...others] = stroke.points.map(([x, y]) => `${number(x)} ${number(y)}`);
    const path = isDot(stroke.points) ? `M${first}h.01` : `M${first}L${others.join(" ")}`;
    return `<path stroke="${colourOf(stroke)}" d="${path}"/>\n`;
  });
  const size = `${side * UNIT_MM}mm`;
  const text =
    `<svg xmlns="${NS}" viewBox="${-MARGIN} ${-MARGIN} ${side} ${side}" width="${size}" height="${size}" style="background:#fff">\n` +
    `<g fill="none" stroke-width="${PEN}" stroke-linecap="round" stroke-linejoin="round">\n${paths.join("")}</g>\n</svg>\n`;
  return new Blob([text], { type: "image/svg+xml" });
}

/** Return the strokes [[[x, y], ...], ...] of an SVG, in its order; what is no line (text, pictures) is left out. Throws FileFault. */
export function parseSvg(text) {
  const root = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  if (root.localName !== "svg" || root.querySelector("parsererror")) throw new FileFault("fileNotSvg");
  // copies of the shapes, and of nothing else, stand in the page for a moment: only there a browser measures them
  const desk = document.createElementNS(NS, "svg");
  desk.setAttribute("style", "position:absolute;width:0;height:0");
  document.body.append(desk);
  try {
    const shapes = [...root.querySelectorAll(SHAPES)].filter((shape) => !shape.closest(UNSEEN) && !isSheet(shape));
    const measured = shapes.flatMap((shape) => parts(shape).map((attributes) => [copyOf(desk, shape, attributes), matrixOf(shape)]));
    const strokes = measured.map(([copy, matrix]) => pointsAlong(copy, matrix)).filter((points) => points.length);
    if (!strokes.length) throw new FileFault("fileNoPoints");
    return strokes;
  } finally {
    desk.remove();
  }
}

/** Tell whether a shape is only the paper: a rectangle that is filled and not drawn. */
function isSheet(shape) {
  const stroke = shape.getAttribute("stroke") ?? shape.style?.stroke;
  return shape.localName === "rect" && (!stroke || stroke === "none") && !shape.closest("[stroke]:not([stroke='none'])");
}

/** Return the attributes of each part of a shape that is drawn without lifting the pen. */
function parts(shape) {
  const d = shape.getAttribute("d");
  if (shape.localName !== "path" || !d) return [{}];
  let before = "";
  return (d.match(/[Mm][^Mm]*/g) ?? []).map((piece) => {
    const own = before && piece[0] === "m" ? movedTo(endOf(before), piece) : piece;
    before += piece;
    return { d: own };
  });
}

/** Return where the pen is after a path. */
function endOf(d) {
  const path = document.createElementNS(NS, "path");
  path.setAttribute("d", d);
  return path.getPointAtLength(path.getTotalLength());
}

/** Return a part of a path that begins with a relative move, with the absolute one. */
function movedTo({ x, y }, piece) {
  const [, dx, dy, rest] = piece.match(/^m\s*([-+]?[\d.]+(?:e[-+]?\d+)?)[\s,]*([-+]?[\d.]+(?:e[-+]?\d+)?)([^]*)$/i);
  return `M${x + Number(dx)} ${y + Number(dy)}${/^[\s,]*[-+\d.]/.test(rest) ? "l" : ""}${rest}`;
}

function copyOf(desk, shape, attributes) {
  const copy = document.createElementNS(NS, shape.localName);
  for (const name of ["d", "points", "x", "y", "x1", "y1", "x2", "y2", "width", "height", "cx", "cy", "r", "rx", "ry"]) {
    if (shape.hasAttribute(name)) copy.setAttribute(name, shape.getAttribute(name));
  }
  for (const [name, value] of Object.entries(attributes)) copy.setAttribute(name, value);
  desk.append(copy);
  return copy;
}

/** Return the matrix from a shape's own coordinates to those of the picture. */
function matrixOf(shape) {
  let matrix = new DOMMatrix();
  for (let node = shape; node?.getAttribute; node = node.parentNode) {
    const own = node.transform?.baseVal?.consolidate()?.matrix;
    if (own) matrix = new DOMMatrix([own.a, own.b, own.c, own.d, own.e, own.f]).multiply(matrix);
  }
  return matrix;
}

function pointsAlong(copy, matrix) {
  const corners = copy.points && [...copy.points].map(({ x, y }) => [x, y]);
  if (corners && copy.localName === "polygon" && corners.length) corners.push(corners[0]);
  const straight = copy.localName === "line"
    ? ["1", "2"].map((end) => ["x", "y"].map((axis) => copy[axis + end].baseVal.value))
    : /^\s*M[-+\d.,eE\s]*(L[-+\d.,eE\s]*)?$/.test(copy.getAttribute("d") ?? "")
      ? pairs(copy.getAttribute("d"))
      : corners;
  return (straight ?? sampled(copy)).map(([x, y]) => {
    const point = matrix.transformPoint({ x, y });
    return [point.x, point.y];
  });
}

/** Return the numbers of a path of straight lines as points. */
function pairs(d) {
  const numbers = (d.match(/[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?/gi) ?? []).map(Number);
  return Array.from({ length: Math.floor(numbers.length / 2) }, (_, i) => [numbers[2 * i], numbers[2 * i + 1]]);
}

function sampled(copy) {
  const length = copy.getTotalLength();
  if (!Number.isFinite(length)) return [];
  const { width, height } = copy.getBBox();
  const spacing = Math.max(width, height) / FINENESS || 1;
  const count = Math.min(Math.max(Math.ceil(length / spacing), 1), MOST_ALONG);
  return Array.from({ length: count + 1 }, (_, i) => {
    const { x, y } = copy.getPointAtLength((i * length) / count);
    return [x, y];
  });
}
