// How loud both sides are, and timers with names. No DOM.

/** @typedef {typeof import("livekit-client")} LiveKit */
/** @typedef {import("livekit-client").LocalAudioTrack} LocalAudioTrack */
/** @typedef {import("livekit-client").RemoteAudioTrack} RemoteAudioTrack */

/** The level of a track, from 0 to 1. */
class Meter {
  /** @type {ReturnType<LiveKit["createAudioAnalyser"]> | null} */
  #analyser = null;

  /**
   * @param {LiveKit} livekit
   * @param {import("livekit-client").Track} track
   */
  constructor(livekit, track) {
    try {
      // The library's own range of decibels is full at a whisper.
      const options = { fftSize: 512, smoothingTimeConstant: 0.5, minDecibels: -85, maxDecibels: -25 };
      const audio = /** @type {LocalAudioTrack | RemoteAudioTrack} */ (track);
      this.#analyser = livekit.createAudioAnalyser(audio, options);
    } catch {
      // A browser without audio analysis shows no level.
    }
  }

  level() {
    return Math.min(1, 2 * (this.#analyser?.calculateVolume() ?? 0));
  }

  stop() {
    void this.#analyser?.cleanup();
  }
}

const LEVELS_EVERY_MS = 50;

/** The levels of both sides, told as long as one of them has a track. */
export class Levels {
  /** @type {{you: Meter | null, assistant: Meter | null}} */
  #meters = { you: null, assistant: null };
  #livekit;
  #timers;
  #tell;

  /**
   * @param {LiveKit} livekit
   * @param {Timers} timers
   * @param {(levels: {you: number, assistant: number}) => void} tell
   */
  constructor(livekit, timers, tell) {
    this.#livekit = livekit;
    this.#timers = timers;
    this.#tell = tell;
  }

  /**
   * @param {"you" | "assistant"} who
   * @param {import("livekit-client").Track | undefined} track undefined where there is none any more
   */
  measure(who, track) {
    this.#meters[who]?.stop();
    this.#meters[who] = track ? new Meter(this.#livekit, track) : null;
    if (track && !this.#timers.has("levels")) {
      this.#timers.every("levels", LEVELS_EVERY_MS, () => {
        const { you, assistant } = this.#meters;
        this.#tell({ you: you?.level() ?? 0, assistant: assistant?.level() ?? 0 });
      });
    }
  }

  stop() {
    this.measure("you", undefined);
    this.measure("assistant", undefined);
  }
}

/** Timers, at most one of a name at a time. */
export class Timers {
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */
  #running = new Map();

  /** @param {string} name */
  has(name) {
    return this.#running.has(name);
  }

  /**
   * Run `act` once, `ms` from now.
   * @param {string} name
   * @param {number} ms
   * @param {() => void} act
   */
  after(name, ms, act) {
    this.cancel(name);
    const timer = setTimeout(() => {
      this.#running.delete(name);
      act();
    }, ms);
    this.#running.set(name, timer);
  }

  /**
   * Run `act` every `ms`.
   * @param {string} name
   * @param {number} ms
   * @param {() => void} act
   */
  every(name, ms, act) {
    this.cancel(name);
    this.#running.set(name, setInterval(act, ms));
  }

  /** @param {string} name */
  cancel(name) {
    clearTimeout(this.#running.get(name));
    this.#running.delete(name);
  }

  cancelAll() {
    [...this.#running.keys()].forEach((name) => this.cancel(name));
  }
}
