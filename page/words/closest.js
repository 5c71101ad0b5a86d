// How alike two words are: the twin of what Python's difflib finds (Ratcliff and Metzener 1988).

/** Return how many letters two words have in common: of the longest part that both have, and of what is left and right of it. */
function common(a, b) {
  let [length, fromA, fromB] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    for (let j = 0; j < b.length; j++) {
      let k = 0;
      while (i + k < a.length && a[i + k] === b[j + k]) k++;
      if (k > length) [length, fromA, fromB] = [k, i, j];
    }
  }
  if (!length) return 0;
  return length + common(a.slice(0, fromA), b.slice(0, fromB)) + common(a.slice(fromA + length), b.slice(fromB + length));
}

/** Return which of `words` is most like `word`, at least by the share `least` of their letters; null if none is. */
export function closest(word, words, least) {
  let best = null, most = least;
  for (const other of words) {
    const both = other.length + word.length;
    if ((2 * Math.min(other.length, word.length)) / both < most) continue;
    const share = (2 * common(other, word)) / both;
    if (share > most || (share === most && (best === null || other > best))) [best, most] = [other, share];
  }
  return best;
}
