// How long the steps of a call took. No DOM.

/** @typedef {import("./events.js").Timing} Timing */
/** @typedef {import("./transcript.js").Entry} Entry */

export class Timings {
  /** @type {Set<Timing>} */
  #marked = new Set();
  #tell;
  #repliedTo = 0;
  /** When the call was asked for, in milliseconds of `performance.now()`. */
  began = performance.now();

  /** @param {(timing: {name: Timing, ms: number}) => void} tell called once for each; for a reply, for each */
  constructor(tell) {
    this.#tell = tell;
  }

  /** @param {Timing} name of a step that is done now, if it was not before */
  mark(name) {
    if (!this.#marked.has(name)) {
      this.#marked.add(name);
      this.#take(name, this.began);
    }
  }

  /**
   * The assistant says something.
   * @param {Entry} entry
   * @param {number} typedAt when the last message was sent; 0 where there is none
   */
  said(entry, typedAt) {
    this.mark("word");
    if (typedAt > this.#repliedTo && entry.at > typedAt) {
      this.#repliedTo = typedAt;
      this.#take("reply", typedAt);
    }
  }

  /** @param {Timing} name @param {number} since */
  #take(name, since) {
    this.#tell({ name, ms: Math.round(performance.now() - since) });
  }
}
