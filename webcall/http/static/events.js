// The events of a call, and telling them to who listens. No DOM.

/** @typedef {import("livekit-client").RemoteTrack} RemoteTrack */
/** @typedef {import("./failures.js").Failure} Failure */
/** @typedef {import("./service.js").Place} Place */
/** @typedef {import("./transcript.js").Entry} Entry */

/** @typedef {"idle" | "placing" | "joining" | "joined" | "reconnecting" | "ended" | "failed"} State */
/** What the assistant does; the last four are livekit-agents' own words, which may grow.
 * @typedef {"none" | "expected" | "absent" | "lost" | "joined" | "initializing" | "listening" | "thinking" | "speaking"} AssistantState */
/** @typedef {"off" | "asking" | "on" | "muted" | "failed"} MicrophoneState */
/** Milliseconds since the call was asked for; `reply`: from a typed message to the reply's first word.
 * @typedef {"joined" | "assistant" | "audio" | "word" | "reply"} Timing */
/**
 * The events and what each brings. `ended` comes once, `failure` null where the call ended as calls do,
 * with `by` for who ended it and, if the assistant's side did, its words. `place` comes where the token
 * to come back with has changed.
 * @typedef {{
 *   state: State,
 *   assistant: AssistantState,
 *   microphone: MicrophoneState,
 *   entry: Entry,
 *   levels: {you: number, assistant: number},
 *   timing: {name: Timing, ms: number},
 *   failure: Failure,
 *   ended: {by: "you" | "assistant" | "failure", words: string | null, failure: Failure | null},
 *   place: Place,
 *   audio: {track: RemoteTrack, playing: boolean},
 *   playback: {blocked: boolean},
 *   log: {ms: number, text: string},
 * }} Events
 */

export class Emitter {
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #handlers = new Map();

  /**
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(detail: Events[Name]) => void} handler
   * @returns {() => void} takes the handler away again
   */
  on(name, handler) {
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /**
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {Events[Name]} detail
   */
  emit(name, detail) {
    for (const handler of this.#handlers.get(name) ?? []) {
      handler(detail);
    }
  }
}
