/** Makes the page work offline once it has been used, where the browser lets it. */

const PATIENCE_MS = 2500;

/**
 * Register the service worker of this version; promise that it has taken over, that it cannot, or that it takes long.
 *
 * Wait for it before fetching models: only what passes through the service worker is kept.
 */
export async function keepOffline() {
  const workers = navigator.serviceWorker;
  if (!workers) return; // no HTTPS, or a private window
  try {
    const answer = await fetch("./site.json", { cache: "no-cache" });
    const { version } = await answer.json();
    const inControl = new Promise((resolve) => {
      if (workers.controller) resolve();
      workers.addEventListener("controllerchange", resolve, { once: true });
    });
    // a new version has a new address, so that the browser sees that there is one
    await workers.register(`./service_worker.js?version=${encodeURIComponent(version)}`, { updateViaCache: "none" });
    await Promise.race([inControl, new Promise((resolve) => setTimeout(resolve, PATIENCE_MS))]);
  } catch (error) {
    console.info("the page will not work offline:", error.message);
  }
}
