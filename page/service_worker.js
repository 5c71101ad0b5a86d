/** Keeps the page for when there is no network: models for good, everything else as it was last seen. */

const VERSION = new URL(location.href).searchParams.get("version") ?? "";
const PAGE = `page-${VERSION}`;
const MODELS = "models"; // of all versions: a model's name changes with its content
const LASTING = ["models/", "ort/"];

const scope = self.registration.scope;
const pathOf = (url) => (url.startsWith(scope) ? url.slice(scope.length).split(/[?#]/)[0] : null);
const isLasting = (path) => LASTING.some((folder) => path.startsWith(folder));

self.addEventListener("install", (event) => event.waitUntil(keepPage().then(() => self.skipWaiting())));

self.addEventListener("activate", (event) => event.waitUntil(dropOld().then(() => self.clients.claim())));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const path = pathOf(request.url);
  if (request.method !== "GET" || path === null || request.headers.has("range")) return;
  event.respondWith(isLasting(path) ? fromCacheFirst(request) : fromNetworkFirst(request));
});

async function keepPage() {
  const site = await fetch("./site.json", { cache: "no-cache" });
  const cache = await caches.open(PAGE);
  await cache.put("./site.json", site.clone());
  const { files } = await site.json();
  const small = new Set(["./", ...files.filter((file) => !isLasting(file))]);
  await cache.addAll([...small].map((file) => new Request(file, { cache: "no-cache" })));
}

/** Delete the pages of other versions, and the models that this version has no use for. */
async function dropOld() {
  for (const name of await caches.keys()) {
    if (name.startsWith("page-") && name !== PAGE) await caches.delete(name);
  }
  const site = await (await caches.open(PAGE)).match("./site.json");
  const named = site ? await site.text() : "";
  const models = await caches.open(MODELS);
  for (const request of await models.keys()) {
    const file = pathOf(request.url)?.split("/").at(-1);
    if (!file || !named.includes(file)) await models.delete(request);
  }
}

async function fromCacheFirst(request) {
  const cache = await caches.open(MODELS);
  const kept = await cache.match(request.url);
  if (kept) return kept;
  const answer = await fetch(request);
  if (answer.status === 200) keep(cache, request.url, answer.clone());
  return answer;
}

async function fromNetworkFirst(request) {
  const cache = await caches.open(PAGE);
  try {
    const answer = await fetch(request);
    if (answer.status === 200 && !new URL(request.url).search) keep(cache, request.url, answer.clone());
    return answer;
  } catch (error) {
    const kept = await cache.match(request.url, { ignoreSearch: true });
    if (kept) return kept;
    throw error;
  }
}

/** Put an answer into a cache; a full disk costs nothing but the copy. */
function keep(cache, url, answer) {
  cache.put(url, answer).catch(() => {});
}
