/** Language and theme: what the browser suggests until the reader chooses, and then what was chosen. */

import { LANGUAGES } from "./words.js";

const dark = matchMedia("(prefers-color-scheme: dark)");

/** Return what was remembered under `key`, or null. */
export function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null; // storage may be forbidden
  }
}

/** Remember a text under `key`; forget it where it is null. */
export function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // then it holds until the page is closed
  }
}

/** Return the language to begin with. */
export function preferredLanguage() {
  const chosen = remembered("language");
  if (LANGUAGES.includes(chosen)) return chosen;
  return (navigator.language ?? "").toLowerCase().startsWith("tr") ? "tr" : "en";
}

/** Remember the language that was chosen. */
export const rememberLanguage = (language) => remember("language", language);

/** Show the theme that was chosen earlier, if any; call `changed` whenever another one shows. */
export function beginTheme(changed) {
  const chosen = remembered("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  dark.addEventListener("change", changed);
}

/** Change between light and dark, and remember it. */
export function switchTheme() {
  const shown = document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
  const theme = shown === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  remember("theme", theme);
}
