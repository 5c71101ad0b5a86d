// Where in the model's square an unfinished drawing lies that was begun anywhere and at any size; the twin of placement.py.

const BOX = 255;
const SHARES = [1, 0.85, 0.7, 0.55, 0.42], ANCHORS = [0, 0.5, 1];
const VOLUME = 0.4, PROBED_TIME = 249, SAME = 2, SMALLEST = 8;
const LOOSE = 0.04; // of a square's side, by which a drawing may reach beyond it

/** The whole sheet: strokes are where the model would draw them. */
export const SHEET = { left: 0, top: 0, side: BOX };

/** Return points of the sheet in a square's own pixels. */
export function inside({ left, top, side }, points) {
  const scale = BOX / side;
  return points.map(([x, y]) => [(x - left) * scale, (y - top) * scale]);
}

/** Return points in a square's own pixels as points of the sheet. */
export function outside({ left, top, side }, points) {
  const scale = side / BOX;
  return points.map(([x, y]) => [x * scale + left, y * scale + top]);
}

/** Tell whether two squares are one. */
export const isSame = (one, other) =>
  ["left", "top"].every((edge) => Math.abs(one[edge] - other[edge]) <= SAME &&
    Math.abs(one[edge] + one.side - other[edge] - other.side) <= SAME);

function boundsOf(strokes) {
  const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
  for (const point of strokes.flat()) {
    for (const axis of [0, 1]) {
      low[axis] = Math.min(low[axis], point[axis]);
      high[axis] = Math.max(high[axis], point[axis]);
    }
  }
  return { low, high };
}

/** Tell whether a square holds strokes [[[x, y], ...], ...]. */
export function holds({ left, top, side }, strokes) {
  const { low, high } = boundsOf(strokes);
  const loose = LOOSE * side;
  return low[0] >= left - loose && low[1] >= top - loose && high[0] <= left + side + loose && high[1] <= top + side + loose;
}

/** Return squares on the sheet around the middle of strokes, the sheet itself first where they are large enough for it. */
export function sizes(strokes) {
  const { low, high } = boundsOf(strokes);
  const extent = Math.max(high[0] - low[0], high[1] - low[1], SMALLEST);
  const sheet = extent >= SHARES.at(-1) * BOX ? [SHEET] : [];
  return different([...sheet, ...SHARES.map((share) => around(low, high, extent / share, 0.5, 0.5))]);
}

/** Return squares of one size on the sheet that hold strokes, which lie in them left or right, high or low. */
export function places(strokes, side) {
  const { low, high } = boundsOf(strokes);
  return different(ANCHORS.flatMap((across) => ANCHORS.map((down) => around(low, high, side, across, down))));
}

function around(low, high, wanted, across, down) {
  const side = Math.min(wanted, BOX);
  const edge = (axis, anchor) => Math.min(Math.max(low[axis] - anchor * (side - (high[axis] - low[axis])), 0), BOX - side);
  return { left: edge(0, across), top: edge(1, down), side };
}

const different = (squares) =>
  squares.reduce((found, square) => (found.some((other) => isSame(square, other)) ? found : [...found, square]), []);

/**
 * Promise how badly `network` takes `strokes` in each of some squares, `losses`; `probe` is the noise (D) that is tried.
 *
 * `before`, what was promised last, saves reading strokes again: most strokes lie within the bounds of those before them,
 * and so the squares to try stay as they were.
 */
export async function scores({ tokens, networks: [network], alphaBar, probe }, strokes, squares, before) {
  const [rows, dim] = [2 * squares.length, tokens.dim];
  const [signal, noisy] = [Math.sqrt(alphaBar[PROBED_TIME]), Math.sqrt(1 - alphaBar[PROBED_TIME])];
  const goesOn = before && same(before.squares, squares) && same(before.strokes, strokes.slice(0, before.strokes.length));
  let { state, read } = goesOn ? before : {};
  const sums = goesOn ? [...before.sums] : squares.map(() => 0);
  await network.prepareTimes([PROBED_TIME]);
  for (const points of strokes.slice(goesOn ? before.strokes.length : 0)) {
    if (read) state = await network.append(state, read);
    state ??= network.repeat(await network.start(), squares.length);
    read = new Float32Array(squares.length * dim);
    squares.forEach((square, i) => read.set(tokens.encode(inside(square, points)), i * dim));
    const at = (i, j) => read[(i % squares.length) * dim + j]; // all squares with the noise, then all against it
    const noise = (i, j) => (i < squares.length ? probe[j] : -probe[j]);
    const each = (make) => Float32Array.from({ length: rows * dim }, (_, n) => make(Math.floor(n / dim), n % dim));
    const v = await network.velocity(each((i, j) => signal * at(i, j) + noisy * noise(i, j)), PROBED_TIME, network.twice(state));
    v.forEach((value, n) => {
      const [i, j] = [Math.floor(n / dim), n % dim];
      sums[i % squares.length] += (value - (signal * noise(i, j) - noisy * at(i, j))) ** 2 / (2 * dim);
    });
  }
  const losses = sums.map((sum, i) => sum - VOLUME * strokes.length * Math.log(BOX / squares[i].side));
  return { squares, strokes, sums, state, read, losses };
}

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

/** Promise the square in which the model takes strokes [[[x, y], ...], ...] for the likeliest. */
export async function likeliestSquare(model, strokes) {
  model.placing ??= {}; // what was found of the squares of either choice
  const best = async (choice, squares) => {
    if (squares.length === 1) return squares[0];
    const found = (model.placing[choice] = await scores(model, strokes, squares, model.placing[choice]));
    return squares[found.losses.indexOf(Math.min(...found.losses))];
  };
  const square = await best("sizes", sizes(strokes));
  return square.side === BOX ? square : best("places", places(strokes, square.side));
}

/** Read the strokes of the last choices in all their squares, for the next one, as long as nobody waits. */
export async function readAhead({ networks: [network], placing = {} }) {
  for (const found of Object.values(placing)) {
    if (found.read) found.state = await network.append(found.state, found.read);
    found.read = null;
  }
}
