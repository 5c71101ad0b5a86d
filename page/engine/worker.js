// Everything that computes, away from the page's own thread: reads strokes and draws them one by one, the twin of
// sample_diffusion.py.

import { model, recogniser, site } from "./loading.js";
import { between } from "./morph.js";
import { probabilities } from "./networks.js";
import { holds, inside, isSame, likeliestSquare, outside, readAhead, SHEET } from "./placement.js";
import { GivenNumbers, StrokeRandomness } from "./random.js";
import { picture } from "./recogniser.js";
import { guided, quickSteps, stepsOf, tidying, trailingTimesteps } from "./sampler.js";
import { officialPoints, simplifiedPoints } from "./simplify.js";
import { strokeLoss } from "./unlike.js";

const PLACED_ANEW = 3; // strokes up to which a drawing is placed anew after each
const cancelled = new Set();

/** Promise the model of a category, or the `base` for it, once it has drawn a stroke. */
async function ready(category, tell, base) {
  const found = await model(category, tell, base);
  found.warm ??= warmUp(found);
  await found.warm;
  return found;
}

/** Draw a stroke that nobody sees: the browser compiles for speed only what has run for a while. */
async function warmUp(found) {
  const { tokens, networks, sample, steps, alphaBar } = found;
  const times = trailingTimesteps(steps[0], alphaBar.length);
  const states = await statesAfter(found, []);
  for (const [i, network] of networks.entries()) {
    await network.prepareTimes(times);
    await network.append(states[i], new Float32Array(tokens.dim));
    const velocity = (x, t) => network.velocity(x, t, states[i]);
    await sample(velocity, new Float32Array(tokens.dim), alphaBar, steps[0], breathe);
  }
}

/** Promise v_hat of noisy strokes by a model whose networks are in `states`. */
async function velocityOf({ networks, guidance }, states, x, t) {
  const v = await networks[0].velocity(x, t, states[0]);
  return networks.length === 1 ? v : guided(v, await networks[1].velocity(x, t, states[1]), guidance);
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
 * Promise the square of the sheet that the model draws in, given the strokes that are there.
 *
 * What it has drawn in before stays, as long as it holds all. Of the person's strokes the first few decide.
 */
async function squareOf(found, strokes) {
  const points = strokes.map((stroke) => stroke.points);
  if (!strokes.length) return SHEET;
  const drawn = strokes.findLast((stroke) => stroke.square)?.square;
  if (drawn && holds(drawn, points)) return drawn;
  const key = JSON.stringify(points);
  const { placed } = found;
  if (placed?.key === key) return placed.square;
  const goesOn = placed && strokes.length > PLACED_ANEW && key.startsWith(placed.key.slice(0, -1));
  const square = goesOn && holds(placed.square, points) ? placed.square : await likeliestSquare(found, simplifiedPoints(strokes));
  found.placed = { key, square };
  return square;
}

/** Return the tokens of strokes in a square of the sheet. */
function tokensOf({ tokens }, strokes, square) {
  return strokes.map((stroke) => {
    if (stroke.token && isSame(stroke.square ?? SHEET, square)) return stroke.token;
    const here = square === SHEET || isSame(square, SHEET) ? stroke : { points: inside(square, stroke.points) };
    return tokens.encode(officialPoints(here));
  });
}

/**
 * Promise the networks' states after the strokes so far, given as tokens, one drawing.
 *
 * The states after each stroke are kept as a chain, so that what is drawn on, undone or asked again is not read anew.
 */
async function statesAfter({ networks, chain }, wanted) {
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

/**
 * Draw on from `strokes`: stroke after stroke of all endings at once, each from random numbers of its own.
 *
 * The square is chosen with a view to `around`, all that is on the sheet, where `place` says so. `steps` may be "quick".
 * With `unlessFinished` nothing is drawn where the model finds it likelier that the drawing is finished, with `goesOn` one
 * stroke at least. A stroke `tidied` is what the first one is made from, instead of noise.
 */
async function draw(job, tell) {
  const { category, strokes, around = strokes, endings, limit, temperature, seed, watch, randomness, tidied, goesOn } = job;
  const { max_strokes: longest } = await site;
  const found = await ready(category, () => {}, job.base);
  const { tokens, networks, sample, alphaBar } = found;
  const steps = job.steps === "quick" ? quickSteps(found.steps) : job.steps ? [job.steps].flat() : found.steps;
  const finish = (ending, reason) => tell({ type: "end", ending, reason });
  let alive = Array.from({ length: endings }, (_, i) => i);
  if (strokes.length >= longest) return alive.forEach((ending) => finish(ending, "longest"));
  if (cancelled.has(job.job)) return;

  const times = steps.flatMap((number) => trailingTimesteps(number, alphaBar.length));
  for (const network of networks) await network.prepareTimes(times);
  const square = job.place ? await squareOf(found, around) : SHEET;
  const begun = await statesAfter(found, tokensOf(found, strokes, square));
  let states = networks.map((network, i) => network.repeat(begun[i], endings));
  const velocity = (x, t) => velocityOf(found, states, x, t);
  const row = (x, i) => x.slice(i * tokens.dim, (i + 1) * tokens.dim);
  const onSheet = (token) => outside(square, tokens.decode(token));

  for (let k = strokes.length; alive.length; k++) {
    const drawn = k - strokes.length;
    const random = Array.from({ length: endings }, (_, i) =>
      randomness ? new GivenNumbers(randomness[i][drawn]) : new StrokeRandomness(seed + i, k),
    );
    const uniforms = random.map((each) => each.uniform());
    // a drawing has one stroke at least, and one that is asked for is given
    const mayEnd = k > 0 && limit !== 1 && !(goesOn && drawn === 0);
    for (const ending of [...alive]) {
      const ends = 1 / (1 + Math.exp(-states[0].stop.data[ending]));
      let reason;
      if (mayEnd && uniforms[ending] < ends) reason = "finished";
      else if (job.unlessFinished && k > 0 && drawn === 0 && ends > 0.5) reason = "finished";
      else if (k === longest) reason = "longest";
      else if (drawn === limit) reason = "limit";
      else continue;
      alive = alive.filter((other) => other !== ending);
      finish(ending, reason);
    }
    if (!alive.length || cancelled.has(job.job)) break;

    const noise = new Float32Array(endings * tokens.dim);
    random.forEach((each, i) => {
      noise.set(each.normal(tokens.dim).map((number) => number * temperature), i * tokens.dim);
    });
    const count = stepsOf(k, steps);
    const { from, time } = tidied ? tidying(count, alphaBar.length) : { from: 0 };
    if (tidied) noiseAround(noise, tokensOf(found, [tidied], square)[0], alphaBar[time]);
    const x0 = await sample(velocity, noise, alphaBar, count, async (x, step) => {
      if (watch) {
        for (const i of alive) tell({ type: "noise", ending: i, stroke: k, step, points: onSheet(row(x, i)) });
      }
      await breathe();
      return !cancelled.has(job.job);
    }, from);
    if (x0 === null) return;
    for (const ending of alive) {
      const token = row(x0, ending);
      tell({ type: "stroke", ending, stroke: { points: onSheet(token), by: "model", token, square } });
    }
    const longer = [];
    for (const [i, network] of networks.entries()) longer.push(await network.append(states[i], x0));
    states = longer;
  }
  if (job.place) await readAhead(found);
}

/** Put a token, noised so far that `kept` of its variance remains, into every row of `noise`. */
function noiseAround(noise, token, kept) {
  noise.forEach((value, i) => (noise[i] = Math.sqrt(kept) * token[i % token.length] + Math.sqrt(1 - kept) * value));
}

/** Promise whether the last of some strokes is denoised worse than what is usual, after those before it. */
async function unlike({ category, strokes }) {
  const found = await ready(category);
  if (found.unlike === null || strokes.length > (await site).max_strokes) return false;
  const read = tokensOf(found, strokes, await squareOf(found, strokes));
  await statesAfter(found, read);
  return (await strokeLoss(found, found.chain.at(-2).states[0], read.at(-1))) > found.unlike;
}

/** Draw what lies between two `ends` {category, randomness}, all by the base. */
async function morph({ job, ends, shares }, tell) {
  const { max_strokes: longest } = await site;
  for (const end of ends) Object.assign(end, { found: await ready(end.category, () => {}, true), velocity: velocityOf });
  await between({ ends, shares, longest }, tell, async () => (await breathe(), !cancelled.has(job)));
}

async function recognise({ strokes, category }) {
  await breathe();
  await proposed; // a proposal that is asked for together with it comes first, for it is waited for
  const { names } = (await site).networks;
  const given = await probabilities(await recogniser(), picture(strokes.map(({ points }) => points)));
  const order = [...given.keys()].sort((a, b) => given[b] - given[a]).slice(0, 3);
  return {
    top: order.map((index) => ({ name: names[index], probability: given[index] })),
    own: given[names.indexOf(category)],
  };
}

const TASKS = {
  site: () => site,
  load: ({ category, base }, tell) => ready(category, tell, base).then(() => true),
  prepare: async ({ category, strokes, place }) => {
    const { max_strokes: longest } = await site;
    if (strokes.length >= longest) return;
    const found = await ready(category);
    await statesAfter(found, tokensOf(found, strokes, place ? await squareOf(found, strokes) : SHEET));
  },
  draw,
  morph,
  unlike,
  recognise,
};

let busy = Promise.resolve(); // one after another: states and sessions are shared
let proposed = busy;

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
    cancelled.delete(id);
  };
  // loading and recognising may come between the steps of a drawing, what goes on from its states may not
  if (["draw", "morph", "prepare", "unlike"].includes(task)) busy = busy.then(work);
  else work();
  if (body?.unlessFinished) proposed = busy;
};
