/** One turn of the model: one job of the engine, each of its endings shown by a player. */
export class Turn {
  /** Ms from the beginning to the first stroke that the model gave. */
  latency = null;
  #stopped = false;
  #job = null;
  #players;

  constructor(players) {
    this.#players = players;
  }

  /**
   * Wait for `ready`, then draw what `request` asks for and show it; `tell` hears every event of the engine.
   *
   * Promises why each ending ended, once all has been shown, or null if the turn was stopped.
   */
  async run(engine, ready, request, tell = () => {}) {
    const began = performance.now();
    await ready;
    if (this.#stopped) return null;
    const reasons = [];
    this.#job = engine.draw(request, (event) => {
      if (this.#stopped) return;
      const player = this.#players[event.ending];
      if (event.type === "noise") player.noise(event.points);
      if (event.type === "stroke") {
        this.latency ??= performance.now() - began;
        player.stroke(event.stroke);
      }
      if (event.type === "end") {
        reasons[event.ending] = event.reason;
        player.end();
      }
      tell(event);
    });
    try {
      await this.#job.done;
    } finally {
      for (const player of this.#players) player.end();
    }
    await Promise.all(this.#players.map((player) => player.done));
    return this.#stopped ? null : reasons;
  }

  /** Stop at once; what is under a pen is finished, the rest is forgotten. */
  stop() {
    this.#stopped = true;
    this.#job?.cancel();
    for (const player of this.#players) player.halt();
  }
}
