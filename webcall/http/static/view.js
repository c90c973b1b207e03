// What the playground shows, and what it keeps for its tab. Nothing in here knows how a call works.

/** @typedef {import("./events.js").Events} Events */
/** @typedef {import("./failures.js").Failure} Failure */

/** @type {Record<import("./events.js").State, string>} */
const STATES = {
  idle: "Not in a call",
  placing: "Placing the call …",
  joining: "Joining …",
  joined: "In the call",
  reconnecting: "Connection lost, reconnecting …",
  ended: "The call has ended",
  failed: "The call could not go on",
};

/** @type {Record<string, string>} */
const ASSISTANT = {
  none: "not in the call",
  expected: "on its way",
  absent: "has not come yet",
  lost: "dropped out",
  joined: "is here",
  initializing: "is getting ready",
  idle: "is waiting",
  listening: "is listening",
  thinking: "is thinking",
  speaking: "is speaking",
};

const WHO = { you: "You", assistant: "Assistant", service: "Service" };

/**
 * An element of the page. Typed loosely: the page is one file beside this one.
 * @param {string} id
 * @returns {any}
 */
export function el(id) {
  return document.getElementById(id);
}

/** @param {string} name @param {string} value */
export function remember(name, value) {
  sessionStorage.setItem(`webcall.${name}`, value);
}

/** @param {string} name @returns {string} */
export function recall(name) {
  return sessionStorage.getItem(`webcall.${name}`) ?? "";
}

/** @param {string} name */
export function forget(name) {
  sessionStorage.removeItem(`webcall.${name}`);
}

/** Clear what the last call left. */
export function startOver() {
  entries.clear();
  el("transcript").replaceChildren(paragraph("empty", "What is said and typed appears here."));
  el("log").textContent = "";
  el("notice").hidden = true;
  el("play-sound").hidden = true;
  el("room").textContent = "–";
  for (const place of el("timings").querySelectorAll("[data-timing]")) {
    place.textContent = "–";
    delete place.dataset.ms;
  }
  showAssistant("none");
  showLevels({ you: 0, assistant: 0 });
}

/** @param {Events["state"]} state */
export function showState(state) {
  const going = !["idle", "ended", "failed"].includes(state);
  // Only what changed is written: a status is read aloud.
  if (el("state").dataset.state !== state) {
    el("state").dataset.state = state;
    el("state").textContent = STATES[state];
  }
  const held = el("call").contains(document.activeElement) || el("setup").contains(document.activeElement);
  el("setup").hidden = going;
  el("call").hidden = !going;
  el("facts").hidden = false;
  el("side-title").textContent = going ? "Your call" : "Start another call";
  el("message").disabled = el("send").disabled = !["joined", "reconnecting"].includes(state);
  el("microphone-part").hidden = el("meters").hidden = el("mute").hidden = true;
  if (held && (state === "placing" || !going)) {
    el("side-title").focus();
  }
}

/** @param {Events["assistant"]} state */
export function showAssistant(state) {
  el("assistant-state").dataset.state = state;
  el("assistant-state").textContent = ASSISTANT[state] ?? state;
  if (!["none", "expected", "absent", "lost"].includes(state)) {
    withdraw("assistant_");
  }
}

/** @param {Events["microphone"]} state @param {boolean} voice */
export function showMicrophone(state, voice) {
  const shown = voice && state !== "off";
  el("microphone-part").hidden = el("meters").hidden = el("mute").hidden = !shown;
  const muted = state !== "on";
  el("mute").textContent = state === "asking" ? "Waiting for the microphone" : muted ? "Unmute" : "Mute";
  el("mute").setAttribute("aria-pressed", String(state === "muted"));
  el("mute").disabled = state === "asking";
  if (state === "on") {
    withdraw("microphone_");
  }
}

/** Take back words that are no longer true. @param {string} kind how their code begins */
function withdraw(kind) {
  if (el("notice").dataset.code?.startsWith(kind)) {
    el("notice").hidden = true;
  }
}

/** @param {Events["levels"]} levels */
export function showLevels(levels) {
  for (const who of /** @type {const} */ (["you", "assistant"])) {
    const meter = el(`level-${who}`);
    meter.dataset.level = String(Math.round(100 * levels[who]));
    meter.firstElementChild.style.transform = `scaleX(${levels[who].toFixed(3)})`;
  }
}

/** @type {Map<number, HTMLElement>} */
const entries = new Map();

/** @param {import("./transcript.js").Entry} entry */
export function showEntry(entry) {
  const list = el("transcript");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  let shown = entries.get(entry.id);
  if (!shown) {
    shown = document.createElement("div");
    shown.className = "entry";
    shown.append(paragraph("who", ""), paragraph("words", ""));
    entries.set(entry.id, shown);
    list.querySelector(".empty")?.remove();
    list.append(shown);
  }
  shown.dataset.from = entry.from;
  shown.dataset.typed = String(entry.typed);
  shown.dataset.final = String(entry.final);
  shown.dataset.failed = String(entry.failed ?? false);
  shown.dataset.code = entry.code ?? "";
  // A screen reader reads an utterance when it is whole, not word by word.
  shown.setAttribute("aria-busy", String(!entry.final));
  const more = entry.failed ? " · not sent" : entry.waiting ? " · sent when the assistant is here" : "";
  const how = entry.from === "you" ? (entry.typed ? ", typed" : ", spoken") : "";
  write(shown.querySelector(".who"), WHO[entry.from] + how + more);
  write(shown.querySelector(".words"), entry.text);
  if (atEnd) {
    list.scrollTop = list.scrollHeight;
  }
}

/** @param {string} name @param {string} text */
function paragraph(name, text) {
  const made = document.createElement("p");
  made.className = name;
  made.textContent = text;
  return made;
}

/** @param {Element | null} place @param {string} text */
function write(place, text) {
  if (place && place.textContent !== text) {
    place.textContent = text;
  }
}

/** @param {Events["timing"]} timing */
export function showTiming({ name, ms }) {
  const place = el("timings").querySelector(`[data-timing=${name}]`);
  place.dataset.ms = String(ms);
  place.textContent = ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(2)} s`;
}

/** @param {string} room */
export function showPlace(room) {
  el("room").textContent = room;
}

/** @param {Events["log"]} line */
export function showLog({ ms, text }) {
  const lines = el("log").textContent;
  el("log").textContent = `${lines}${String(ms).padStart(7)} ms  ${text}\n`;
}

/** @param {Failure} failure */
export function showFailure({ message, fields, code }) {
  showNotice(message, code);
  const list = document.createElement("ul");
  for (const [name, told] of Object.entries(fields ?? {})) {
    const item = document.createElement("li");
    item.textContent = `${name}: ${told.join(" ")}`;
    list.append(item);
  }
  if (list.childElementCount) {
    el("notice").append(list);
  }
}

/** @param {string} words @param {string} code @param {"bad" | "calm"} tone */
export function showNotice(words, code, tone = "bad") {
  const place = el("notice");
  place.dataset.code = code;
  place.dataset.tone = tone;
  place.hidden = false;
  place.replaceChildren(paragraph("", words));
}

/** @param {Events["ended"]} how */
export function showEnd({ by, words }) {
  el("play-sound").hidden = true;
  if (by === "you") {
    showNotice("You hung up.", "hung_up", "calm");
  } else if (by === "assistant") {
    showNotice(words ?? "The call was ended by the other side.", "ended", "calm");
  }
}

/** @param {string} field @param {string} words @param {boolean} wrong */
export function showHint(field, words, wrong) {
  const hint = el(`${field}-hint`);
  write(hint, words);
  hint.classList.toggle("wrong", wrong);
  el(field).setAttribute("aria-invalid", String(wrong));
}

/** Copy the event log; where the browser gives no clipboard, select it. */
export async function copyLog() {
  try {
    await navigator.clipboard.writeText(el("log").textContent);
    el("copied").textContent = "Copied.";
  } catch {
    getSelection()?.selectAllChildren(el("log"));
    el("copied").textContent = "Selected: copy it with Ctrl+C or ⌘C.";
  }
}
