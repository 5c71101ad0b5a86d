// One drawing turns into another: drawings between two categories by one model; the twin of words/morph.py.

import { GivenNumbers, StrokeRandomness } from "./random.js";
import { stepsOf, trailingTimesteps } from "./sampler.js";

const SAME_ANGLE = 1e-4;

/** Return the noise at `share` of the way from `first` to `second` on the great circle (Shoemake 1985). */
export function slerp(first, second, share) {
  const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const cosine = dot(first, second) / Math.sqrt(dot(first, first) * dot(second, second));
  const angle = Math.acos(Math.min(Math.max(cosine, -1), 1));
  const [keep, take] = angle < SAME_ANGLE ? [1 - share, share]
    : [Math.sin((1 - share) * angle) / Math.sin(angle), Math.sin(share * angle) / Math.sin(angle)];
  return first.map((value, i) => keep * value + take * second[i]);
}

/**
 * Draw a drawing for each of `shares` of the way between two ends, all of them stroke by stroke.
 *
 * `ends` are two of {found, velocity, randomness}: one model for two categories, what promises its v_hat in some states,
 * and a seed, or the numbers {uniform, normal} of each stroke. `tell` gets {type: "stroke", ending, stroke}; what `goes`
 * promises as false ends it.
 */
export async function between({ ends, shares, longest }, tell, goes) {
  const [{ found: { tokens, sample, steps, alphaBar } }] = ends;
  const { dim } = tokens;
  const mixed = (each) => each[0].map((value, i) => {
    const share = shares[Math.floor(i / (each[0].length / shares.length))];
    return (1 - share) * value + share * each[1][i];
  });
  const inTurn = async (work) => [await work(ends[0]), await work(ends[1])];
  await inTurn(async (end) => {
    end.states = [];
    for (const network of end.found.networks) {
      await network.prepareTimes(steps.flatMap((count) => trailingTimesteps(count, alphaBar.length)));
      end.states.push(network.repeat(await network.start(), shares.length));
    }
  });
  const velocity = async (x, t) => mixed(await inTurn(({ found, velocity, states }) => velocity(found, states, x, t)));
  const on = shares.map(() => true);
  for (let k = 0; k < longest; k++) {
    const random = ends.map(({ randomness }) => (Array.isArray(randomness) ? new GivenNumbers(randomness[k]) : new StrokeRandomness(randomness, k)));
    const uniforms = random.map((each) => each.uniform());
    if (k > 0) { // random numbers that change little from one to the next, so that neighbours end alike
      const logits = mixed(ends.map(({ states }) => states[0].stop.data));
      shares.forEach((share, i) => (on[i] &&= (1 - share) * uniforms[0] + share * uniforms[1] >= 1 / (1 + Math.exp(-logits[i]))));
    }
    if (!on.some(Boolean)) return;
    const [first, second] = random.map((each) => Array.from(each.normal(dim)));
    const noise = Float32Array.from(shares.flatMap((share) => slerp(first, second, share)));
    const x0 = await sample(velocity, noise, alphaBar, stepsOf(k, steps), goes);
    if (x0 === null) return;
    shares.forEach((_, i) => {
      if (on[i]) tell({ type: "stroke", ending: i, stroke: { points: tokens.decode(x0.slice(i * dim, (i + 1) * dim)), by: "model" } });
    });
    await inTurn(async (end) => {
      for (const [i, network] of end.found.networks.entries()) end.states[i] = await network.append(end.states[i], x0);
    });
  }
}
