// Stroke tokens: a stroke of any length as one whitened vector, and back; the twin of stroke_tokens.py.

/** Return the share of its stroke that each segment carries: half by length, half by turning angle. */
function segmentMass(points) {
  const count = points.length - 1;
  const [dx, dy] = [0, 1].map((axis) => Float64Array.from({ length: count }, (_, i) => points[i + 1][axis] - points[i][axis]));
  const length = dx.map((x, i) => Math.sqrt(x * x + dy[i] * dy[i]));
  const turn = new Float64Array(count);
  for (let i = 1; i < count; i++) {
    const cross = dx[i - 1] * dy[i] - dy[i - 1] * dx[i];
    // + 0 makes -0 to 0, which would count as half a turn where a segment has no length
    turn[i] = Math.atan2(Math.abs(cross), dx[i - 1] * dx[i] + dy[i - 1] * dy[i] + 0);
  }
  const angle = turn.map((a, i) => a + (i + 1 < count ? turn[i + 1] : 0)); // a corner's turning is shared
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const [lengths, angles] = [sum(length), sum(angle)];
  const byAngle = angles > 0 ? 0.5 : 0;
  const perLength = lengths > 0 ? (1 - byAngle) / lengths : 0;
  const perAngle = angles > 0 ? byAngle / angles : 0;
  return length.map((l, i) => l * perLength + angle[i] * perAngle);
}

/** Return `count` points of a stroke [[x, y], ...], evenly along its mass. */
function samplesOf(points, count) {
  const mass = segmentMass(points);
  const samples = [];
  let segment = 0, before = 0; // of the stroke's mass, in samples
  for (let j = 0; j < count; j++) {
    while (segment < mass.length - 1 && before + mass[segment] * (count - 1) < j) {
      before += mass[segment] * (count - 1);
      segment++;
    }
    const own = mass[segment] * (count - 1);
    const share = own > 0 ? Math.min(Math.max((j - before) / own, 0), 1) : 0;
    samples.push([0, 1].map((axis) => points[segment][axis] + share * (points[segment + 1][axis] - points[segment][axis])));
  }
  return samples;
}

/** Tokens of one kind: `fit` (points x samples), whitening `mean` (D), `basis` (D x D) and `scale` (D), row by row. */
export class Tokens {
  constructor({ fit, mean, basis, scale }) {
    Object.assign(this, { fit, mean, basis, scale });
    this.dim = mean.length;
    this.numPoints = this.dim / 2;
  }

  /** Return a stroke [[x, y], ...] as `numPoints` points: a polyline fitted to it, its ends kept. */
  resample(points) {
    const [first, last] = [points[0], points[points.length - 1]];
    if (points.length === 1) return Array.from({ length: this.numPoints }, () => [...first]);
    const samples = samplesOf(points, this.fit[0].length);
    const fitted = this.fit.map((row) => {
      const point = [0, 0];
      row.forEach((weight, j) => {
        point[0] += weight * samples[j][0];
        point[1] += weight * samples[j][1];
      });
      return point;
    });
    fitted[0] = [...first];
    fitted[fitted.length - 1] = [...last];
    return fitted;
  }

  /** Return the token, Float32Array (D), of a stroke [[x, y], ...] in pixels. */
  encode(points) {
    const vector = this.resample(points).flat().map((value, i) => Math.fround(Math.fround(value) / 127.5 - 1) - this.mean[i]);
    const token = new Float32Array(this.dim);
    for (let j = 0; j < this.dim; j++) {
      let sum = 0;
      for (let i = 0; i < this.dim; i++) sum += vector[i] * this.basis[i * this.dim + j];
      token[j] = sum / this.scale[j];
    }
    return token;
  }

  /** Return the points [[x, y], ...] in pixels of a token (D). */
  decode(token) {
    const points = [];
    for (let i = 0; i < this.dim; i++) {
      let sum = this.mean[i];
      for (let j = 0; j < this.dim; j++) sum += token[j] * this.scale[j] * this.basis[i * this.dim + j];
      const value = (sum + 1) * 127.5;
      if (i % 2) points[points.length - 1].push(value);
      else points.push([value]);
    }
    return points;
  }
}
