// The person's microphone: on, muted, another one. No DOM.

import { ofMicrophone } from "./failures.js";

/** @typedef {typeof import("livekit-client")} LiveKit */
/** @typedef {import("livekit-client").Room} Room */
/** @typedef {import("./events.js").MicrophoneState} MicrophoneState */
/** @typedef {import("./failures.js").Failure} Failure */

export class Microphone {
  /** @type {MicrophoneState} */
  state = "off";
  #livekit;
  #told;

  /**
   * @param {LiveKit} livekit
   * @param {{state: (state: MicrophoneState) => void, failure: (found: Failure) => void,
   *   over: () => boolean}} told `over`: whether the call is over, and nothing is told any more
   */
  constructor(livekit, told) {
    this.#livekit = livekit;
    this.#told = told;
  }

  /**
   * @param {Room} room
   * @param {boolean} muted false asks for the microphone where there is none yet
   */
  async mute(room, muted) {
    if (!muted && this.state !== "muted") {
      this.is("asking");
    }
    try {
      await room.localParticipant.setMicrophoneEnabled(!muted);
      if (!this.#told.over()) {
        this.is(muted ? "muted" : "on");
      }
    } catch (error) {
      if (!this.#told.over()) {
        this.is("failed");
        this.#told.failure(ofMicrophone(this.#livekit, error));
      }
    }
  }

  /** @returns {Promise<{id: string, label: string}[]>} the microphones of this machine */
  async all() {
    const found = await this.#livekit.Room.getLocalDevices("audioinput", false);
    return found.map(({ deviceId, label }) => ({ id: deviceId, label }));
  }

  /**
   * @param {Room} room
   * @param {string} id one of `all`
   * @returns {Promise<boolean>} whether it is in use now
   */
  async choose(room, id) {
    try {
      return await room.switchActiveDevice("audioinput", id);
    } catch (error) {
      this.#told.failure(ofMicrophone(this.#livekit, error));
      return false;
    }
  }

  /** @param {MicrophoneState} state */
  is(state) {
    this.state = state;
    this.#told.state(state);
  }
}
