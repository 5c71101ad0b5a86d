// A prompt in words becomes the things to draw, their relations, and what is told of all other words: the twin of
// words/prompts.py. What is told is [key, values], which ui/words.js says.

import { closest } from "./closest.js";
import { find, GRAMMAR, isTurkishEnding, KINDS, longestName, lowered, names, splitName } from "./names.js";

const MOST_THINGS = 12, MOST_WORDS = 100, MOST_LETTERS = 2000;
const LIKE = 0.8; // of a word and a name that may have been meant
const CLAUSE_ENDS = ["and", "boundary"];
const SIGNS = /[^\p{L}\p{N}_\s&+,;.:!?'’`"“”„«»()[\]/…–—-]+|-(?=\p{Nd})/gu; // no words, nor the usual punctuation; a minus
const ROLES = {
  boundaries: "boundary", and: "and", negations: "negation", relations: "relation", numbers: "number",
  "vague numbers": "vague", sizes: "size", fillers: "filler",
};
const LANGUAGES = Object.keys(GRAMMAR);

/** A prompt that nothing can be drawn of; `key` and `values` name the text that says why. */
export class PromptFault extends Error {
  constructor(key, values = {}) {
    super(key);
    Object.assign(this, { key, values });
  }
}

/** Return the words and marks of a text in small letters, without the endings that an apostrophe sets off. */
function wordsOf(text, language) {
  const found = lowered(text, language).replace(/[&+]/g, ",").match(/\p{Nd}+|[\p{L}\p{Nl}\p{No}]+(?:'[\p{L}\p{Nl}\p{No}]+)?|[,;.:!?]/gu) ?? [];
  const whole = language === "tr" ? found.map((word) => word.split("'")[0]) : found;
  return whole.map((word) => (":!?".includes(word) ? "." : word.replace(/'s$/, "")));
}

/** Return the words of a prompt as items {role, value, text}, the longest phrases first. */
function itemsOf(words, language) {
  const items = [];
  for (let i = 0; i < words.length; ) {
    let length = Math.min(longestName(language), words.length - i), item = null;
    while (length && !(item = itemOf(words.slice(i, i + length), language))) length--;
    items.push(item ?? { role: "unknown", value: null, text: words[i] });
    i += length || 1;
  }
  return items;
}

function itemOf(words, language) {
  const grammar = GRAMMAR[language], text = words.join(" ");
  if (/^\d+$/.test(text)) return { role: "number", value: Number(text), text };
  for (const [list, role] of Object.entries(ROLES)) {
    const entries = grammar[list];
    if (Array.isArray(entries) ? entries.includes(text) : Object.hasOwn(entries, text)) {
      return { role, value: Array.isArray(entries) ? text : entries[text], text };
    }
  }
  if (words.some((word) => grammar.boundaries.includes(word))) return null;
  let category = find(words, language);
  if (category) return { role: "thing", value: category, text };
  if (words.length > 1 || language !== "tr") return null;
  if (text.length > 4 && grammar["negative endings"].some((end) => text.endsWith(end))) return { role: "negated", value: text, text };
  for (const end of grammar["locative endings"]) {
    if (text.endsWith(end) && (category = find([text.slice(0, -end.length)], "tr"))) return { role: "thing", value: category, text };
  }
  return null;
}

/** Return the language that leaves least of a prompt unknown, or names most things. */
function languageOf(prompt) {
  const rank = (language) => {
    const items = itemsOf(wordsOf(prompt, language), language);
    const isTurkish = /[çğıöşü]/.test(lowered(prompt, language));
    const unknown = items.filter(({ role }) => role === "unknown").reduce((sum, { text }) => sum + text.length, 0);
    return [unknown, Number(isTurkish && language !== "tr"), -items.filter(({ role }) => role === "thing").length];
  };
  const ranked = LANGUAGES.map((language) => ({ language, rank: rank(language) }));
  const order = (a, b) => a.rank[0] - b.rank[0] || a.rank[1] - b.rank[1] || a.rank[2] - b.rank[2];
  return ranked.sort(order)[0].language;
}

/**
 * Return what a prompt asks for, {language, things: [{category, size}], relations: [{subjects, kind, landmarks}], told},
 * subjects and landmarks being places among the things. Throws a PromptFault where nothing can be drawn, or too much.
 */
export function readPrompt(prompt) {
  const count = prompt.split(/\s+/).filter(Boolean).length;
  if (count > MOST_WORDS || prompt.length > MOST_LETTERS) throw new PromptFault("promptLong", { count, words: MOST_WORDS, letters: MOST_LETTERS });
  const language = languageOf(prompt);
  const reader = new Reader(language);
  for (const sign of prompt.match(SIGNS) ?? []) reader.tell("toldSign", { text: sign });
  const found = reader.read(itemsOf(wordsOf(prompt, language), language));
  if (!found.things.length) throw new PromptFault("promptNothing", { told: found.told });
  return found;
}

const isIn = (tuple, tuples) => tuples.some((other) => other.join() === tuple.join());

/** Goes through the items of a prompt once. */
class Reader {
  constructor(language) {
    this.found = { language, things: [], relations: [], told: [] };
    this.grammar = GRAMMAR[language];
    this.after = this.grammar["after its noun"];
    this.number = null;
    this.size = 1;
    this.group = []; // things named that no relation has taken
    this.joined = this.wasJoined = false; // by "and" or a comma, what comes and the thing before it
    this.pending = null; // {kind, things}: a preposition that waits for its noun
    this.waiting = null; // {kind, things}: a place that waits for who is there
    this.there = []; // who has come to that place
    this.last = [];
  }

  /** Understand all items in their order and return what was found. */
  read(items) {
    for (let at = 0; at < items.length; at++) {
      const item = items[at];
      if (item.role === "negation") at = this.negate(items, at);
      else this[`on${item.role[0].toUpperCase()}${item.role.slice(1)}`](item, items[at + 1]);
    }
    this.endPlace();
    this.endNumber();
    return this.found;
  }

  /** Forget a number and a size that no thing has come for. */
  endNumber() {
    if (this.number !== null && this.number !== 1) this.tell("toldNumber", { number: this.number });
    [this.number, this.size] = [null, 1];
  }

  /** Add to what is told, once. */
  tell(key, values) {
    const same = (one) => JSON.stringify(one) === JSON.stringify([key, values]);
    if (!this.found.told.some(same)) this.found.told.push([key, values]);
  }

  onFiller() {}

  onNumber({ value }) {
    if (this.number === null || this.number === 1) this.number = value;
  }

  onVague({ text, value }) {
    this.number = value;
    this.tell("toldCount", { text, count: value });
  }

  onSize({ value }) {
    this.size = value;
  }

  /** Tell a word that is not known, with the name that it may be meant for. */
  onUnknown({ text }) {
    const { language } = this.found;
    const close = text.length > 3 ? closest(text, names(language).keys(), LIKE) : null;
    const isName = (other) => other !== language && text.length > 2 && names(other).has(splitName(text));
    this.tell("toldUnknown", { text, close, foreign: close ? null : (LANGUAGES.find(isName) ?? null) });
  }

  onNegated({ text }) {
    this.tell("toldWithout", { text });
  }

  onAnd() {
    this.endNumber();
    this.joined = true;
  }

  /** End a part of the prompt: what comes is in no relation to what was, unless it says so. */
  onBoundary(_, next) {
    this.endNumber();
    this.endPlace();
    this.joined = true;
    if (next?.role !== "relation" || this.after) [this.group, this.last] = [[], []];
  }

  /** Add things, or find those that were named before, and put them where they are wanted. */
  onThing(item) {
    const things = this.named(item);
    [this.number, this.size, this.wasJoined, this.joined] = [null, 1, this.joined, false];
    const meaning = this.otherMeaning(item);
    if (meaning) this.tell("toldMeaning", { text: item.text, category: item.value, ...meaning });
    if (this.pending) this.landmark(this.pending.kind, this.pending.things, things);
    else {
      this.group.push(things);
      if (this.waiting) this.there.push(things);
    }
    const kind = this.after && this.locative(item);
    if (kind) this.onRelation({ value: kind, text: item.text });
  }

  /** Return what is said of a word that also means something else. */
  otherMeaning({ text, value }) {
    const { language } = this.found;
    const means = ([word]) => text.startsWith(word) && find(splitName(word).split(" "), language) === value;
    const [word, note] = Object.entries(this.grammar.homonyms).find(means) ?? [];
    return word && { note, turkish: this.grammar["homonyms in Turkish"]?.[word] };
  }

  /** Return the relation that the ending of a Turkish word says, if any. */
  locative({ text, value }) {
    const ends = this.grammar["locative endings"].some((end) => text.endsWith(end));
    if (!ends || names("tr").has(splitName(text))) return null;
    return KINDS[value].place === "c" ? "in" : "on";
  }

  /** Return the numbers of the things that a noun names; without a number it may be one of before. */
  named({ text, value: category }) {
    const { things, language } = this.found;
    const before = [...things.keys()].filter((i) => things[i].category === category);
    if (this.number === null && before.length && this.size === 1) return before;
    let count = this.number;
    if (count === null) {
      count = isPlural(text, language) && !(this.pending && !this.after) ? 2 : 1;
      if (count === 2) this.tell("toldCount", { text, count });
    }
    if (things.length + count > MOST_THINGS) throw new PromptFault("promptMany", { count: things.length + count, most: MOST_THINGS });
    const first = things.length;
    for (let i = 0; i < count; i++) things.push({ category, size: this.size });
    return Array.from({ length: count }, (_, i) => first + i);
  }

  /** Put things where a preposition and its noun say. */
  landmark(kind, subjects, things) {
    if (kind === "between" && !this.last.length) {
      this.last = things;
      return;
    }
    const marks = kind === "between" ? [...this.last, ...things] : things;
    [this.pending, this.group, this.last] = [null, [], marks];
    if (subjects.length) this.relate(subjects, kind, marks);
    else this.waiting = { kind, things: marks };
  }

  /** Add a relation, unless a thing would stand in one to itself. */
  relate(wanted, kind, landmarks) {
    const subjects = [...new Set(wanted)].filter((i) => !landmarks.includes(i));
    if (subjects.length) this.found.relations.push({ subjects, kind, landmarks });
  }

  /** Begin a relation with its preposition, or complete it with its postposition. */
  onRelation(item) {
    if (this.after) {
      this.postposition(item);
      return;
    }
    const things = this.group.length ? this.group.flat() : this.last;
    this.endPlace();
    if (item.value === "between") this.last = [];
    [this.pending, this.group] = [{ kind: item.value, things }, []];
  }

  /** Take the noun before for the landmark, and for its subjects those before it or those to come. */
  postposition({ value: kind, text }) {
    const count = kind === "between" ? 2 : 1;
    const taken = this.group.slice(-count), marks = taken.flat();
    if (!taken.length) {
      this.tell("toldAlone", { text });
      return;
    }
    this.there = this.there.filter((things) => !isIn(things, taken));
    const rest = this.group.slice(0, -taken.length).filter((things) => !isIn(things, this.there));
    this.endPlace();
    this.group = [];
    if (rest.length && (!this.wasJoined || count === 2)) this.relate(rest.flat(), kind, marks);
    else this.waiting = { kind, things: marks };
    this.last = marks;
  }

  /** Put those who have come to a place into it. */
  endPlace() {
    if (this.waiting && this.there.length) this.relate(this.there.flat(), this.waiting.kind, this.waiting.things);
    [this.waiting, this.there] = [null, []];
  }

  /** Tell a negation with what it speaks of, which is not drawn; return the number of its last item. */
  negate(items, at) {
    const tell = (from, to) => this.tell("toldNegation", { text: items.slice(from, to + 1).map(({ text }) => text).join(" ") });
    let end = at;
    while (end + 1 < items.length && !CLAUSE_ENDS.includes(items[end + 1].role)) {
      if (items[++end].role === "thing") break;
    }
    if (!this.after && end > at) {
      [this.number, this.size] = [null, 1];
      tell(at, end);
      return end;
    }
    let start = at - 1; // it speaks of what is before
    while (start >= 0 && items[start].role === "filler") start--;
    if (items[start]?.role === "relation" && this.found.relations.length) this.found.relations.pop();
    else if (items[start]?.role === "thing" && this.group.length) this.forget(this.group.pop());
    tell(Math.max(0, start), at);
    return at;
  }

  /** Take the latest things back. */
  forget(numbers) {
    const { things } = this.found;
    if (!numbers.length || numbers.at(-1) !== things.length - 1) return;
    things.length = numbers[0];
    this.there = this.there.filter((other) => !isIn(other, [numbers]));
    this.found.relations = this.found.relations.filter(({ subjects }) => !subjects.some((i) => numbers.includes(i)));
  }
}

/** Tell whether a noun that is not a name as it stands is a plural by its ending. */
function isPlural(word, language) {
  if (names(language).has(splitName(word))) return false;
  if (language === "en") return word.endsWith("s");
  if (language === "ru") return /[ыи]$/.test(word);
  return [...word].some((_, at) => at > 1 && /^l[ae]r/.test(word.slice(at)) && isTurkishEnding(word, at));
}
