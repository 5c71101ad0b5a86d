// Fetches the files of the networks, packed with gzip, and makes models of them.

import { Model, session, useRuntime } from "./networks.js";
import { SAMPLERS } from "./sampler.js";
import { Tokens } from "./tokens.js";

/** Promises the contents of site.json. */
export const site = fetch("../site.json").then((answer) => answer.json());

const RUNTIME = "ort/ort-wasm-simd-threaded.wasm.gz";
const BASE = "base"; // the model that draws all categories without one of their own
const models = new Map(); // category -> promise of {tokens, networks: [own, guide if any], guidance, sample, steps, alphaBar, chain}
const contents = new Map(); // file -> promise of what is made of its content, a session or a table

/** Promise the content of a file, unpacked, telling `progress` how many bytes have come. */
async function content(file, progress) {
  const answer = await fetch(`../${file}`);
  if (!answer.ok) throw new Error(`${file}: ${answer.status}`);
  const parts = [];
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    progress(value.length);
  }
  const whole = new Blob(parts);
  const [first, second] = new Uint8Array(await whole.slice(0, 2).arrayBuffer());
  const isPacked = first === 0x1f && second === 0x8b; // not where the host says that it is, and the browser unpacks it
  const stream = isPacked ? whole.stream().pipeThrough(new DecompressionStream("gzip")) : whole.stream();
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Promise what `make` makes of the content of a file, once for all who ask. */
function once(file, make, progress = () => {}) {
  if (!contents.has(file)) {
    const promise = content(file, progress).then(make);
    promise.catch(() => contents.delete(file)); // another try later
    contents.set(file, promise);
  }
  return contents.get(file);
}

const table = (bytes) => JSON.parse(new TextDecoder().decode(bytes));

/** Promise the session of a network's file. */
function sessionOf(file, progress) {
  const runtime = once(RUNTIME, useRuntime, progress);
  return once(file, async (bytes) => (await runtime, session(bytes)), progress);
}

/** Promise the session of the network that names drawings. */
export async function recogniser() {
  return sessionOf((await site).networks.recogniser);
}

/** Promise a category's model, the `base` if asked for, telling `progress` {loaded, total} in bytes of what is fetched for it. */
export function model(category, progress = () => {}, base = false) {
  const key = base ? `${BASE} ${category}` : category;
  if (!models.has(key)) {
    const promise = loaded(category, progress, base);
    promise.catch(() => models.delete(key));
    models.set(key, promise);
  }
  return models.get(key);
}

async function loaded(category, progress, base) {
  const { networks: { sizes, numbers, models: entries }, categories, total_bytes: bytes } = await site;
  const name = category in entries && !base ? category : BASE;
  const entry = entries[name];
  const files = new Set([entry.own, entry.guide].filter(Boolean).flatMap((network) => Object.values(network.files)));
  const missing = [...files, RUNTIME, numbers].filter((file) => !contents.has(file));
  const total = missing.reduce((sum, file) => sum + bytes[file], 0);
  let sum = 0;
  const told = (count) => progress({ loaded: (sum += count), total });
  const made = async (network) => {
    const names = Object.keys(network.files);
    const each = await Promise.all(names.map((part) => sessionOf(network.files[part], told)));
    const asked = network.category ?? categories.indexOf(category);
    return new Model(Object.fromEntries(names.map((part, i) => [part, each[i]])), asked, sizes);
  };
  const [found, ...networks] = await Promise.all(
    [once(numbers, table, told), ...[entry.own, entry.guide].filter(Boolean).map(made)],
  );
  const tokens = new Tokens({ fit: found.fit, ...found.whitening[name] });
  const { guidance, sampler, steps, unlike } = entry;
  const { alpha_bar: alphaBar, probe } = found;
  return { tokens, networks, guidance, sample: SAMPLERS[sampler], steps, unlike, alphaBar, probe, chain: [] };
}
