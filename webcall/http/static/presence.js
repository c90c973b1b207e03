// Whether the assistant is in the room, and what it does there. No DOM.

import { failure } from "./failures.js";

/** @typedef {import("livekit-client").Room} Room */
/** @typedef {import("./events.js").AssistantState} AssistantState */
/** @typedef {import("./failures.js").Failure} Failure */
/** @typedef {import("./measure.js").Timers} Timers */

// A departure is the end of the call or the loss of the assistant: which one shows in a moment.
const DEPARTURE_SETTLES_MS = 1000;
// An agent that tells no state gets what was typed after this.
const SILENT_AGENT_MS = 3000;

export class Presence {
  /** @type {AssistantState} */
  state = "none";
  #timers;
  #absentAfterMs;
  #told;

  /**
   * @param {Timers} timers
   * @param {number} absentAfterMs how long the assistant may take before words tell of it
   * @param {{state: (state: AssistantState) => void, failure: (found: Failure) => void,
   *   here: (unasked: boolean) => void}} told `here`: the assistant is in the room; `unasked`: it tells no
   *   state, and may be written to without
   */
  constructor(timers, absentAfterMs, told) {
    this.#timers = timers;
    this.#absentAfterMs = absentAfterMs;
    this.#told = told;
  }

  /** Whether the assistant reads what is typed. */
  get reads() {
    return !["none", "expected", "absent", "lost", "joined", "initializing"].includes(this.state);
  }

  /**
   * Look whether the assistant is there, and wait for it where it is not.
   * @param {Room} room
   */
  look(room) {
    const agent = agentIn(room);
    if (!agent) {
      this.#expect();
      return;
    }
    this.#timers.cancel("absent");
    this.#timers.cancel("departure");
    const told = agent.attributes["lk.agent.state"];
    this.is(/** @type {AssistantState} */ (told || "joined"));
    if (!told && !this.#timers.has("silent")) {
      this.#timers.after("silent", SILENT_AGENT_MS, () => this.#told.here(true));
    }
    this.#told.here(false);
  }

  #expect() {
    if (this.state !== "absent" && this.state !== "lost") {
      this.is("expected");
    }
    if (this.state === "expected" && !this.#timers.has("absent")) {
      this.#timers.after("absent", this.#absentAfterMs, () => {
        this.is("absent");
        this.#told.failure(failure("assistant_absent"));
      });
    }
  }

  /**
   * Somebody has left: if it was the assistant and the call goes on, it is lost.
   * @param {Room} room
   * @param {() => boolean} goesOn asked when a moment has passed
   */
  left(room, goesOn) {
    this.#timers.after("departure", DEPARTURE_SETTLES_MS, () => {
      if (goesOn() && !agentIn(room)) {
        this.is("lost");
        this.#told.failure(failure("assistant_lost"));
      }
    });
  }

  /** @param {AssistantState} state */
  is(state) {
    if (this.state !== state) {
      this.state = state;
      this.#told.state(state);
    }
  }
}

/** @param {Room} room */
export function agentIn(room) {
  return [...room.remoteParticipants.values()].find((participant) => participant.isAgent);
}
