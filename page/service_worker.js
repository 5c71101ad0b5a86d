/** Keeps the page for when there is no network: models for as long as they are in use, the rest as it was last seen. */

const VERSION = new URL(location.href).searchParams.get("version") ?? "";
const PAGE = `page-${VERSION}`;
const LASTING = "models"; // of all versions: a model's name changes with its content
const HEAVY = ["models/", "ort/"]; // what is fetched once, by folder

const scope = self.registration.scope;
const pathOf = (url) => (url.startsWith(scope) ? url.slice(scope.length).split(/[?#]/)[0] : null);
const isHeavy = (path) => HEAVY.some((folder) => path.startsWith(folder));
const anew = (file) => new Request(file, { cache: "no-cache" }); // asks whether it has changed

self.addEventListener("install", (event) => event.waitUntil(keepPage().then(() => self.skipWaiting())));

self.addEventListener("activate", (event) => event.waitUntil(dropOld().then(() => self.clients.claim())));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const path = pathOf(request.url);
  if (request.method !== "GET" || path === null || request.headers.has("range")) return;
  event.respondWith(isHeavy(path) ? fromCacheFirst(request) : fromNetworkFirst(request));
});

async function keepPage() {
  const site = await fetch(anew("./site.json"));
  const cache = await caches.open(PAGE);
  await cache.put("./site.json", site.clone());
  const { files } = await site.json();
  const small = new Set(["./", ...files.filter((file) => !isHeavy(file))]);
  await cache.addAll([...small].map(anew));
  await renewRuntime();
}

/** Fetch again, if they have changed, the files in use whose names do not change with their content. */
async function renewRuntime() {
  const lasting = await caches.open(LASTING);
  const inUse = (await lasting.keys()).filter(({ url }) => pathOf(url)?.startsWith("ort/"));
  await Promise.allSettled(inUse.map(({ url }) => lasting.add(anew(url))));
}

/** Delete the pages of other versions, and the models that this version has no use for. */
async function dropOld() {
  for (const name of await caches.keys()) {
    if (name.startsWith("page-") && name !== PAGE) await caches.delete(name);
  }
  const site = await (await caches.open(PAGE)).match("./site.json");
  const named = site ? await site.text() : "";
  const models = await caches.open(LASTING);
  for (const request of await models.keys()) {
    const file = pathOf(request.url)?.split("/").at(-1);
    if (!file || !named.includes(file)) await models.delete(request);
  }
}

async function fromCacheFirst(request) {
  const cache = await caches.open(LASTING);
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
