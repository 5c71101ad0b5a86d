// What things are called in three languages, and what they are in the world: the twin of words/names.py, from its tables.

const text = async (file) => (await fetch(new URL(file, import.meta.url))).text();
const [grammar, table, turkish] = await Promise.all(["./grammar.json", "./vocabulary.tsv", "../ui/turkish_names.json"].map(text));

const LONGEST_FALL = 3; // letters at a word's end that may differ from the name's
const VOWELS = "аеиоуыэюя";
const MARKS = { ç: "c", ğ: "g", ı: "i", ö: "o", ş: "s", ü: "u", â: "a", î: "i", û: "u" };
const SOFTENED = { b: "p", c: "ç", d: "t", ğ: "k", g: "k" };

/** Return `text` in small letters, as the language writes them: Turkish has two kinds of i, Russian е for ё. */
export function lowered(text, language) {
  const own = language === "tr" ? text.replaceAll("I", "ı").replaceAll("İ", "i") : text;
  return own.toLowerCase().replaceAll("ё", "е").replaceAll("’", "'").replaceAll("i̇", "i");
}

/** By language: numbers, sizes, relations and the other small words that a prompt is built with. */
export const GRAMMAR = Object.fromEntries(
  Object.entries(JSON.parse(grammar)).map(([language, roles]) => {
    const small = (value) => {
      if (Array.isArray(value)) return value.map((each) => lowered(each, language));
      if (typeof value !== "object") return value;
      return Object.fromEntries(Object.entries(value).map(([key, each]) => [lowered(key, language), each]));
    };
    return [language, Object.fromEntries(Object.entries(roles).map(([role, value]) => [role, small(value)]))];
  }),
);

const turkishNames = JSON.parse(turkish);
const rows = table.trimEnd().split(/\r?\n/).slice(1).map((line) => {
  const [category, metres, place, en, tr, ru] = line.split("\t");
  const main = { en: category, tr: turkishNames[category], ru: ru.split(",")[0] };
  return { category, metres: Number(metres), place, main, others: { en, tr, ru } };
});

/** By category: its usual longest side in `metres`, and its `place`, on the ("g")round, in the ("s")ky, or one to be in ("c"). */
export const KINDS = Object.fromEntries(rows.map(({ category, metres, place }) => [category, { metres, place }]));

/** Return the words of a name, with one space between them; a hyphen separates as a space does. */
export const splitName = (name) => name.replaceAll("-", " ").split(/\s+/).filter(Boolean).join(" ");

/** Return what is made of a language, once. */
function once(make) {
  const made = {};
  return (language) => (made[language] ??= make(language));
}

/** Return the categories of a language by their names: a category's own name goes before another one's synonym. */
export const names = once((language) => {
  const found = new Map();
  const add = (name, category) => {
    const key = splitName(lowered(name, language));
    if (key && !found.has(key)) found.set(key, category);
  };
  for (const { main, category } of rows) add(main[language], category);
  for (const { others, category } of rows) others[language].split(",").forEach((name) => add(name, category));
  return found;
});

/** Return the number of words of a language's longest name. */
export const longestName = once((language) => Math.max(...[...names(language).keys()].map((name) => name.split(" ").length)));

/** Return a word as it is, and without each ending that it may have. */
function bases(word, language) {
  const found = new Set([word]);
  for (const [instead, endings] of Object.entries(GRAMMAR[language].endings ?? {})) {
    for (const end of endings) if (word.endsWith(end) && word.length > end.length + 1) found.add(word.slice(0, -end.length) + instead);
  }
  return found;
}

/** Return a Russian base with the vowel that comes and goes before its end: цветок, цветка; кошка, кошек. */
function fleeting(base) {
  const [before, last] = [base.slice(0, -1), base.at(-1)];
  if (base.length < 3 || VOWELS.includes(last)) return [];
  if ("ое".includes(before.at(-1))) return ["", "ь"].map((soft) => before.slice(0, -1) + soft + last);
  if (VOWELS.includes(before.at(-1))) return [];
  return ["о", "е"].map((vowel) => before.replace(/[ьй]+$/, "") + vowel + last);
}

function basesOfName(word, language) {
  const found = bases(word, language);
  return language === "ru" ? new Set([...found, ...[...found].flatMap(fleeting)]) : found;
}

/** Put `value` into the list at `key` of a map. */
const put = (map, key, value) => map.set(key, [...(map.get(key) ?? []), value]);

const byBase = once((language) => {
  const found = new Map();
  for (const name of names(language).keys()) {
    for (const base of basesOfName(name.split(" ").at(-1), language)) put(found, base, name);
  }
  return found;
});

const plain = (text) => text.replace(/[çğıöşüâîû]/g, (letter) => MARKS[letter]);

const withoutMarks = once((language) => {
  const found = new Map();
  for (const name of names(language).keys()) put(found, plain(name), name);
  return found;
});

const wholeEnding = new RegExp(`^(?:${GRAMMAR.tr["noun ending"]})$`);

/** Tell whether a Turkish word may end with all its letters from the `at`-th on. */
export const isTurkishEnding = (word, at) => wholeEnding.test(word.slice(at));

/** Return the names that words are a form of by the order of Turkish endings: plural, owner, case. */
function turkishForms(words) {
  const [first, last] = [words.slice(0, -1), words.at(-1)];
  const found = [];
  for (let end = 2; end < last.length; end++) {
    if (!isTurkishEnding(last, end)) continue;
    const base = last.slice(0, end);
    const [begin, letter] = [base.slice(0, -1), base.at(-1)];
    const possessed = first.length ? ["", "s"].flatMap((s) => [..."ıiuü"].map((vowel) => base + s + vowel)) : []; // okul otobüs-ü
    const dropped = [..."ıiuü"].map((vowel) => begin + vowel + letter); // burun, burn-un
    for (const form of [base, begin + (SOFTENED[letter] ?? letter), ...possessed, ...dropped]) {
      const name = [...first, form].join(" ");
      if (names("tr").has(name)) found.push(name);
    }
  }
  return found;
}

/** Tell whether a word can be a form of a name's: as long, alike but for the last letters, of one base. */
function isForm(word, name, language) {
  if (name === word) return true;
  const kept = Math.max(1, name.length - LONGEST_FALL);
  const alike = word.length >= Math.max(2, name.length - 1) && name.slice(0, kept) === word.slice(0, kept);
  if (!alike) return false;
  const own = basesOfName(name, language);
  return [...bases(word, language)].some((base) => own.has(base));
}

/** Return the category that words of small letters name, as they are or inflected, or null; of several names the longest's. */
export function find(words, language) {
  const known = names(language), text = words.join(" ");
  if (known.has(text)) return known.get(text);
  let likely;
  if (language === "tr") likely = [...(withoutMarks("tr").get(text) ?? []), ...turkishForms(words)];
  else {
    likely = [...bases(words.at(-1), language)].flatMap((base) => byBase(language).get(base) ?? []).filter((name) => {
      const parts = name.split(" ");
      return parts.length === words.length && parts.every((part, i) => isForm(words[i], part, language));
    });
  }
  const letters = (name) => name.replaceAll(" ", "").length;
  const better = (a, b) => letters(b) - letters(a) || (b > a ? 1 : -1);
  return likely.length ? known.get(likely.sort(better)[0]) : null;
}
