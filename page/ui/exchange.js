/** Saves the drawing as files and as a link, and takes drawings in: opened, dropped, pasted, or in the address. */

import { toExcalidraw } from "../files/excalidraw.js";
import { FileFault } from "../files/faults.js";
import { drawingIn, linkTo } from "../files/link.js";
import { toGif, toPng, toVideo, videoKind } from "../files/pictures.js";
import { MOST_POINTS, MOST_STROKES, readDrawing, save, toNdjson } from "../files/reading.js";
import { toSvg } from "../files/svg.js";
import { toTldraw } from "../files/tldraw.js";
import { decimal, say } from "./words.js";

const $ = (id) => document.getElementById(id);
const MAKERS = { svg: toSvg, png: toPng, gif: toGif, ndjson: toNdjson, excalidraw: toExcalidraw, tldr: toTldraw, video: toVideo };
const LONGEST_NAME = 40;

/** The ways in and out of `sheet`; `taken(found)` is told what has come in. */
export class Exchange {
  #sheet;
  #status;
  #taken;

  constructor(sheet, status, taken) {
    [this.#sheet, this.#status, this.#taken] = [sheet, status, taken];
  }

  /** The buttons of what can be saved. */
  static ids = [...Object.keys(MAKERS).map((kind) => `save-${kind}`), "link"];

  /** Follow what is pressed, dropped and pasted. */
  listen() {
    $("save-video").hidden = !videoKind();
    for (const kind of Object.keys(MAKERS)) $(`save-${kind}`).addEventListener("click", () => this.#save(kind));
    $("link").addEventListener("click", () => this.#link());
    $("open").addEventListener("change", ({ target }) => {
      if (target.files.length) this.#open(target.files[0], target.files[0].name);
      target.value = ""; // so that the same file may be opened again
    });
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      this.#take(event.dataTransfer);
    });
    addEventListener("paste", (event) => {
      if (event.target.matches?.("input")) return;
      event.preventDefault();
      this.#take(event.clipboardData);
    });
    addEventListener("hashchange", () => this.openLink());
  }

  /** Take in the drawing that the page's address holds; promise whether there is one. */
  async openLink() {
    const found = await drawingIn(location.hash);
    if (!found) return false;
    history.replaceState(null, "", location.pathname + location.search); // a reload shows what is drawn by then
    this.#taken({ ...found, word: found.category, given: {} });
    this.#status.tell("openedLink", () => ({ count: found.strokes.length }));
    return true;
  }

  #take(data) {
    const [file] = data?.files ?? [];
    const text = data?.getData("text/plain");
    if (file) this.#open(file, file.name);
    else if (text) this.#open(new Blob([text]), null);
  }

  async #open(blob, fullName) {
    const name = () => (fullName === null ? say("pasted") : shortened(fullName));
    try {
      const found = await readDrawing(blob);
      this.#taken(found);
      const limits = () => ({ strokes: decimal(MOST_STROKES, 0), points: decimal(MOST_POINTS, 0) });
      const key = found.cut ? "openedCut" : found.fitted ? "openedFitted" : "opened";
      this.#status.tell(key, () => ({ file: name(), count: found.strokes.length, ...limits() }));
    } catch (error) {
      if (error instanceof FileFault) this.#status.tell(error.key, () => ({ file: name(), ...error.values }));
      else this.#status.tell("failed", () => ({ message: error.message }));
    }
  }

  async #save(kind) {
    const { strokes, category, given } = this.#sheet;
    if (!strokes.length) {
      this.#status.tell("nothingToSave");
      return;
    }
    const ending = kind === "video" ? videoKind().match(/mp4|webm/)[0] : kind;
    const file = `${category}.${ending}`;
    try {
      this.#status.tell(kind === "video" ? "recording" : "saving", () => ({ file }));
      save(await MAKERS[kind](strokes.slice(), category, given), file);
      this.#status.tell("saved", () => ({ file }));
    } catch ({ message }) {
      this.#status.tell("failed", () => ({ message }));
    }
  }

  async #link() {
    const { strokes, category } = this.#sheet;
    if (!strokes.length) {
      this.#status.tell("nothingToSave");
      return;
    }
    const address = await linkTo(strokes, category);
    try {
      await navigator.clipboard.writeText(address);
      this.#status.tell("linkCopied", () => ({ count: address.length }));
    } catch {
      history.replaceState(null, "", address); // then it stands in the address bar
      this.#status.tell("linkShown");
    }
  }
}

const shortened = (name) => (name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 2)}…` : name);
