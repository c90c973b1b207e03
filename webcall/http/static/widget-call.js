// The widget's calls: loaded, with LiveKit's library, when the panel is opened.

import { Attempts } from "./attempts.js";
import { Call } from "./call.js";
import { words } from "./widget-words.js";

/** @typedef {import("./widget-panel.js").Panel} Panel */
/** @typedef {import("./attempts.js").Keep} Keep */

// Made a module by the service; not to be followed by what checks types.
const LIVEKIT = "./vendor/livekit-client.umd.js";

/** @type {Record<string, string>} */
const ASSISTANT = {
  none: "",
  expected: "The assistant is on its way.",
  absent: "The assistant has not come yet.",
  lost: "The assistant dropped out.",
  thinking: "The assistant is thinking.",
  speaking: "The assistant is speaking.",
};

/** @type {Record<import("./events.js").State, string>} */
const STATES = {
  idle: "",
  placing: "Placing the call …",
  joining: "Joining …",
  joined: "In the call.",
  reconnecting: "Connection lost, reconnecting …",
  ended: "The call has ended.",
  failed: "The call could not go on.",
};

/**
 * @param {Panel} panel
 * @param {(name: string) => Keep} keeper
 * @returns {Promise<WidgetCall>}
 */
export async function load(panel, keeper) {
  const { default: livekit } = await import(LIVEKIT);
  // What happens is told by events; the library would fill the page's console, with addresses and ids.
  livekit.setLogLevel("silent");
  return new WidgetCall(livekit, panel, keeper);
}

export class WidgetCall {
  #livekit;
  #panel;
  #attempts;
  /** @type {Keep} */
  #place;
  /** @type {Call | null} */
  #call = null;

  /**
   * @param {import("./call.js").LiveKit} livekit
   * @param {Panel} panel
   * @param {(name: string) => Keep} keeper
   */
  constructor(livekit, panel, keeper) {
    this.#livekit = livekit;
    this.#panel = panel;
    this.#attempts = new Attempts(keeper("attempt"));
    this.#place = keeper("place");
  }

  get #service() {
    const { base, key } = this.#panel.settings;
    return { base, apiKey: key };
  }

  /** @param {boolean} textOnly */
  async start(textOnly) {
    const { assistant, metadata = {} } = this.#panel.settings;
    const wanted = this.#attempts.begin({ assistantId: assistant, metadata, textOnly });
    await this.#made({ textOnly }).start(this.#service, wanted);
  }

  /** Join the call that this tab was in before the page was loaded again. */
  async resume() {
    try {
      const { place, muted, textOnly } = JSON.parse(this.#place.read());
      this.#panel.textOnly = textOnly === true;
      await this.#made({ muted, textOnly }).join(place, { muted, renew: this.#attempts.renewal(this.#service) });
    } catch {
      // Not what was kept here: nothing to come back to.
      this.#place.write("");
      this.#panel.state("idle");
    }
  }

  async toggleMute() {
    await this.#call?.mute(this.#call.microphone === "on");
  }

  /** @param {string} text */
  async send(text) {
    await this.#call?.send(text);
  }

  async startAudio() {
    await this.#call?.startAudio();
  }

  async hangUp() {
    await this.#call?.hangUp();
  }

  /** @param {{muted?: boolean, textOnly?: boolean}} as what it is, or was before the page was loaded again */
  #made({ muted = false, textOnly = false }) {
    const panel = this.#panel;
    const call = (this.#call = new Call(this.#livekit));
    /** @type {{place?: import("./service.js").Place, muted: boolean, textOnly: boolean}} */
    const kept = { muted, textOnly };
    const keep = () => kept.place && this.#place.write(JSON.stringify(kept));
    call.on("state", (state) => panel.state(state, STATES[state]));
    call.on("assistant", (state) => {
      if (call.state === "joined") {
        panel.status(ASSISTANT[state] ?? STATES.joined);
      }
      if (!["none", "expected", "absent", "lost"].includes(state)) {
        panel.withdraw("assistant_");
      }
    });
    call.on("microphone", (state) => {
      panel.microphone(state, call.voice);
      kept.muted = state === "muted";
      if (state === "on") {
        panel.withdraw("microphone_");
      }
      if (state !== "off") {
        keep();
      }
    });
    call.on("entry", (entry) => panel.conversation.show(entry));
    call.on("audio", (heard) => panel.audio(heard));
    call.on("playback", ({ blocked }) => panel.playback(blocked && call.voice));
    call.on("failure", (found) => panel.notice(words(found), found.code));
    call.on("place", (place) => {
      kept.place = place;
      keep();
    });
    call.on("ended", ({ by, words: told, failure }) => {
      this.#place.write("");
      this.#attempts.ended(failure);
      if (by !== "failure") {
        panel.notice(by === "you" ? "You hung up." : told ?? "The call was ended by the other side.", "ended", "calm");
      }
    });
    return call;
  }
}
