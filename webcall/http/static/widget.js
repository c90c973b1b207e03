// A call button for any page:
//   <script type="module" src="https://…/widget.js" data-key="lvp_…" data-assistant="…"></script>
// This file and what it imports are small: the call and LiveKit's library are loaded when somebody opens the panel.

import { Panel } from "./widget-panel.js";

/**
 * `key` is a publishable key. `label` stands on the button; `inline` puts it where its tag stands, in place
 * of the page's corner; `theme` keeps it light or dark.
 * @typedef {{key: string, assistant: string, metadata?: Record<string, unknown>, textOnly?: boolean,
 *   label?: string, inline?: boolean, theme?: "light" | "dark"}} Settings
 */

const base = new URL(".", import.meta.url).href;
/** @type {Map<string, number>} */
const mounted = new Map();

/**
 * Put a call button into the page, as the tag does by itself.
 * @param {Settings} settings
 * @param {Element} [parent] what it becomes the last child of
 * @returns {{remove: () => void}}
 * @throws {TypeError} where key or assistant are missing
 */
export function mount(settings, parent = document.body) {
  const panel = make(settings);
  parent.append(panel.host);
  panel.resume();
  return { remove: () => panel.remove() };
}

/** @param {Settings} settings */
function make(settings) {
  const { key, assistant } = settings;
  if (!key || !assistant) {
    throw new TypeError(`webcall: the widget needs ${key ? "an assistant’s id" : "a publishable key"}.`);
  }
  // What is kept for a tab, under a name that is the same when the page is loaded again.
  const name = `webcall.widget ${base} ${assistant}`;
  const turn = mounted.get(name) ?? 0;
  mounted.set(name, turn + 1);
  return new Panel({ ...settings, base, name: `${name} ${turn}` });
}

/** @param {HTMLScriptElement} tag @returns {Settings} */
function settingsOf({ dataset }) {
  const { key = "", assistant = "", metadata, label, theme } = dataset;
  return {
    key,
    assistant,
    ...(metadata && { metadata: objectIn(metadata) }),
    textOnly: "textOnly" in dataset,
    ...(label && { label }),
    inline: "inline" in dataset,
    ...((theme === "light" || theme === "dark") && { theme }),
  };
}

/** @param {string} text @returns {Record<string, unknown>} */
function objectIn(text) {
  const value = JSON.parse(text);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError('webcall: data-metadata is no JSON object: write it as {"name": "value"}.');
  }
  return value;
}

function mountTags() {
  // A module runs once, however many tags name it.
  for (const tag of document.querySelectorAll("script")) {
    if (tag.src === import.meta.url && ("key" in tag.dataset || "assistant" in tag.dataset)) {
      try {
        const settings = settingsOf(tag);
        const panel = make(settings);
        settings.inline ? tag.after(panel.host) : document.body.append(panel.host);
        panel.resume();
      } catch (error) {
        // For whoever writes the page; the others get theirs.
        console.error(error);
      }
    }
  }
}

if (document.readyState === "loading") {
  document.addEventListener("DOMContentLoaded", mountTags);
} else {
  mountTags();
}
