// Samplers over one stroke, written to be read beside diffusion_process.py. Rows of a batch lie end to end in one
// Float32Array.

/** Return the denoising steps of a drawing's k-th stroke: the k-th of `steps`, or the last where it has fewer. */
export function stepsOf(stroke, steps) {
  return steps[Math.min(stroke, steps.length - 1)];
}

const QUICK = [20, 10, 6]; // of the first stroke, the second, and all others; a student's 4 are fewer

/** Return fewer denoising steps by stroke than `steps`, for strokes that are only proposed. */
export const quickSteps = (steps) => QUICK.map((most, k) => Math.min(most, stepsOf(k, steps)));

/** Return `steps` falling times that begin at T - 1: the trailing spacing of Lin et al. 2024, table 2. */
export function trailingTimesteps(steps, total) {
  return Array.from({ length: steps }, (_, i) => roundedToEven(total - (i * total) / steps) - 1);
}

/** Round halves to the even neighbour, as Python does. */
function roundedToEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

/** v_hat guided away from a weaker network's (Karras et al. 2024, arXiv:2406.02507, eq. 3), in place in `weaker`. */
export function guided(v, weaker, guidance) {
  return weaker.map((w, i) => w + guidance * (v[i] - w));
}

/**
 * Denoise `noise` to a stroke in `steps` steps of DPM-Solver++(2M) (Lu et al. 2022, arXiv:2211.01095, algorithm 2).
 *
 * `velocity(x, t)` promises v_hat; `alphaBar` is the schedule (T). After every step `watch(x, step)` is awaited: what
 * it returns as false ends the sampling, and then the result is null. `from` leaves out as many steps: `noise` is then a
 * stroke that is noised as far as they would have got.
 */
export async function dpmSolver(velocity, noise, alphaBar, steps, watch, from = 0) {
  const times = trailingTimesteps(steps, alphaBar.length);
  const logSnr = times.map((t) => (alphaBar[t] > 0 ? 0.5 * Math.log(alphaBar[t] / (1 - alphaBar[t])) : -Infinity));
  let x = Float32Array.from(noise), previous = null;
  for (let i = from; i < steps; i++) {
    const now = alphaBar[times[i]];
    const v = await velocity(x, times[i]);
    const [signal, noisy] = [Math.sqrt(now), Math.sqrt(1 - now)];
    const x0 = x.map((value, j) => signal * value - noisy * v[j]);
    if (i === steps - 1) {
      x = x0;
    } else {
      const after = alphaBar[times[i + 1]];
      const h = logSnr[i + 1] - logSnr[i];
      // the first step is of first order, and so is the second, whose ratio of step lengths is infinite
      const correction = previous ? h / (2 * (logSnr[i] - logSnr[i - 1])) : 0;
      const [keep, move] = [Math.sqrt((1 - after) / (1 - now)), -Math.sqrt(after) * Math.expm1(-h)];
      x = x.map((value, j) => keep * value + move * (x0[j] + (previous ? correction * (x0[j] - previous[j]) : 0)));
      previous = x0;
    }
    if ((await watch(x, i)) === false) return null;
  }
  return x;
}

/** Denoise as ``dpmSolver`` does, by DDIM without noise (Song et al. 2021, arXiv:2010.02502, eq. 12). */
export async function ddim(velocity, noise, alphaBar, steps, watch, from = 0) {
  const times = trailingTimesteps(steps, alphaBar.length);
  let x = Float32Array.from(noise);
  for (let i = from; i < steps; i++) {
    const [now, after] = [alphaBar[times[i]], i === steps - 1 ? 1 : alphaBar[times[i + 1]]];
    const [signal, noisy] = [Math.sqrt(now), Math.sqrt(1 - now)];
    const [keep, move] = [Math.sqrt(after), Math.sqrt(1 - after)];
    const v = await velocity(x, times[i]);
    x = x.map((value, j) => keep * (signal * value - noisy * v[j]) + move * (noisy * value + signal * v[j]));
    if ((await watch(x, i)) === false) return null;
  }
  return x;
}

const TIDY = 0.3; // of all times; so far a stroke is noised that is only to be tidied

/** Return how many of the steps to leave out, and the time that a stroke is noised to, when it is tidied. */
export function tidying(steps, total) {
  const times = trailingTimesteps(steps, total);
  const from = Math.min(times.findIndex((t) => t < TIDY * total) >>> 0, steps - 1);
  return { from, time: times[from] };
}

/** The samplers by the names that Python gives them. */
export const SAMPLERS = { "dpm-solver++": dpmSolver, ddim };
