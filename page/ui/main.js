/**
 * The page: connects paper, pen, models, recogniser, files and words.
 *
 * For tests, `window.drawing` has
 *   strokes           the strokes on the paper now, {points, by, token?}
 *   state             "loading" until the chosen category's model is there, "drawing" while the model draws, else "ready"
 *   latency           ms from asking the model to its first stroke, of the last turn; null before
 *   category          the chosen one
 *   guesses           what the recogniser says of the drawing as it stands, {top, own}, or undefined
 *   endings           how many strokes each ending on show has, empty where none are
 *   clear()           takes everything off the paper, stopping the model
 *   placeOf(x, y)     where on the page, in CSS pixels, a point of the box 0..255 is: [left, top]
 */

import { Engine } from "../engine/engine.js";
import { Drawing } from "../engine/history.js";
import { Models } from "../engine/models.js";
import { Recognition } from "../engine/recognition.js";
import { Turn } from "../engine/turn.js";
import { Player } from "../pictures/animation.js";
import { Paper } from "../pictures/paper.js";
import { charted, showOpinion } from "./chart.js";
import { Endings } from "./endings.js";
import { FileFault, MOST_POINTS, MOST_STROKES, readDrawing, save, toGif, toNdjson, toPng, toSvg } from "./files.js";
import { keepDrawing, keptDrawing } from "./kept.js";
import { keepOffline } from "./offline.js";
import { Pad } from "./pad.js";
import { beginTheme, preferredLanguage, rememberLanguage, switchTheme } from "./preferences.js";
import { Search } from "./search.js";
import { Settings } from "./settings.js";
import { Status } from "./status.js";
import { applyWords, currentLanguage, decimal, nameOf, say, setLanguage } from "./words.js";

const NUM_ENDINGS = 4;
const AUTO_MS = 450; // of rest, after which the model goes on by itself

const $ = (id) => document.getElementById(id);

$("unstarted").remove(); // for it has

setLanguage(preferredLanguage());
applyWords();

const drawing = new Drawing();
const fresh = new Set(); // the strokes of the model's last turn
const status = new Status($("status"), $("progress"));
const settings = new Settings();
let engine, site, search, begun;
const opening = new Promise((resolve) => (begun = resolve)); // of the engine
let category = "cat";
let turn = null; // the model's, while it has one
let finished = []; // strokes that one press on "Finish it" or an ending put at the end of the drawing
let latency = null;
let given = {}; // what a drawing that was opened says of itself
let restored = false; // whether the drawing of the last visit is on the paper
let autoTimer;

const toneOf = (stroke) => (stroke.by === "you" ? "you" : fresh.has(stroke) ? "fresh" : "model");
const paper = new Paper($("pad"), () => drawing.strokes.map((stroke) => [stroke, toneOf(stroke)]));
const recognition = new Recognition(async (strokes, name) => (await opening).recognise(strokes, name), () => showSure());
const models = new Models(async (...wanted) => (await opening).load(...wanted), (wanted, { loaded, total }) => {
  if (wanted !== category) return;
  const megabytes = (bytes) => decimal(bytes / 1e6, 1);
  const texts = () => ({ name: nameOf(wanted), loaded: megabytes(loaded), total: megabytes(total) });
  status.progress(loaded / total, loaded < total ? "loading" : "preparing", texts);
});
const endings = new Endings($("endings"), {
  choose: adopt,
  unfinished: (number) => status.tell("endingUnfinished", () => ({ number })),
  close: () => {
    leave();
    $("another").focus();
  },
});
new Pad($("pad"), paper, {
  begin() {
    leave();
    settle();
    $("hint").hidden = true;
  },
  drop: () => showPaper(),
  stroke(points) {
    put({ points, by: "you" });
    if (engine && drawing.strokes.length < site.max_strokes) {
      engine.prepare({ category, strokes: drawing.strokes.slice() });
    }
    clearTimeout(autoTimer);
    if (settings.auto) autoTimer = setTimeout(finish, AUTO_MS);
  },
  finish: () => turn || finish(),
  leave,
  pen: (down) => status.tell(down ? "penDown" : "penUp", count),
});

// ------------------------------------------------------------------ the paper

const count = () => ({ count: drawing.strokes.length });

/** Put a stroke on the paper, ask what it is now, and show all that follows from it. */
function put(stroke) {
  drawing.add(stroke);
  paper.ink(stroke, toneOf(stroke));
  recognition.want(drawing.strokes, category);
  showPaper();
}

/** Let the model's last strokes dry: they are no longer new. */
function settle() {
  if (!fresh.size) return;
  fresh.clear();
  paper.repaint();
}

/** Stop the model, if it draws, and put the endings away. */
function leave() {
  clearTimeout(autoTimer);
  stop();
  endings.hide();
}

function back(step, key) {
  leave();
  if (!step()) return;
  paper.repaint();
  status.tell(key, count);
  recognition.want(drawing.strokes, category);
  showPaper();
}

function clear() {
  leave();
  if (!drawing.strokes.length) return;
  drawing.clear();
  fresh.clear();
  recognition.forget();
  paper.repaint();
  status.tell("cleared");
  showPaper();
}

/** Show everything that depends on which strokes are on the paper. */
function showPaper() {
  const empty = !drawing.strokes.length;
  if (empty) given = {};
  keepDrawing(drawing.strokes, { category, given });
  $("hint").hidden = !empty;
  able("undo", drawing.canUndo);
  able("redo", drawing.canRedo);
  for (const id of ["clear", "save-svg", "save-png", "save-gif", "save-ndjson"]) able(id, !empty);
  showSure();
}

// not "disabled", which would throw the keyboard's focus out of the button that was just pressed
const able = (id, can) => $(id).setAttribute("aria-disabled", String(!can));

const showSure = () => showOpinion(drawing.strokes, category, recognition);

// ------------------------------------------------------------------ the model

/** Fetch the chosen model ahead of its first turn. */
async function loadAhead() {
  const wanted = category;
  status.endProgress();
  if (models.has(wanted)) return;
  status.tell("preparing", () => ({ name: nameOf(wanted) }));
  try {
    await models.load(wanted);
    if (wanted === category) status.endProgress(restored ? "restored" : drawing.strokes.length ? "readyWithDrawing" : "ready");
    restored = false;
  } catch ({ message }) {
    if (wanted !== category) return;
    status.endProgress();
    status.tell("loadFailed", () => ({ name: nameOf(wanted), message }));
  }
}

/** Let the model draw on from `strokes`; return why each ending ended, or null if it was stopped or failed. */
async function play(players, key, request, tell) {
  const mine = (turn = new Turn(players));
  showTurn();
  status.tell(models.has(category) ? key : "starting"); // which progress may replace
  const ready = models.load(category).then(() => turn === mine && status.tell(key));
  const { temperature, steps, seed, watch } = settings;
  try {
    return await mine.run(engine, ready, { category, temperature, steps, seed, watch, ...request }, (event) => {
      latency = mine.latency ?? latency;
      tell?.(event);
    });
  } catch ({ message }) {
    if (turn === mine) {
      endings.hide();
      status.tell("failed", () => ({ message }));
    }
    return null;
  } finally {
    if (turn === mine) turn = null;
    showTurn();
  }
}

/** Draw on the paper itself; `limit` strokes at most. */
async function drawOn(key, limit) {
  await opening;
  leave();
  if (isFull()) return;
  settle();
  const before = drawing.strokes.length;
  const mine = [];
  finished = limit === Infinity ? mine : [];
  const player = new Player(paper, (stroke) => {
    mine.push(stroke);
    fresh.add(stroke);
    put(stroke);
  });
  const reasons = await play([player], key, { strokes: drawing.strokes.slice(), endings: 1, limit });
  if (!reasons) return;
  if (drawing.strokes.length === before) status.tell("nothing");
  else if (reasons[0] === "longest") status.tell("longest", () => ({ most: site.max_strokes }));
  else if (reasons[0] === "limit") status.tell("added");
  else status.tell("finished", count);
}

const finish = () => drawOn("drawing", Infinity);

/** Show several endings of what was there before the model finished it. */
async function drawEndings() {
  await opening;
  const again = endings.open;
  leave();
  const strokes = drawing.strokes.slice(0, drawing.strokes.length - surplus());
  if (isFull(strokes)) return;
  if (again) settings.seed += NUM_ENDINGS; // those of this seed have been seen
  const players = endings.show(strokes.map((stroke) => [stroke, stroke.by === "you" ? "you" : "model"]), NUM_ENDINGS);
  const request = { strokes, endings: NUM_ENDINGS, limit: Infinity };
  const reasons = await play(players, "drawingEndings", request, (event) => endings.hear(event));
  if (!reasons) return;
  status.tell("chooseEnding");
  if ([document.body, $("another"), $("finish")].includes(document.activeElement)) endings.focus();
}

/** Return how many strokes at the end of the drawing an ending would replace. */
function surplus() {
  const last = drawing.strokes.slice(-finished.length);
  return finished.length && last.every((stroke, i) => stroke === finished[i]) ? finished.length : 0;
}

function adopt(strokes, number) {
  leave();
  for (let i = surplus(); i > 0; i--) drawing.undo();
  fresh.clear();
  finished = strokes;
  for (const stroke of strokes) fresh.add(stroke);
  paper.repaint();
  for (const stroke of strokes) put(stroke);
  showPaper();
  status.tell("adopted", () => ({ number }));
  $("pad").focus({ preventScroll: true });
}

function isFull(strokes = drawing.strokes) {
  const full = strokes.length >= site.max_strokes;
  if (full) status.tell("full", () => ({ most: site.max_strokes }));
  return full;
}

function stop() {
  if (!turn) return;
  const stopped = turn;
  turn = null;
  stopped.stop();
  endings.settle();
  status.tell("stopped");
  showTurn();
}

/** Show "Stop" in the place of "Finish it" while the model draws. */
function showTurn() {
  const [shown, hidden] = turn ? [$("stop"), $("finish")] : [$("finish"), $("stop")];
  const focused = document.activeElement === hidden;
  shown.hidden = false;
  hidden.hidden = true;
  if (focused) shown.focus();
  document.body.classList.toggle("drawing", turn !== null);
}

// ------------------------------------------------------------------ category, words, files

function offerCategories() {
  const own = Object.keys(site.networks.models).filter((name) => site.categories.includes(name));
  const choices = own.map((name) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "category", id: `category-${name}`, value: name, checked: name === category });
    input.addEventListener("change", () => choose(name));
    const text = document.createElement("span");
    text.dataset.category = name;
    label.append(input, text);
    return label;
  });
  $("categories").replaceChildren(...choices);
  search = new Search($("find"), $("found"), site.categories, choose);
}

/** Show the chosen category: its button is down, or else it stands in the search field. */
function showChoice() {
  const buttons = [...$("categories").querySelectorAll("input")];
  for (const button of buttons) button.checked = button.value === category;
  search?.show(buttons.some((button) => button.checked) ? "" : category);
}

function choose(name) {
  if (name === category) return;
  leave();
  category = name;
  recognition.forget();
  drawing.strokes.forEach((stroke, i, all) => {
    if (i >= all.length - charted(all).length && recognition.knows(stroke)) recognition.want(all.slice(0, i + 1), name);
  });
  speak();
  loadAhead();
}

/** Show all texts in the language in use. */
function speak() {
  applyWords();
  const name = nameOf(category);
  $("lead").textContent = say("lead", { name });
  $("hint").textContent = say("hint", { name });
  $("language").textContent = say("language");
  $("language").lang = currentLanguage() === "tr" ? "en" : "tr";
  settings.show();
  showChoice();
  status.show();
  endings.applyWords();
  showPaper();
}

async function saveAs(ending, make) {
  if (!drawing.strokes.length) {
    status.tell("nothingToSave");
    return;
  }
  const file = `${category}.${ending}`;
  try {
    status.tell("saving", () => ({ file }));
    save(await make(drawing.strokes.slice(), category, given), file);
    status.tell("saved", () => ({ file }));
  } catch ({ message }) {
    status.tell("failed", () => ({ message }));
  }
}

/** Put a drawing {strokes, given} on the paper, in the place of what is there. */
function lay(found) {
  drawing.clear();
  for (const stroke of found.strokes) drawing.add(stroke);
  given = found.given ?? {};
  fresh.clear();
  recognition.forget();
  paper.repaint();
}

async function open(file) {
  const name = file.name.length > 40 ? `${file.name.slice(0, 38)}…` : file.name;
  try {
    const found = await readDrawing(file);
    const { strokes, word, cut, fitted } = found;
    leave();
    lay(found);
    if (site?.categories.includes(word)) choose(word);
    recognition.want(drawing.strokes, category);
    showPaper();
    const limits = () => ({ strokes: decimal(MOST_STROKES, 0), points: decimal(MOST_POINTS, 0) });
    status.tell(cut ? "openedCut" : fitted ? "openedFitted" : "opened", () => ({ file: name, count: strokes.length, ...limits() }));
  } catch (error) {
    if (error instanceof FileFault) status.tell(error.key, () => ({ file: name, ...error.values }));
    else status.tell("failed", () => ({ message: error.message }));
  }
}

// ------------------------------------------------------------------ what is pressed

function listen() {
  const pressed = {
    finish,
    stop: ({ detail: clicks }) => clicks > 1 || stop(), // a double click on "Finish it" ends here
    one: () => drawOn("oneMore", 1),
    another: drawEndings,
    undo: () => back(() => drawing.undo(), "undone"),
    redo: () => back(() => drawing.redo(), "redone"),
    clear,
    language() {
      setLanguage(currentLanguage() === "tr" ? "en" : "tr");
      rememberLanguage(currentLanguage());
      speak();
    },
    theme() {
      switchTheme();
      repaintAll();
    },
    "save-svg": () => saveAs("svg", toSvg),
    "save-png": () => saveAs("png", toPng),
    "save-gif": () => saveAs("gif", toGif),
    "save-ndjson": () => saveAs("ndjson", toNdjson),
  };
  for (const [id, action] of Object.entries(pressed)) $(id).addEventListener("click", action);

  $("open").addEventListener("change", ({ target }) => {
    if (target.files.length) open(target.files[0]);
    target.value = ""; // so that the same file may be opened again
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
  });
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") leave();
    const key = event.key.toLowerCase();
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.target.matches("[type=number], [type=text]")) return;
    if (key === "z") pressed[event.shiftKey ? "redo" : "undo"]();
    else if (key === "y") pressed.redo();
    else return;
    event.preventDefault();
  });
}

function repaintAll() {
  paper.repaint();
  endings.repaint();
}

async function begin() {
  beginTheme(repaintAll);
  settings.listen();
  const kept = keptDrawing();
  if (kept) {
    restored = true;
    category = String(kept.category);
    lay(kept);
  }
  speak();
  listen();
  status.tell("starting");
  await keepOffline();
  try {
    const made = new Engine();
    site = await made.site();
    engine = made;
    begun(engine);
  } catch ({ message }) {
    status.tell("failed", () => ({ message }));
    return;
  }
  if (!site.categories.includes(category)) category = site.categories[0];
  offerCategories();
  if (restored) recognition.want(drawing.strokes, category);
  speak();
  loadAhead();
}

window.drawing = {
  get strokes() {
    return drawing.strokes;
  },
  get state() {
    return !models.has(category) ? "loading" : turn ? "drawing" : "ready";
  },
  get latency() {
    return latency;
  },
  get category() {
    return category;
  },
  get guesses() {
    return drawing.strokes.length ? recognition.of(drawing.strokes.at(-1), category) : undefined;
  },
  get endings() {
    return endings.sizes;
  },
  clear,
  placeOf: (x, y) => paper.placeOf([x, y]),
};

begin();
