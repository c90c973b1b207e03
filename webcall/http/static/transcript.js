// What was said and typed, in the order in which it began. No DOM.

/**
 * One utterance. `waiting`: typed, and not sent before the assistant is there. `ends`: a notice with
 * which the call ends. `at` is in milliseconds of `performance.now()`.
 * @typedef {{id: number, from: "you" | "assistant" | "service", typed: boolean, text: string,
 *   final: boolean, at: number, waiting?: boolean, failed?: boolean, code?: string, ends?: boolean}} Entry
 */
/** @typedef {import("livekit-client").TextStreamReader} Reader */
/** Words of the service, as a text stream brings them, or a packet.
 * @typedef {{info: {attributes?: Record<string, string>}} & AsyncIterable<string>} Notice */

export class Transcript {
  /** @type {Entry[]} */
  entries = [];
  /** @type {Map<string, {entry: Entry | null, stream: number}>} */
  #segments = new Map();
  #streams = 0;
  #changed;

  /** @param {(entry: Entry) => void} changed called for every entry, when it is new and when it grows */
  constructor(changed) {
    this.#changed = changed;
  }

  /**
   * @param {Omit<Entry, "id" | "at">} fields
   * @returns {Entry}
   */
  add(fields) {
    const entry = { id: this.entries.length + 1, at: performance.now(), ...fields };
    this.entries.push(entry);
    this.#changed(entry);
    return entry;
  }

  /**
   * @param {Entry} entry
   * @param {Partial<Entry>} fields
   */
  change(entry, fields) {
    Object.assign(entry, fields);
    this.#changed(entry);
  }

  /**
   * Take in one stream of `lk.transcription`. The assistant's words come as one stream that grows; a
   * person's speech as one stream for each update, which replaces the one before. So the text of a
   * segment is always the text of its newest stream.
   * @param {Reader} reader
   * @param {"you" | "assistant"} from
   * @param {string} identity of the one who speaks
   */
  async follow(reader, from, identity) {
    const key = `${identity} ${reader.info.attributes?.["lk.segment_id"] ?? reader.info.id}`;
    const segment = this.#segments.get(key) ?? { entry: null, stream: 0 };
    this.#segments.set(key, segment);
    const stream = (this.#streams += 1);
    segment.stream = stream;
    let text = "";
    /** @param {boolean} final */
    const show = (final) => {
      if (segment.stream !== stream || !(text || segment.entry)) {
        return;
      }
      if (segment.entry) {
        this.change(segment.entry, { text, final });
      } else {
        segment.entry = this.add({ from, typed: false, text, final });
      }
    };
    try {
      for await (const chunk of reader) {
        text += chunk;
        show(false);
      }
    } catch {
      // The sender went away in the middle of a sentence: what came of it stays.
    }
    // Attributes of the end arrive in the stream's trailer. An assistant's stream that has ended is final
    // without them too: it was interrupted, or is a plain worker's.
    show(from === "assistant" || reader.info.attributes?.["lk.transcription_final"] === "true");
  }

  /**
   * Take in one notice of `webcall.notice`: words of the service.
   * @param {Notice} reader
   * @returns {Entry} without its words as yet; its code, and whether the call ends with it, stand
   */
  notice(reader) {
    const { code = "", ends } = reader.info.attributes ?? {};
    const told = { code, ends: ends === "true" };
    const entry = this.add({ from: "service", typed: false, text: "", final: false, ...told });
    void this.#read(reader, entry);
    return entry;
  }

  /** @param {Notice} reader @param {Entry} entry */
  async #read(reader, entry) {
    try {
      for await (const chunk of reader) {
        this.change(entry, { text: entry.text + chunk });
      }
    } catch {
      // Broken off; what came of it stays.
    }
    this.change(entry, { final: true });
  }

  /** Nothing comes any more: what is not whole stays as it is, what was not sent was not sent. */
  close() {
    for (const entry of this.entries) {
      if (!entry.final || entry.waiting) {
        this.change(entry, { final: true, failed: entry.waiting, waiting: false });
      }
    }
  }
}
