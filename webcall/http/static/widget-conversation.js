// What was said and typed, as the widget shows it.

import { make, write } from "./widget-dom.js";

const WHO = { you: "You", assistant: "Assistant", service: "Service" };

export class Conversation {
  element = make("div", { class: "transcript", role: "log", "aria-label": "Conversation", tabindex: "0", hidden: true });
  /** @type {Map<number, {entry: HTMLElement, who: HTMLElement, words: HTMLElement}>} */
  #entries = new Map();

  get empty() {
    return this.#entries.size === 0;
  }

  clear() {
    this.#entries.clear();
    this.element.replaceChildren();
  }

  /** @param {import("./transcript.js").Entry} told an entry that is new, or has changed */
  show(told) {
    const list = this.element;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
    let shown = this.#entries.get(told.id);
    if (!shown) {
      const [who, words] = [make("p", { class: "who" }), make("p", { class: "words" })];
      shown = { entry: make("div", { class: "entry" }, who, words), who, words };
      this.#entries.set(told.id, shown);
      list.append(shown.entry);
      list.hidden = false;
    }
    Object.assign(shown.entry.dataset, { from: told.from, failed: String(told.failed ?? false) });
    // A screen reader reads an utterance when it is whole, not word by word.
    shown.entry.setAttribute("aria-busy", String(!told.final));
    const more = told.failed ? " · not sent" : told.waiting ? " · sent when the assistant is here" : "";
    write(shown.who, WHO[told.from] + more);
    write(shown.words, told.text);
    if (atEnd) {
      list.scrollTop = list.scrollHeight;
    }
  }
}
