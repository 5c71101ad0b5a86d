/** Writes animated GIF files (GIF89a), with its own LZW compression. */

const MOST_CODES = 4096;

class Bytes {
  #parts = [];
  #block = new Uint8Array(65536);
  #used = 0;

  byte(value) {
    if (this.#used === this.#block.length) this.#flush();
    this.#block[this.#used++] = value;
  }

  short(value) {
    this.byte(value & 255);
    this.byte(value >> 8);
  }

  all(values) {
    for (const value of values) this.byte(value);
  }

  text(characters) {
    this.all([...characters].map((character) => character.charCodeAt(0)));
  }

  blob(type) {
    this.#flush();
    return new Blob(this.#parts, { type });
  }

  #flush() {
    this.#parts.push(this.#block.slice(0, this.#used));
    this.#used = 0;
  }
}

/** A GIF file that grows by frames. Its palette is a list of [red, green, blue], at most 256. */
export class GifWriter {
  #bytes = new Bytes();
  #bits;
  #dictionary;

  /** Begin a file of that many pixels, which plays again and again. */
  constructor(width, height, palette) {
    this.#bits = Math.max(1, Math.ceil(Math.log2(palette.length)));
    this.#dictionary = new Uint16Array(MOST_CODES << this.#bits);
    const bytes = this.#bytes;
    bytes.text("GIF89a");
    bytes.short(width);
    bytes.short(height);
    bytes.all([0x80 | ((this.#bits - 1) << 4) | (this.#bits - 1), 0, 0]);
    for (let i = 0; i < 1 << this.#bits; i++) bytes.all(palette[i] ?? [0, 0, 0]);
    bytes.all([0x21, 0xff, 11]);
    bytes.text("NETSCAPE2.0");
    bytes.all([3, 1, 0, 0, 0]); // 0 rounds: forever
  }

  /** Add a frame that covers a rectangle and stays; `indices` are its pixels' colours, row by row. */
  frame({ left, top, width, height, indices, milliseconds }) {
    const bytes = this.#bytes;
    bytes.all([0x21, 0xf9, 4, 1 << 2]); // what is there stays
    bytes.short(Math.round(milliseconds / 10));
    bytes.all([0, 0, 0x2c]);
    for (const value of [left, top, width, height]) bytes.short(value);
    bytes.byte(0);
    this.#compress(indices);
  }

  /** End the file and return it. */
  finish() {
    this.#bytes.byte(0x3b);
    return this.#bytes.blob("image/gif");
  }

  /** LZW with codes of growing width, in blocks of at most 255 bytes. */
  #compress(indices) {
    const bytes = this.#bytes;
    const smallest = Math.max(2, this.#bits);
    const clear = 1 << smallest;
    const dictionary = this.#dictionary; // (prefix code, next colour) -> code, 0 for none
    const block = [];
    let held = 0, heldBits = 0;
    let width = smallest + 1, next = clear + 2;

    const send = () => {
      bytes.byte(block.length);
      bytes.all(block);
      block.length = 0;
    };
    const put = (code) => {
      held |= code << heldBits;
      heldBits += width;
      while (heldBits >= 8) {
        block.push(held & 255);
        held >>>= 8;
        heldBits -= 8;
        if (block.length === 255) send();
      }
    };

    bytes.byte(smallest);
    dictionary.fill(0);
    put(clear);
    let prefix = indices[0];
    for (let i = 1; i < indices.length; i++) {
      const key = (prefix << this.#bits) | indices[i];
      if (dictionary[key]) {
        prefix = dictionary[key];
        continue;
      }
      put(prefix);
      prefix = indices[i];
      if (next === MOST_CODES) {
        put(clear);
        dictionary.fill(0);
        [width, next] = [smallest + 1, clear + 2];
      } else {
        if (next === 1 << width) width++;
        dictionary[key] = next++;
      }
    }
    put(prefix);
    put(clear + 1);
    if (heldBits) block.push(held & 255);
    if (block.length) send();
    bytes.byte(0);
  }
}
