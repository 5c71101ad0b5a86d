// Everything that computes, away from the page's own thread: loads the networks and draws stroke by stroke, the twin of
// sample_diffusion.py.

import { model, recogniser, site } from "./loading.js";
import { probabilities } from "./networks.js";
import { GivenNumbers, StrokeRandomness } from "./random.js";
import { picture } from "./recogniser.js";
import { guided, quickSteps, stepsOf, trailingTimesteps } from "./sampler.js";
import { officialPoints } from "./simplify.js";

const cancelled = new Set();
const warm = new Map(); // category -> promise of its model, which has drawn a stroke

/** Draw a stroke that nobody sees: the browser compiles for speed only what has run for a while. */
async function warmUp(ready) {
  const { tokens, networks, sample, steps, alphaBar } = ready;
  const times = trailingTimesteps(steps[0], alphaBar.length);
  const states = await statesAfter(ready, []);
  for (const [i, network] of networks.entries()) {
    await network.prepareTimes(times);
    await network.append(states[i], new Float32Array(tokens.dim));
    const velocity = (x, t) => network.velocity(x, t, states[i]);
    await sample(velocity, new Float32Array(tokens.dim), alphaBar, steps[0], breathe);
  }
}

/** Let messages in, such as that a job is cancelled. */
const breathe = () =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => (port1.close(), resolve());
    port2.postMessage(null);
  });

const equal = (a, b) => a.length === b.length && a.every((value, i) => value === b[i]);

/**
 * Promise the networks' states after the strokes so far, one drawing.
 *
 * The states after each stroke are kept as a chain, so that what is drawn on, undone or asked again is not read anew.
 */
async function statesAfter(loadedModel, strokes) {
  const { tokens, networks, chain } = loadedModel;
  const wanted = strokes.map((stroke) => stroke.token ?? tokens.encode(officialPoints(stroke)));
  let known = 1;
  while (known < chain.length && known <= wanted.length && equal(chain[known].token, wanted[known - 1])) known++;
  chain.length = Math.min(known, chain.length);
  if (chain.length === 0) {
    chain.push({ states: await Promise.all(networks.map((network) => network.start())) });
  }
  for (const token of wanted.slice(chain.length - 1)) {
    const before = chain[chain.length - 1].states;
    const states = [];
    for (const [i, network] of networks.entries()) states.push(await network.append(before[i], token));
    chain.push({ token, states });
  }
  return chain[wanted.length].states;
}

/** Draw on: stroke after stroke of all endings at once, each from random numbers of its own. */
async function draw({ job, category, strokes, endings, limit, temperature, steps: asked, seed, watch, randomness }, tell) {
  const { max_strokes: longest } = await site;
  const loadedModel = await model(category);
  const { tokens, networks, guidance, sample, alphaBar } = loadedModel;
  const steps = asked ? [asked].flat() : loadedModel.steps;
  const finish = (ending, reason) => tell({ type: "end", ending, reason });
  let alive = Array.from({ length: endings }, (_, i) => i);
  if (strokes.length >= longest) return alive.forEach((ending) => finish(ending, "longest"));

  const times = steps.flatMap((number) => trailingTimesteps(number, alphaBar.length));
  for (const network of networks) await network.prepareTimes(times);
  const begun = await statesAfter(loadedModel, strokes);
  let states = networks.map((network, i) => network.repeat(begun[i], endings));
  const velocity = async (x, t) => {
    const v = await networks[0].velocity(x, t, states[0]);
    return networks.length === 1 ? v : guided(v, await networks[1].velocity(x, t, states[1]), guidance);
  };

  for (let k = strokes.length; alive.length; k++) {
    const drawn = k - strokes.length;
    const random = Array.from({ length: endings }, (_, i) =>
      randomness ? new GivenNumbers(randomness[i][drawn]) : new StrokeRandomness(seed + i, k),
    );
    const uniforms = random.map((each) => each.uniform());
    const mayEnd = k > 0 && limit !== 1; // a drawing has one stroke at least, and one that is asked for is given
    for (const ending of [...alive]) {
      const ends = 1 / (1 + Math.exp(-states[0].stop.data[ending]));
      let reason;
      if (mayEnd && uniforms[ending] < ends) reason = "finished";
      else if (k === longest) reason = "longest";
      else if (drawn === limit) reason = "limit";
      else continue;
      alive = alive.filter((other) => other !== ending);
      finish(ending, reason);
    }
    if (!alive.length || cancelled.has(job)) return;

    const noise = new Float32Array(endings * tokens.dim);
    random.forEach((each, i) => {
      noise.set(each.normal(tokens.dim).map((number) => number * temperature), i * tokens.dim);
    });
    const row = (x, i) => x.slice(i * tokens.dim, (i + 1) * tokens.dim);
    const x0 = await sample(velocity, noise, alphaBar, stepsOf(k, steps), async (x, step) => {
      if (watch) {
        for (const i of alive) tell({ type: "noise", ending: i, stroke: k, step, points: tokens.decode(row(x, i)) });
      }
      await breathe();
      return !cancelled.has(job);
    });
    if (x0 === null) return;
    for (const ending of alive) {
      const token = row(x0, ending);
      tell({ type: "stroke", ending, stroke: { points: tokens.decode(token), by: "model", token } });
    }
    const longer = [];
    for (const [i, network] of networks.entries()) longer.push(await network.append(states[i], x0));
    states = longer;
  }
}

async function recognise({ strokes, category }) {
  const { recogniser, names } = (await site).networks;
  const given = await probabilities(await sessionOf(recogniser, () => {}), picture(strokes.map(({ points }) => points)));
  const order = [...given.keys()].sort((a, b) => given[b] - given[a]).slice(0, 3);
  return {
    top: order.map((index) => ({ name: names[index], probability: given[index] })),
    own: given[names.indexOf(category)],
  };
}

const TASKS = {
  site: () => site,
  load: ({ category }, tell) => model(category, tell).then(() => true),
  prepare: async ({ category, strokes }) => {
    const { max_strokes: longest } = await site;
    if (strokes.length < longest) await statesAfter(await model(category), strokes);
  },
  draw,
  recognise,
};

let busy = Promise.resolve(); // one after another: states and sessions are shared

onmessage = ({ data: { id, task, body } }) => {
  if (task === "cancel") {
    cancelled.add(body.job);
    return;
  }
  const work = async () => {
    try {
      const result = await TASKS[task](body, (event) => postMessage({ id, event }));
      postMessage({ id, result });
    } catch (error) {
      postMessage({ id, error: error.message });
    }
  };
  // loading and recognising may come between the steps of a drawing, two drawings may not
  if (task === "draw" || task === "prepare") busy = busy.then(work);
  else work();
};
