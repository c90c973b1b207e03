// What a person types, on its way to the assistant. No DOM.

/** @typedef {import("livekit-client").Room} Room */
/** @typedef {import("./transcript.js").Entry} Entry */
/** @typedef {import("./transcript.js").Transcript} Transcript */

const TOPIC = "lk.chat";

/**
 * Typed messages, in order. A message reaches only those who are in the room, so what is typed before the
 * assistant can read it waits here.
 */
export class Outbox {
  /** @type {Entry[]} */
  #waiting = [];
  /** @type {Entry[]} to be sent, one behind the other: each takes its time */
  #going = [];
  #sending = Promise.resolve();
  #over = false;
  #transcript;
  #told;
  /** When the last message was sent, in milliseconds of `performance.now()`; 0 before the first. */
  sentAt = 0;

  /**
   * @param {Transcript} transcript
   * @param {{sent: () => void, failed: () => void}} told called for each message
   */
  constructor(transcript, told) {
    this.#transcript = transcript;
    this.#told = told;
  }

  /** @param {string} text */
  add(text) {
    const entry = { from: /** @type {const} */ ("you"), typed: true, text, final: true, waiting: true };
    this.#waiting.push(this.#transcript.add(entry));
  }

  /**
   * Send what waits, behind what is on its way.
   * @param {Room} room
   */
  flush(room) {
    this.#going.push(...this.#waiting.splice(0));
    this.#sending = this.#sending.then(() => this.#send(room));
    return this.#sending;
  }

  /** @param {Room} room */
  async #send(room) {
    for (let entry = this.#going.shift(); entry; entry = this.#going.shift()) {
      this.sentAt = performance.now();
      try {
        this.#transcript.change(entry, { waiting: false });
        await room.localParticipant.sendText(entry.text, { topic: TOPIC });
        this.#told.sent();
      } catch {
        this.#transcript.change(entry, { failed: true });
        if (!this.#over) {
          this.#told.failed();
        }
      }
    }
  }

  /** Send nothing any more, and tell of nothing: the call is over. */
  clear() {
    this.#over = true;
    this.#waiting = [];
    this.#going = [];
  }
}
