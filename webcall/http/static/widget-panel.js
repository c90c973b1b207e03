// What a person sees of the widget, before a call and in it. What a call does comes with widget-call.js.

import { Conversation } from "./widget-conversation.js";
import { icon, keeper, make, write } from "./widget-dom.js";
import { STYLE } from "./widget-style.js";

/** @typedef {import("./widget.js").Settings & {base: string, name: string}} Own */
/** @typedef {import("./events.js").Events} Events */
/** @typedef {import("./widget-call.js").WidgetCall} WidgetCall */

// Names of elements refer to each other inside of one shadow root only.
const [TITLE, PANEL, MESSAGE] = ["title", "panel", "message"];

let floating = 0;

export class Panel {
  settings;
  host = document.createElement("webcall-widget");
  #root = this.host.attachShadow({ mode: "open" });
  #dark = matchMedia("(prefers-color-scheme: dark)");
  /** @type {Promise<WidgetCall> | null} */
  #loading = null;
  /** @type {WidgetCall | null} */
  #call = null;
  /** What begins when the call's code is there. @type {((call: WidgetCall) => Promise<void>) | null} */
  #next = null;
  /** Whether the call that was begun last is a typed chat. */
  textOnly = false;
  conversation = new Conversation();

  #title = make("h2", { id: TITLE, tabindex: "-1" });
  #close = make("button", { type: "button", class: "close", "aria-label": "Close" }, icon("close"));
  #state = make("p", { class: "state", role: "status" });
  #notice = make("div", { class: "notice", role: "alert", hidden: true });
  #sound = make("button", { type: "button", class: "primary", hidden: true }, "Play the assistant’s voice");
  #message = make("input", { id: MESSAGE, type: "text", placeholder: "Type a message", enterkeyhint: "send", autocomplete: "off" });
  #send = make("button", { type: "submit", class: "primary" }, "Send");
  #chat = make("form", { hidden: true }, make("label", { class: "unseen", for: MESSAGE }, "Message to the assistant"), this.#message, this.#send);
  #start = make("button", { type: "button", class: "primary" });
  #type = make("button", { type: "button" }, "Type only");
  #mute = make("button", { type: "button", hidden: true, "aria-pressed": "false" }, "Mute");
  #hangUp = make("button", { type: "button", class: "danger", hidden: true }, "Hang up");
  #label = make("span");
  #live = make("span", { hidden: true }, "· in a call");
  #launcher = make("button", { type: "button", class: "launcher", "aria-expanded": "false", "aria-controls": PANEL, "aria-haspopup": "dialog" }, icon("call"), this.#label, this.#live);
  #panel;
  #all;
  #voices = make("div", { hidden: true });

  /** @param {Own} settings */
  constructor(settings) {
    this.settings = settings;
    const { label = settings.textOnly ? "Chat with us" : "Talk to us", inline = false } = settings;
    write(this.#title, label);
    write(this.#label, label);
    this.#start.textContent = this.#first;
    this.#type.hidden = settings.textOnly ?? false;
    const buttons = make("div", { class: "buttons" }, this.#start, this.#type, this.#mute, this.#hangUp);
    const header = make("header", {}, this.#title, this.#close);
    this.#panel = make("section", { class: "panel", id: PANEL, role: "dialog", "aria-labelledby": TITLE, hidden: true }, header, this.#state, this.#notice, this.#sound, this.conversation.element, this.#chat, buttons);
    this.#all = make("div", { class: "all" }, this.#panel, this.#launcher, this.#voices);
    const style = new CSSStyleSheet();
    style.replaceSync(STYLE);
    this.#root.adoptedStyleSheets = [style];
    this.#root.append(this.#all);
    this.host.toggleAttribute("inline", inline);
    if (!inline) {
      // Several in one corner stand one above the other.
      this.host.style.setProperty("--webcall-turn", String(floating));
      floating += 1;
    }
    this.#follow();
    this.#listen();
  }

  /** Take it out of the page; a call is hung up. */
  remove() {
    this.#dark.removeEventListener("change", this.#follow);
    this.#end();
    this.host.remove();
  }

  /** Join again, if the page was loaded again in a call. @returns {boolean} whether it was */
  resume() {
    const kept = this.#kept("place").read() !== "";
    if (kept) {
      this.#show(true);
      this.state("joining");
      void this.#with((call) => call.resume());
    }
    return kept;
  }

  get #first() {
    return this.settings.textOnly ? "Start the chat" : "Start the call";
  }

  /** @param {string} what */
  #kept(what) {
    return keeper(`${this.settings.name} ${what}`);
  }

  #follow = () => {
    const { theme } = this.settings;
    this.#all.classList.toggle("dark", theme ? theme === "dark" : this.#dark.matches);
  };

  #listen() {
    this.#dark.addEventListener("change", this.#follow);
    this.#launcher.addEventListener("click", () => {
      this.#show(this.#panel.hidden);
      if (!this.#panel.hidden) {
        this.#focus();
        // While the person looks at the buttons: the call begins by so much sooner. What fails is told by them.
        this.#load().catch(() => {});
      }
    });
    this.#close.addEventListener("click", () => this.#shut());
    this.#start.addEventListener("click", () => {
      // What is kept is a call whose code could not be loaded after the page was.
      if (!this.resume()) {
        // Trying again is the same kind of call.
        this.#begin(this.host.dataset.state === "failed" ? this.textOnly : (this.settings.textOnly ?? false));
      }
    });
    this.#type.addEventListener("click", () => this.#begin(true));
    this.#mute.addEventListener("click", () => void this.#call?.toggleMute());
    this.#hangUp.addEventListener("click", () => this.#end());
    this.#sound.addEventListener("click", () => void this.#call?.startAudio());
    this.#chat.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#call?.send(this.#message.value);
      this.#message.value = "";
    });
    this.#panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.isComposing) {
        this.#shut();
      }
    });
    // To the page, what is typed in here would be typed into no field: its shortcuts would act.
    for (const name of ["keydown", "keypress", "keyup"]) {
      this.#root.addEventListener(name, (event) => event.stopPropagation());
    }
  }

  /** @param {boolean} open */
  #show(open) {
    this.#panel.hidden = !open;
    this.#launcher.setAttribute("aria-expanded", String(open));
  }

  #shut() {
    this.#show(false);
    this.#launcher.focus();
  }

  /** Give the focus to what a person uses next. */
  #focus() {
    // On a phone the keyboard would cover the page.
    const typing = !this.#chat.hidden && !this.#message.disabled && !matchMedia("(pointer: coarse)").matches;
    (typing ? this.#message : this.#start.hidden ? this.#title : this.#start).focus();
  }

  /** @param {boolean} textOnly */
  #begin(textOnly) {
    this.textOnly = textOnly;
    this.conversation.clear();
    this.state("placing");
    void this.#with((call) => call.start(textOnly));
  }

  /** Load what a call needs, once; where that failed, again. @returns {Promise<WidgetCall>} */
  async #load() {
    try {
      this.#loading ??= import("./widget-call.js").then(({ load }) => load(this, (what) => this.#kept(what)));
      return await this.#loading;
    } catch (error) {
      this.#loading = null;
      throw error;
    }
  }

  /** @param {(call: WidgetCall) => Promise<void>} act */
  async #with(act) {
    this.#next = act;
    try {
      this.#call = await this.#load();
    } catch {
      if (this.#next === act) {
        this.state("failed");
        this.notice("The call could not be loaded. Check your network, and try again.", "not_loaded");
      }
      return;
    }
    if (this.#next === act) {
      await act(this.#call);
    }
  }

  /** Hang up; what waits for the call's code never begins. */
  #end() {
    this.#next = null;
    if (this.#call) {
      void this.#call.hangUp();
    } else {
      this.#kept("place").write("");
      this.state("idle");
    }
  }

  /** @param {Events["state"]} state @param {string} [words] */
  state(state, words = "") {
    const going = !["idle", "ended", "failed"].includes(state);
    const held = this.#root.activeElement;
    this.host.dataset.state = state;
    write(this.#state, words || (going ? "Getting ready …" : ""));
    this.conversation.element.hidden = !going && this.conversation.empty;
    this.#chat.hidden = !going;
    this.#message.disabled = this.#send.disabled = !["joined", "reconnecting"].includes(state);
    this.#start.hidden = going;
    this.#type.hidden = going || (this.settings.textOnly ?? false);
    this.#hangUp.hidden = this.#live.hidden = !going;
    if (state === "placing" || state === "joining") {
      this.#notice.hidden = true;
    }
    if (!going) {
      this.#sound.hidden = this.#mute.hidden = true;
      this.#voices.replaceChildren();
    }
    if (state === "idle") {
      this.#start.textContent = this.#first;
    } else if (state === "ended") {
      this.#start.textContent = "Start again";
    } else if (state === "failed") {
      // Who only speaks would refuse to type again: then the call that the words speak of is meant.
      const speaks = this.#notice.dataset.code === "no_typed_chat" && !this.settings.textOnly;
      this.textOnly &&= !speaks;
      this.#start.textContent = speaks ? "Start the call" : "Try again";
    }
    // The focus is never lost with what disappears, and never taken from the page.
    if (held && held !== this.#launcher && ((state === "joined" && held === this.#title) || !shown(held))) {
      this.#focus();
    }
  }

  /** @param {string} words */
  status(words) {
    write(this.#state, words);
  }

  /** @param {Events["microphone"]} state @param {boolean} voice */
  microphone(state, voice) {
    const held = this.#root.activeElement === this.#mute;
    this.#mute.hidden = !voice || state === "off";
    this.#mute.textContent = state === "asking" ? "Waiting for the microphone" : state === "on" ? "Mute" : "Unmute";
    this.#mute.setAttribute("aria-pressed", String(state === "muted"));
    this.#mute.disabled = state === "asking";
    if (held && (this.#mute.hidden || this.#mute.disabled)) {
      this.#title.focus();
    }
  }

  /** @param {string} words @param {string} code @param {"bad" | "calm"} [tone] */
  notice(words, code, tone = "bad") {
    Object.assign(this.#notice.dataset, { code, tone });
    this.#notice.hidden = false;
    this.#notice.replaceChildren(make("p", {}, words));
    this.#show(true);
  }

  /** Take back words that are no longer true. @param {string} kind how their code begins */
  withdraw(kind) {
    if (this.#notice.dataset.code?.startsWith(kind)) {
      this.#notice.hidden = true;
    }
  }

  /** @param {boolean} blocked whether the browser wants a click before it plays */
  playback(blocked) {
    this.#sound.hidden = !blocked;
  }

  /** @param {Events["audio"]} heard */
  audio({ track, playing }) {
    track.detach().forEach((element) => element.remove());
    if (playing) {
      this.#voices.append(track.attach());
    }
  }
}

/** @param {Element} element */
function shown(element) {
  return element.getClientRects().length > 0 && !(/** @type {any} */ (element).disabled);
}
