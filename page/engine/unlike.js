// Whether a stroke is unlike its category, given the strokes before it; the twin of oddity/strokes.py.

const TIME = 499;

/** Promise the loss of a stroke, given as a token, after the strokes of `state`: the error of denoising it once. */
export async function strokeLoss({ networks: [network], alphaBar, probe }, state, token) {
  const dim = token.length;
  const [signal, noisy] = [Math.sqrt(alphaBar[TIME]), Math.sqrt(1 - alphaBar[TIME])];
  const both = (make) => Float32Array.from({ length: 2 * dim }, (_, n) => make(token[n % dim], n < dim ? probe[n] : -probe[n - dim]));
  await network.prepareTimes([TIME]);
  const v = await network.velocity(both((x0, eps) => signal * x0 + noisy * eps), TIME, network.repeat(state, 2));
  const wanted = both((x0, eps) => signal * eps - noisy * x0);
  return v.reduce((sum, value, n) => sum + (value - wanted[n]) ** 2 / (2 * dim), 0);
}
