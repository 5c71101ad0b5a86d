/**
 * The drawing on the paper, and what was done to it.
 *
 * Whatever is done puts some strokes in the place of others, {at, removed, added}, and so all of it can be undone and
 * redone.
 */
export class Drawing {
  strokes = [];
  #past = [];
  #future = [];

  /** Tell whether there is anything to undo. */
  get canUndo() {
    return this.#past.length > 0;
  }

  /** Tell whether there is anything to redo. */
  get canRedo() {
    return this.#future.length > 0;
  }

  /** Put one more stroke on the paper. */
  add(stroke) {
    this.replace(this.strokes.length, 0, [stroke]);
  }

  /** Put `added` in the place of `count` strokes from the `at`-th on; one undo takes it all back. */
  replace(at, count, added) {
    const action = { at, removed: this.strokes.slice(at, at + count), added };
    if (!action.removed.length && !added.length) return;
    this.#future = [];
    this.#past.push(action);
    this.strokes.splice(at, count, ...added);
  }

  /** Take everything off the paper; one undo brings it back. */
  clear() {
    this.replace(0, this.strokes.length, []);
  }

  /** Undo the last thing done; return whether there was any. */
  undo() {
    const action = this.#past.pop();
    if (!action) return false;
    this.strokes.splice(action.at, action.added.length, ...action.removed);
    this.#future.push(action);
    return true;
  }

  /** Do again what was undone last; return whether there was anything. */
  redo() {
    const action = this.#future.pop();
    if (!action) return false;
    this.strokes.splice(action.at, action.removed.length, ...action.added);
    this.#past.push(action);
    return true;
  }
}
