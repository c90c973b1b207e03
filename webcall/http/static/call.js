// A web call from its first request to its end: token, room, microphone, typed chat, transcript, state and
// failures. No DOM: a page listens to the events below and shows them. LiveKit's library is passed in.

import { followToken, makeRoom, sayBye } from "./connection.js";
import { Emitter } from "./events.js";
import { CallFailure, failure, ofDisconnect, ofJoining } from "./failures.js";
import { Levels, Timers } from "./measure.js";
import { Microphone } from "./microphone.js";
import { Outbox } from "./outbox.js";
import { Presence, agentIn } from "./presence.js";
import { placeCall } from "./service.js";
import { Timings } from "./timings.js";
import { Transcript } from "./transcript.js";

/** @typedef {typeof import("livekit-client")} LiveKit */
/** @typedef {import("./failures.js").Failure} Failure */
/** @typedef {import("./transcript.js").Entry} Entry */
/** @typedef {import("./service.js").Place} Place */
/** @typedef {import("./events.js").Events} Events */
/** @typedef {import("./events.js").State} State */

const AUDIBLE = 0.02;

export class Call extends Emitter {
  /** @type {import("livekit-client").Room | null} */
  #room = null;
  /** @type {Place | null} */
  #place = null;
  #livekit;
  #stop = new AbortController();
  /** @type {Entry | null} the notice with which the call ends */
  #ending = null;
  #timers = new Timers();
  #timings = new Timings((timing) => {
    this.emit("timing", timing);
    this.#log(`${timing.name} after ${timing.ms} ms`);
  });
  #presence;
  #microphone;
  #levels;
  #outbox;

  /** @type {State} */
  state = "idle";
  transcript = new Transcript((entry) => this.#shown(entry));

  /**
   * @param {LiveKit} livekit
   * @param {{absentAfterMs?: number}} [options] how long the assistant may take before words tell of it
   */
  constructor(livekit, { absentAfterMs = 10_000 } = {}) {
    super();
    this.#livekit = livekit;
    const told = (/** @type {Failure} */ found) => this.#tell(found);
    this.#presence = new Presence(this.#timers, absentAfterMs, {
      state: (state) => this.#became("assistant", state),
      failure: told,
      here: (unasked) => {
        this.#timings.mark("assistant");
        void this.#flush(unasked);
      },
    });
    this.#microphone = new Microphone(livekit, {
      state: (state) => this.#became("microphone", state),
      failure: told,
      over: () => this.#over,
    });
    this.#levels = new Levels(livekit, this.#timers, (levels) => this.#level(levels));
    this.#outbox = new Outbox(this.transcript, {
      sent: () => this.#log("a message was sent"),
      failed: () => this.#tell(failure("message_failed")),
    });
  }

  get assistant() {
    return this.#presence.state;
  }

  get microphone() {
    return this.#microphone.state;
  }

  /**
   * Place a call and join it. Whatever fails comes as an event.
   * @param {Omit<import("./service.js").Service, "signal">} service
   * @param {import("./service.js").Wanted} wanted
   */
  async start(service, wanted) {
    this.#begin();
    this.#is("placing");
    try {
      const place = await placeCall({ ...service, signal: this.#stop.signal }, wanted);
      if (!this.#over) {
        await this.join(place, { fresh: true });
      }
    } catch (error) {
      if (!this.#over) {
        this.#fail(error instanceof CallFailure ? error.failure : failure("service_answer"));
      }
    }
  }

  /**
   * Join a call that is placed already. The microphone is asked for where the token may publish it.
   * @param {Place} place
   * @param {{muted?: boolean, fresh?: boolean, renew?: (signal: AbortSignal) => Promise<Place>}} [options]
   *   `muted`: the microphone waits until it is switched on; `fresh`: nobody else can be in this call yet;
   *   `renew`: asks for a fresh token where this one is too old
   */
  async join(place, { muted = false, fresh = false, renew } = {}) {
    this.#begin();
    this.#is("joining");
    this.#place = place;
    this.emit("place", place);
    const room = (this.#room = makeRoom(this.#livekit, this.#listener));
    try {
      await this.#connect(room, place, renew);
    } catch (error) {
      if (!this.#over) {
        this.#fail(error instanceof CallFailure ? error.failure : ofJoining(this.#livekit, error, fresh));
      }
      return;
    }
    if (this.#over) {
      return;
    }
    this.#timings.mark("joined");
    this.#connected(room);
    this.#listener.playback();
    if (this.voice && muted) {
      this.#microphone.is("muted");
    } else if (this.voice) {
      await this.mute(false);
    }
  }

  /**
   * @param {import("livekit-client").Room} room
   * @param {Place} place
   * @param {((signal: AbortSignal) => Promise<Place>) | undefined} renew
   */
  async #connect(room, place, renew) {
    try {
      await room.connect(place.server_url, place.token);
    } catch (error) {
      if (!renew || this.#over || ofJoining(this.#livekit, error, false).code !== "token_refused") {
        throw error;
      }
      const renewed = await renew(this.#stop.signal);
      if (renewed.room_name !== place.room_name) {
        // The room has closed, and another was made: nobody who comes back asked for a new call.
        throw new CallFailure(failure("call_over"));
      }
      if (!this.#over) {
        this.#listener.token(renewed.token);
        await room.connect(renewed.server_url, renewed.token);
      }
    }
  }

  /** True where this call has, or may have, a microphone; false for a typed chat. */
  get voice() {
    return this.#room?.localParticipant.permissions?.canPublish === true;
  }

  /**
   * Type to the assistant. What comes before the assistant is there, or while the connection is being
   * restored, waits and is sent then.
   * @param {string} text
   */
  async send(text) {
    const words = text.trim();
    if (!words || this.#over) {
      return;
    }
    this.#outbox.add(words);
    await this.#flush();
  }

  /**
   * @param {boolean} muted false asks for the microphone where there is none yet
   */
  async mute(muted) {
    if (this.#room && !this.#over) {
      await this.#microphone.mute(this.#room, muted);
    }
  }

  /** @returns {Promise<{id: string, label: string}[]>} the microphones of this machine */
  microphones() {
    return this.#microphone.all();
  }

  /** @param {string} id one of `microphones` */
  async chooseMicrophone(id) {
    if (this.#room && (await this.#microphone.choose(this.#room, id))) {
      this.#log("another microphone was chosen");
    }
  }

  /** Play what the browser held back: it wants a click or a key first. */
  async startAudio() {
    await this.#room?.startAudio();
  }

  /** End the call, at whatever point it is. */
  async hangUp() {
    if (this.#over || this.state === "idle") {
      return;
    }
    const room = this.#room;
    const heard = room && this.state === "joined" && agentIn(room);
    this.#stop.abort();
    this.#finish("ended", { by: "you", words: null, failure: null });
    if (heard) {
      await sayBye(this.#livekit, room);
    }
    await room?.disconnect(true);
  }

  get #over() {
    return this.state === "ended" || this.state === "failed";
  }

  #begin() {
    if (this.state === "idle") {
      this.#timings.began = performance.now();
    }
  }

  /** @type {import("./connection.js").Listener} */
  #listener = {
    present: () => this.#look(),
    assistantLeft: () => {
      if (this.#room) {
        this.#presence.left(this.#room, () => this.state === "joined" && !this.#ending);
      }
    },
    words: (reader, { own, identity }) =>
      void this.transcript.follow(reader, own ? "you" : "assistant", identity),
    notice: (reader) => {
      // The room may close before the words are here: that it ends is known from now on.
      const entry = this.transcript.notice(reader);
      this.#log(`notice: ${entry.code}${entry.ends ? ", the call ends" : ""}`);
      this.#ending = entry.ends ? entry : this.#ending;
    },
    sound: (track, playing) => {
      this.emit("audio", { track, playing });
      this.#levels.measure("assistant", playing ? track : undefined);
    },
    ownSound: (track) => this.#levels.measure("you", track),
    playback: () => this.emit("playback", { blocked: !this.#room?.canPlaybackAudio }),
    interrupted: () => {
      if (this.state === "joined") {
        this.#is("reconnecting");
      }
    },
    restored: () => {
      if (this.#room && this.state === "reconnecting") {
        this.#connected(this.#room);
      }
    },
    disconnected: (reason) => this.#disconnected(reason),
    token: (token) => {
      if (this.#place && !this.#over) {
        this.#place = { ...this.#place, token };
        this.emit("place", this.#place);
      }
    },
    log: (text) => this.#log(text),
  };

  /** @param {import("livekit-client").Room} room */
  #connected(room) {
    this.#is("joined");
    followToken(this.#livekit, room, this.#listener);
    this.#look();
    void this.#flush();
  }

  #look() {
    if (this.#room && !this.#over && this.state !== "joining") {
      this.#presence.look(this.#room);
    }
  }

  /** @param {boolean} [unasked] send though the assistant has told no state */
  async #flush(unasked = false) {
    const room = this.#room;
    if (room && this.state === "joined" && agentIn(room) && (unasked || this.#presence.reads)) {
      await this.#outbox.flush(room);
    }
  }

  /** @param {import("livekit-client").DisconnectReason | undefined} reason */
  #disconnected(reason) {
    // While joining, what went wrong comes from `connect`.
    if (this.#over || this.state === "joining") {
      return;
    }
    const found = this.#ending ? null : ofDisconnect(this.#livekit, reason);
    if (found) {
      this.#fail(found);
    } else {
      this.#finish("ended", { by: "assistant", words: this.#ending?.text || null, failure: null });
    }
  }

  /** @param {Events["levels"]} levels */
  #level(levels) {
    if (levels.assistant > AUDIBLE) {
      this.#timings.mark("audio");
    }
    this.emit("levels", { ...levels, you: this.microphone === "on" ? levels.you : 0 });
  }

  /** @param {Entry} entry */
  #shown(entry) {
    if (entry.from === "assistant" && entry.text) {
      this.#timings.said(entry, this.#outbox.sentAt);
    }
    this.emit("entry", entry);
  }

  /** @param {State} state */
  #is(state) {
    this.state = state;
    this.#log(`call: ${state}${state === "joined" ? ` ${this.#place?.room_name}` : ""}`);
    this.emit("state", state);
  }

  /**
   * @template {"assistant" | "microphone"} Name
   * @param {Name} name
   * @param {Events[Name]} state
   */
  #became(name, state) {
    this.#log(`${name}: ${state}`);
    this.emit(name, state);
  }

  /**
   * Write a line for the event log: never a token, a key, or what was said.
   * @param {string} text
   */
  #log(text) {
    this.emit("log", { ms: Math.round(performance.now() - this.#timings.began), text });
  }

  /** @param {Failure} found */
  #tell(found) {
    this.#log(`failure: ${found.code}`);
    this.emit("failure", found);
  }

  /** @param {Failure} found */
  #fail(found) {
    this.#tell(found);
    this.#finish("failed", { by: "failure", words: null, failure: found });
    void this.#room?.disconnect(true);
  }

  /**
   * @param {"ended" | "failed"} state
   * @param {Events["ended"]} how
   */
  #finish(state, how) {
    this.#timers.cancelAll();
    this.#levels.stop();
    this.#outbox.clear();
    this.transcript.close();
    this.#is(state);
    this.#presence.is("none");
    this.#microphone.is("off");
    this.emit("ended", how);
  }
}
