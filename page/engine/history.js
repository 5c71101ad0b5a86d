/** The drawing on the paper, and what was done to it: every stroke can be undone and redone, and so can clearing. */
export class Drawing {
  strokes = [];
  #past = []; // {stroke} that was added, or {before}: the strokes that were cleared away
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
    this.#future = [];
    this.#do({ stroke });
  }

  /** Take everything off the paper; one undo brings it back. */
  clear() {
    if (!this.strokes.length) return;
    this.#future = [];
    this.#do({ before: this.strokes });
  }

  /** Undo the last thing done; return whether there was any. */
  undo() {
    const last = this.#past.pop();
    if (!last) return false;
    if (last.stroke) this.strokes.pop();
    else this.strokes = last.before;
    this.#future.push(last);
    return true;
  }

  /** Do again what was undone last; return whether there was anything. */
  redo() {
    const next = this.#future.pop();
    if (!next) return false;
    this.#do(next);
    return true;
  }

  #do(action) {
    if (action.stroke) this.strokes.push(action.stroke);
    else this.strokes = [];
    this.#past.push(action);
  }
}
