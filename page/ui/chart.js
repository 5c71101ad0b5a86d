/** The chart beside the paper: how sure the recogniser was after each stroke, and what it takes the drawing for now. */

import { nameOf, percent, say } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const LAST = 48; // strokes in the chart
const WIDTH = 384, LEFT = 40, TOP = 8, BASE = 94; // of its viewBox
const WIDEST = 26; // of a bar and its gap
const UNSURE = 0.01; // below which a number would only discourage who has begun

const element = (name, attributes) => {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
};

/** Return the strokes that the chart shows: the last ones of a drawing. */
export const charted = (strokes) => strokes.slice(-LAST);

/** Show what the recogniser has said of `strokes` and of the drawings that they were on the way; a guess chooses its category. */
export function showOpinion(strokes, category, recognition, choose) {
  const $ = (id) => document.getElementById(id);
  $("sure-empty").hidden = strokes.length > 0;
  $("sure-known").hidden = !strokes.length;
  if (!strokes.length) return;
  const bars = charted(strokes).map((stroke) => {
    return { tone: stroke.by, probability: recognition.of(stroke, category)?.own };
  });
  drawChart($("chart"), bars, strokes.length, category);
  const guesses = recognition.of(strokes.at(-1), category);
  $("sure-known").classList.toggle("waiting", !guesses); // what was said before stays until there is news
  $("sure-caption").textContent = say("sureCaption", { name: nameOf(category) });
  if (!guesses) return;
  $("sure-value").textContent = guesses.own < UNSURE ? say("notSure") : percent(guesses.own);
  listGuesses($("guesses"), guesses.top, category, choose);
}

/** Draw into `chart` one bar for each of `bars` {tone, probability or undefined}; the last belongs to stroke `count`. */
function drawChart(chart, bars, count, category) {
  const height = (share) => BASE - share * (BASE - TOP);
  const marks = [];
  for (const share of [0, 0.5, 1]) {
    const y = height(share);
    marks.push(element("line", { x1: LEFT, x2: WIDTH, y1: y, y2: y, class: "rule" }));
    const label = element("text", { x: LEFT - 6, y: y + 3.5, class: "scale" });
    label.textContent = percent(share);
    marks.push(label);
  }
  const pitch = Math.min(WIDEST, (WIDTH - LEFT - 4) / Math.max(bars.length, 1));
  const thick = Math.max(pitch * 0.68, 2);
  bars.forEach(({ tone, probability }, i) => {
    if (probability === undefined) return;
    const number = count - bars.length + i + 1;
    const tall = Math.max(BASE - height(probability), 1.5);
    const x = LEFT + 4 + i * pitch + (pitch - thick) / 2;
    const bar = element("rect", {
      x, y: BASE - tall, width: thick, height: tall, rx: Math.min(2.5, thick / 3, tall / 2), class: `bar-${tone}`,
    });
    const title = element("title", {});
    title.textContent = say("stroke", { number, percent: percent(probability) });
    bar.append(title);
    marks.push(bar);
  });
  chart.replaceChildren(...marks);
  const last = bars.at(-1)?.probability;
  const said = last === undefined ? say("sureUnread") : percent(last);
  chart.setAttribute("aria-label", say("sureChart", { name: nameOf(category), percent: said, count }));
}

/** List in `list` the three likeliest names [{name, probability}] of the drawing as it stands. */
function listGuesses(list, top, category, choose) {
  const rows = top.map(({ name, probability }) => {
    const row = document.createElement("button");
    row.type = "button";
    row.title = say("guess", { name: nameOf(name) });
    row.addEventListener("click", () => choose(name));
    const item = document.createElement("li");
    item.classList.toggle("own", name === category);
    const parts = ["name", "track", "share"].map((kind) => {
      const part = document.createElement("span");
      part.className = kind;
      return part;
    });
    parts[0].textContent = nameOf(name);
    const fill = document.createElement("span");
    fill.style.width = `${(100 * probability).toFixed(1)}%`;
    parts[1].append(fill);
    parts[2].textContent = percent(probability);
    row.append(...parts);
    item.append(row);
    return item;
  });
  list.replaceChildren(...rows);
}
