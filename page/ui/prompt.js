/** A prompt such as "two cats and a bus" becomes the things to draw. */

import { nameOf, otherNameOf, plainName } from "./words.js";

/** The most things that a scene has room for. */
export const MOST_THINGS = 9;
const LONGEST_NAME = 5; // words
const NUMBERS = {
  a: 1, an: 1, one: 1, two: 2, three: 3, four: 4, five: 5, six: 6, seven: 7, eight: 8, nine: 9,
  bir: 1, iki: 2, uc: 3, dort: 4, bes: 5, alti: 6, yedi: 7, sekiz: 8, dokuz: 9,
};
const SMALL = new Set(["and", "with", "the", "ve", "ile", "some", "of", "draw", "ciz"]);
const IRREGULAR = { mice: "mouse", feet: "foot", leaves: "leaf", knives: "knife", buses: "bus", teeth: "tooth", people: "face" };

/** Return names that a word may be a form of, the likeliest first. */
function stems(plain) {
  const forms = [plain, IRREGULAR[plain]];
  if (/(lar|ler)$/.test(plain)) forms.push(plain.slice(0, -3));
  if (plain.endsWith("ies")) forms.push(`${plain.slice(0, -3)}y`);
  if (plain.endsWith("es")) forms.push(plain.slice(0, -2));
  if (plain.endsWith("s")) forms.push(plain.slice(0, -1));
  return forms.filter(Boolean);
}

/**
 * Return {things: categories, one for each thing, unknown: words that name none} of a prompt.
 *
 * It is read in the language of the page, or in the other where that leaves nothing unknown.
 */
export function readPrompt(text, categories) {
  const [own, other] = [nameOf, otherNameOf].map((name) => readIn(text, new Map(categories.map((each) => [plainName(name(each)), each]))));
  return own.unknown.length && !other.unknown.length ? other : own;
}

function readIn(text, names) {
  const words = text.split(/[\s,;.!?+&]+/).filter(Boolean);
  const things = [], unknown = [];
  let count = 1;
  for (let i = 0; i < words.length; ) {
    let taken = 0;
    for (let length = Math.min(LONGEST_NAME, words.length - i); length && !taken; length--) {
      const category = stems(plainName(words.slice(i, i + length).join(""))).map((form) => names.get(form)).find(Boolean);
      if (!category) continue;
      for (let j = 0; j < count && things.length < MOST_THINGS; j++) things.push(category);
      [taken, count] = [length, 1];
    }
    if (!taken) {
      const plain = plainName(words[i]);
      if (plain in NUMBERS || /^[1-9]$/.test(plain)) count = NUMBERS[plain] ?? Number(plain);
      else if (!SMALL.has(plain)) unknown.push(words[i]);
    }
    i += taken || 1;
  }
  return { things, unknown };
}
