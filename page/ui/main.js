/**
 * The page: connects sheet, pen, ghost, the model's turns, files and words.
 *
 * For tests, `window.drawing` has
 *   strokes           the strokes on the paper now, {points, by, pressures?, token?, square?}
 *   state             "loading" until the chosen category's model is there, "drawing" while the model draws, else "ready"
 *   latency           ms from asking the model to its first stroke, of the last turn; null before
 *   ghost             {stroke, latency}: the stroke that is proposed, or null, and ms from the pen's lifting to the last one
 *   odd               the place of the stroke that is marked as unlike the category, -1 for none
 *   settled()         promises that what is unlike the category is marked
 *   chosen            the place of the stroke that is chosen to be changed, -1 for none
 *   category          the chosen one
 *   guesses           what the recogniser says of the drawing as it stands, {top, own}, or undefined
 *   endings           how many strokes each ending on show has, empty where none are
 *   between           the strokes of the drawing that is shown on the way from one thing to another
 *   clear()           takes everything off the paper, stopping the model
 *   placeOf(x, y)     where on the page, in CSS pixels, a point of the box 0..255 is: [left, top]
 */

import { canCompute, Engine } from "../engine/engine.js";
import { Models } from "../engine/models.js";
import { Choice } from "./choice.js";
import { showOpinion } from "./chart.js";
import { Exchange } from "./exchange.js";
import { Ghost } from "./ghost.js";
import { keepDrawing, keptDrawing } from "./kept.js";
import { Morph } from "./morph.js";
import { Oddity } from "./oddity.js";
import { keepOffline } from "./offline.js";
import { Pad } from "./pad.js";
import { beginTheme, preferredLanguage, rememberLanguage, switchTheme } from "./preferences.js";
import { Selection } from "./selection.js";
import { Settings } from "./settings.js";
import { Sheet } from "./sheet.js";
import { Status } from "./status.js";
import { Turns } from "./turns.js";
import { applyWords, currentLanguage, decimal, nameOf, percent, say, setLanguage } from "./words.js";

const AUTO_MS = 450; // of rest, after which the model goes on by itself

const $ = (id) => document.getElementById(id);

$("unstarted").remove(); // for it has

setLanguage(preferredLanguage());
applyWords();

const status = new Status($("status"), $("progress"));
const settings = new Settings();
let engine, site, begun, morph;
const opening = new Promise((resolve) => (begun = resolve)); // of the engine
let restored = false; // whether the drawing of the last visit is on the paper
let changing = false; // whether the pen chooses strokes to change, instead of drawing
let byHand = -1; // the stroke that the next one drawn takes the place of
let autoTimer;

const sheet = new Sheet($("pad"), async (strokes, name) => (await opening).recognise(strokes, name), showSheet, showSure);
const models = new Models(async (...wanted) => (await opening).load(...wanted), (wanted, { loaded, total }) => {
  if (wanted !== choice.category) return;
  const megabytes = (bytes) => decimal(bytes / 1e6, 1);
  const texts = () => ({ name: nameOf(wanted), loaded: megabytes(loaded), total: megabytes(total), percent: percent(loaded / total) });
  status.progress(loaded / total, loaded < total ? "loading" : "preparing", texts);
});
const choice = new Choice(choose, drawScene);
const ghost = new Ghost(sheet.paper, showGhost);
const oddity = new Oddity(sheet.paper, () => turns.on || status.tell("unlike", () => ({ name: nameOf(choice.category) })));
const selection = new Selection(sheet.paper, () => sheet.strokes, showSelection);
const turns = new Turns(sheet, settings, status, $("endings"), {
  async model(category = choice.category) {
    await opening;
    return { engine, category, ready: models.load(category), isReady: models.has(category), most: site.max_strokes };
  },
  show: showTurn,
  offered() {
    if ([document.body, $("another"), $("finish")].includes(document.activeElement)) turns.endings.focus();
  },
  adopted: () => $("pad").focus({ preventScroll: true }),
  closed: () => $("another").focus(),
});
const exchange = new Exchange(sheet, status, (found) => {
  leave();
  sheet.lay(found);
  if (site?.categories.includes(found.word)) choose(found.word);
});
new Pad($("pad"), sheet.paper, {
  begin() {
    const proposed = ghost.stroke && !changing && byHand < 0;
    if (proposed) ghost.yield();
    leave({ keepGhost: proposed });
    sheet.settle();
    $("hint").hidden = true;
  },
  drop: () => showSheet(),
  chooses: () => changing,
  choose: (point) => selection.tap(point),
  step: (by) => selection.step(by),
  stroke: drawn,
  finish: () => turns.on || turns.finish(),
  leave: () => leave(),
  take: takeGhost,
  another: () => ghost.stroke && (ghost.another(), true),
  pen: (down) => status.tell(down ? "penDown" : "penUp", count),
});

// ------------------------------------------------------------------ the sheet

const count = () => ({ count: sheet.strokes.length });

/** Put on the sheet what the person has drawn, and propose what comes next. */
function drawn(points, pressures) {
  const tapped = ghost.tapped(points);
  if (tapped) {
    accept(tapped);
    return;
  }
  const stroke = { points, by: "you", ...(pressures && { pressures }) };
  if (byHand >= 0) {
    sheet.replace(byHand, 1, [stroke]);
    status.tell("redrawn");
    byHand = -1;
    return;
  }
  sheet.put(stroke);
  clearTimeout(autoTimer);
  if (settings.auto) autoTimer = setTimeout(() => turns.finish(), AUTO_MS);
  else propose();
}

/** Ask for the next stroke, or at least read in advance what it would follow. */
function propose() {
  const strokes = sheet.strokes.slice();
  const { category } = choice;
  if (!models.has(category) || !strokes.length || strokes.length >= site.max_strokes) return;
  const { seed, temperature } = settings;
  if (settings.ghost) ghost.ask(engine, { category, strokes, seed, temperature });
  else engine.prepare({ category, strokes, place: true });
  if (strokes.at(-1).by === "you") oddity.ask(engine, { category, strokes });
}

/** Put the proposed stroke on the sheet; return whether there was one. */
function takeGhost() {
  const stroke = ghost.take();
  if (stroke) accept(stroke);
  return stroke !== null;
}

function accept(stroke) {
  oddity.hide();
  sheet.settle();
  sheet.put(stroke, true);
  status.tell("ghostTaken", count);
  propose();
}

/** Stop what the model does, and put away what it has proposed. */
function leave({ keepGhost = false } = {}) {
  clearTimeout(autoTimer);
  if (!keepGhost) ghost.hide();
  oddity.hide();
  morph?.stop();
  turns.leave();
}

function back(step, key) {
  leave();
  selection.choose(null);
  if (!sheet.back(step)) return;
  status.tell(key, count);
}

function clear() {
  leave();
  selection.choose(null);
  if (!sheet.strokes.length) return;
  sheet.clear();
  status.tell("cleared");
}

/** Show everything that depends on which strokes are on the sheet. */
function showSheet() {
  const empty = !sheet.strokes.length;
  keepDrawing(sheet.strokes, { category: choice.category, given: sheet.given });
  $("hint").hidden = !empty;
  able("undo", sheet.drawing.canUndo);
  able("redo", sheet.drawing.canRedo);
  for (const id of ["clear", "change", ...Exchange.ids]) able(id, !empty);
  if (empty && changing) change(false);
  if (selection.any && selection.at < 0) selection.choose(null);
  showSure();
}

// not "disabled", which would throw the keyboard's focus out of the button that was just pressed
const able = (id, can) => $(id).setAttribute("aria-disabled", String(!can));

function showSure() {
  showOpinion(sheet.strokes, choice.category, sheet.recognition, choose);
  choice.propose(sheet.guesses);
}

function showGhost() {
  $("ghost").classList.toggle("shown", ghost.stroke !== null);
  $("ghost-said").textContent = ghost.stroke ? say("ghostShown") : "";
  if (ghost.stroke) status.instead("ready", "proposed");
  else status.instead("proposed", "readyWithDrawing");
}

// ------------------------------------------------------------------ changing strokes

/** Choose strokes from now on, or draw again. */
function change(on) {
  leave();
  changing = on && sheet.strokes.length > 0;
  byHand = -1;
  $("change").setAttribute("aria-pressed", String(changing));
  document.body.classList.toggle("changing", changing);
  $("going").hidden = changing;
  $("altering").hidden = !changing;
  selection.choose(changing ? sheet.strokes.at(-1) : null);
  if (changing) status.tell("choosing");
}

function showSelection() {
  for (const id of ["again", "tidy", "by-hand", "erase", "rest"]) able(id, selection.at >= 0);
}

/** Do something to the chosen stroke. */
const chosen = (act) => () => {
  const { at } = selection;
  if (at >= 0) act(at);
  else status.tell("choosing");
};

const altering = {
  again: chosen(async (at) => selection.choose(await turns.redraw(at, false))),
  tidy: chosen(async (at) => selection.choose(await turns.redraw(at, true))),
  "by-hand": chosen((at) => {
    change(false);
    byHand = at;
    sheet.paper.over.set("chosen", { points: sheet.strokes[at].points, tone: "chosen", wide: true });
    status.tell("drawByHand");
    $("pad").focus({ preventScroll: true });
  }),
  erase: chosen((at) => {
    leave();
    sheet.replace(at, 1, []);
    status.tell("erased", count);
    selection.choose(sheet.strokes[Math.min(at, sheet.strokes.length - 1)] ?? null);
  }),
  rest: chosen((at) => {
    change(false);
    sheet.replace(at + 1, sheet.strokes.length, []);
    turns.finish();
  }),
};

// ------------------------------------------------------------------ the model

/** Fetch the chosen model ahead of its first turn. */
async function loadAhead() {
  const wanted = choice.category;
  status.endProgress();
  if (models.has(wanted)) return;
  status.tell("preparing", () => ({ name: nameOf(wanted) }));
  try {
    await models.load(wanted);
    if (wanted !== choice.category) return;
    status.endProgress(restored ? "restored" : sheet.strokes.length ? "readyWithDrawing" : "ready");
    if (!restored && !turns.on) propose();
    restored = false;
  } catch ({ message }) {
    if (wanted !== choice.category) return;
    status.endProgress();
    status.tell("loadFailed", () => ({ name: nameOf(wanted), message }));
  }
}

/** Show "Stop" in the place of "Finish it" while the model draws. */
function showTurn(on) {
  const [shown, hidden] = on ? [$("stop"), $("finish")] : [$("finish"), $("stop")];
  const focused = document.activeElement === hidden;
  shown.hidden = false;
  hidden.hidden = true;
  if (focused) shown.focus();
  if (on) {
    ghost.hide();
    morph?.stop();
  }
  document.body.classList.toggle("drawing", on);
}

function choose(name) {
  if (name === choice.category) return;
  leave();
  choice.category = name;
  sheet.ask(name);
  speak();
  loadAhead();
}

function drawScene(understood) {
  change(false);
  turns.scene(understood);
}

// ------------------------------------------------------------------ words, and what is pressed

/** Show all texts in the language in use. */
function speak() {
  applyWords();
  const name = nameOf(choice.category);
  $("lead").textContent = say("lead", { name });
  $("hint").textContent = say("hint", { name });
  $("language").textContent = say("language");
  $("language").lang = currentLanguage() === "tr" ? "en" : "tr";
  settings.show();
  choice.show();
  status.show();
  turns.endings.applyWords();
  morph?.applyWords();
  showSheet();
}

const pressed = {
  finish: () => turns.finish(),
  stop: ({ detail: clicks }) => clicks > 1 || turns.stop(), // a double click on "Finish it" ends here
  one: () => turns.one(),
  another: () => turns.another(),
  take: takeGhost,
  other: () => ghost.another(),
  change: () => (changing ? change(false) : change(true)),
  undo: () => back("undo", "undone"),
  redo: () => back("redo", "redone"),
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
  ...altering,
};

function listen() {
  for (const [id, action] of Object.entries(pressed)) $(id).addEventListener("click", action);
  $("ghosts").addEventListener("change", () => (settings.ghost ? propose() : ghost.hide()));
  exchange.listen();
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      leave();
      if (changing) change(false);
    }
    if (event.target.matches("[type=number], [type=text]") || event.altKey) return;
    const key = event.key.toLowerCase();
    if (event.ctrlKey || event.metaKey) {
      if (key === "z") pressed[event.shiftKey ? "redo" : "undo"]();
      else if (key === "y") pressed.redo();
      else return;
    } else if (changing && (key === "delete" || key === "backspace")) altering.erase();
    else return;
    event.preventDefault();
  });
}

function repaintAll() {
  sheet.paper.repaint();
  turns.endings.repaint();
  morph?.repaint();
}

/** Say why there is no model; drawing, saving and opening go on. */
function withoutModel(key, values) {
  status.tell(key, values);
  for (const id of ["finish", "one", "another"]) able(id, false);
}

async function begin() {
  beginTheme(repaintAll);
  settings.listen();
  const kept = keptDrawing();
  if (kept) {
    restored = true;
    choice.category = sheet.category = String(kept.category);
    sheet.lay(kept);
  }
  speak();
  listen();
  status.tell("starting");
  await exchange.openLink();
  if (!canCompute()) {
    withoutModel("noSimd");
    return;
  }
  await keepOffline();
  try {
    const made = new Engine();
    site = await made.site();
    engine = made;
    begun(engine);
  } catch ({ message }) {
    withoutModel("failed", () => ({ message }));
    return;
  }
  choice.offer(site);
  morph = new Morph(site.categories, {
    engine: () => engine,
    seed: () => settings.seed,
    begin: () => leave(),
    take(strokes) {
      leave();
      sheet.lay({ strokes });
      status.tell("morphTaken", count);
      $("pad").focus();
    },
  });
  sheet.ask(choice.category);
  speak();
  loadAhead();
}

window.drawing = {
  get strokes() {
    return sheet.strokes;
  },
  get state() {
    return !models.has(choice.category) ? "loading" : turns.on ? "drawing" : "ready";
  },
  get latency() {
    return turns.latency;
  },
  get ghost() {
    return { stroke: ghost.stroke, latency: ghost.latency };
  },
  get odd() {
    return sheet.strokes.indexOf(oddity.stroke);
  },
  settled: () => oddity.answer,
  get chosen() {
    return selection.at;
  },
  get category() {
    return choice.category;
  },
  get guesses() {
    return sheet.guesses;
  },
  get endings() {
    return turns.endings.sizes;
  },
  get between() {
    return morph.strokes;
  },
  clear,
  placeOf: (x, y) => sheet.paper.placeOf([x, y]),
};

begin();
