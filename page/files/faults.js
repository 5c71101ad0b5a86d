/** A file that is no drawing; `key` and `values` name the text that says why. */
export class FileFault extends Error {
  constructor(key, values = {}) {
    super(key);
    this.key = key;
    this.values = values;
  }
}
