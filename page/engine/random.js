// Random numbers that a seed repeats: sfc32 (Chris Doty-Humphrey's small fast counter), normal by Box and Muller.

/** Return 32 bits that depend on every bit of the numbers, murmur-like mixing. */
function mixed(numbers, salt) {
  let hash = salt;
  for (const number of numbers) {
    for (const word of [number >>> 0, Math.floor(number / 4294967296) >>> 0]) {
      hash = Math.imul(hash ^ word, 0x85ebca6b);
      hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
      hash ^= hash >>> 16;
    }
  }
  return hash | 0;
}

/** The numbers {uniform, normal} of one stroke that another program has drawn, to compare with it. */
export class GivenNumbers {
  constructor({ uniform, normal }) {
    this.uniform = () => uniform;
    this.normal = () => normal;
  }
}

/** The random numbers of one stroke: the same for the same (seed, stroke). */
export class StrokeRandomness {
  constructor(seed, stroke) {
    this.words = [1, 2, 3].map((salt) => mixed([seed, stroke], Math.imul(salt, 0x9e3779b9)));
    this.counter = 1;
    for (let i = 0; i < 12; i++) this.word();
  }

  /** Return the next 32 bits. */
  word() {
    let [a, b, c] = this.words;
    const result = (((a + b) | 0) + this.counter) | 0;
    this.counter = (this.counter + 1) | 0;
    this.words = [b ^ (b >>> 9), (c + (c << 3)) | 0, (((c << 21) | (c >>> 11)) + result) | 0];
    return result >>> 0;
  }

  /** Return a number in 0 <= u < 1. */
  uniform() {
    return this.word() / 4294967296;
  }

  /** Return `count` standard normal numbers. */
  normal(count) {
    const numbers = new Float32Array(count);
    for (let i = 0; i < count; i += 2) {
      const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
      const angle = 2 * Math.PI * this.uniform();
      numbers[i] = radius * Math.cos(angle);
      if (i + 1 < count) numbers[i + 1] = radius * Math.sin(angle);
    }
    return numbers;
  }
}
