// The playground: a call as a person sees it. What a call does is in call.js, what is shown in view.js.

import { Attempts } from "./attempts.js";
import { Call } from "./call.js";
import { CallFailure } from "./failures.js";
import { listAssistants } from "./service.js";
import { copyLog, el, forget, recall, remember, showEntry, showFailure, showHint, showNotice } from "./view.js";
import { showAssistant, showEnd, showLevels, showLog, showMicrophone, showPlace, showState } from "./view.js";
import { showTiming, startOver } from "./view.js";

/** @typedef {import("./service.js").Place} Place */

const livekit = /** @type {any} */ (globalThis).LivekitClient;
// What happens in a call is told by its events; the library would fill the console, with addresses and ids.
livekit.setLogLevel("silent");
const base = new URL(".", document.baseURI).href;

const attempts = new Attempts({ read: () => recall("attempt"), write: (text) => remember("attempt", text) });

/** @type {Call | null} */
let call = null;

/** @returns {Call} a call whose events are shown */
function newCall() {
  const made = new Call(livekit);
  startOver();
  made.on("state", (state) => {
    showState(state);
    if (state === "joined") {
      // On a phone the keyboard would cover the page.
      const target = matchMedia("(pointer: coarse)").matches ? el("side-title") : el("message");
      target.focus();
    }
  });
  made.on("assistant", showAssistant);
  made.on("entry", showEntry);
  made.on("levels", showLevels);
  made.on("timing", showTiming);
  made.on("log", showLog);
  made.on("failure", showFailure);
  made.on("playback", ({ blocked }) => (el("play-sound").hidden = !blocked || !made.voice));
  made.on("microphone", (state) => {
    showMicrophone(state, made.voice);
    if (state !== "off") {
      remember("muted", state === "muted" ? "true" : "");
    }
    void fillMicrophones();
  });
  made.on("audio", ({ track, playing }) => {
    track.detach().forEach((element) => element.remove());
    if (playing) {
      el("voices").append(track.attach());
    }
  });
  // Kept for this tab, so that loading the page again joins the same call.
  made.on("place", (place) => {
    remember("call", JSON.stringify(place));
    showPlace(place.room_name);
  });
  made.on("ended", (how) => {
    forget("call");
    forget("muted");
    attempts.ended(how.failure);
    showEnd(how);
    el("voices").replaceChildren();
  });
  call = made;
  return made;
}

/** @param {string | null} text @returns {Place | null} */
function placeIn(text) {
  try {
    const { room_name, token, server_url } = JSON.parse(text ?? "");
    const complete = [room_name, token, server_url].every((value) => typeof value === "string");
    return complete ? { room_name, token, server_url } : null;
  } catch {
    return null;
  }
}

/** @returns {string | null} what a link `#call=…` holds: base64url of JSON, without padding */
function linked() {
  const found = /^#call=([\w-]+)=*$/.exec(location.hash)?.[1];
  if (!location.hash.startsWith("#call=")) {
    return null;
  }
  // The token does not stay in the address bar, nor in the history.
  history.replaceState(null, "", location.pathname + location.search);
  try {
    const bytes = atob((found ?? "").replaceAll("-", "+").replaceAll("_", "/"));
    return new TextDecoder().decode(Uint8Array.from(bytes, (letter) => letter.charCodeAt(0)));
  } catch {
    return "";
  }
}

/** @returns {Record<string, unknown> | undefined} undefined where it cannot be used, which is said */
function metadata() {
  const text = el("metadata").value.trim();
  try {
    const value = text ? JSON.parse(text) : {};
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      showHint("metadata", "Fills the placeholders of the assistant’s prompt.", false);
      return value;
    }
    showHint("metadata", 'Not an object: write it as {"name": "value"}.', true);
  } catch (error) {
    showHint("metadata", `Not JSON: ${/** @type {Error} */ (error).message}`, true);
  }
  return undefined;
}

/** @param {Event} event */
async function start(event) {
  event.preventDefault();
  const apiKey = el("api-key").value.trim();
  const assistantId = el("assistant").value || el("assistant-id").value.trim();
  const pairs = metadata();
  showHint("api-key", apiKey ? "Kept in this tab only, until it is closed." : "Enter an API key.", !apiKey);
  if (assistantId) {
    el("assistant-id").removeAttribute("aria-invalid");
  } else {
    showHint("assistant", "Choose an assistant, or type its id.", true);
    el("assistant-id").setAttribute("aria-invalid", "true");
  }
  const wrong = !apiKey ? "api-key" : !assistantId ? "assistant-id" : !pairs ? "metadata" : null;
  if (wrong) {
    el(wrong).focus();
    return;
  }
  keepForm();
  const wanted = attempts.begin({ assistantId, metadata: pairs, textOnly: el("text-only").checked });
  await newCall().start({ base, apiKey }, wanted);
}

function keepForm() {
  remember("key", el("api-key").value.trim());
  remember("assistant", el("assistant").value || el("assistant-id").value.trim());
  remember("metadata", el("metadata").value);
  remember("text-only", el("text-only").checked ? "true" : "");
}

/** @type {AbortController | null} */
let listing = null;

async function fillAssistants() {
  const apiKey = el("api-key").value.trim();
  listing?.abort();
  if (!apiKey) {
    return;
  }
  remember("key", apiKey);
  const own = (listing = new AbortController());
  const wanted = el("assistant").value || el("assistant-id").value.trim();
  try {
    const found = await listAssistants({ base, apiKey, signal: own.signal });
    const options = found.map(({ assistant_id, assistant_name }) => {
      const label = assistant_name ? `${assistant_name} (${assistant_id})` : assistant_id;
      return new Option(label, assistant_id);
    });
    el("assistant").replaceChildren(new Option("Type an id below", ""), ...options);
    const [first] = found;
    const known = found.some((one) => one.assistant_id === wanted);
    if (known || (first && !wanted)) {
      el("assistant").value = known ? wanted : (first?.assistant_id ?? "");
    }
    const many = found.length === 1 ? "1 assistant" : `${found.length} assistants`;
    showHint("assistant", `This key may call ${many}.`, false);
  } catch (error) {
    if (own.signal.aborted) {
      return;
    }
    el("assistant").replaceChildren(new Option("Type an id below", ""));
    el("assistant-id").value = wanted;
    const code = error instanceof CallFailure ? error.failure.code : "";
    // A service that cannot list still takes calls.
    const typed = ["no_such_assistant", "service_answer"].includes(code);
    const words = error instanceof CallFailure ? error.message : "The list could not be read.";
    showHint("assistant", typed ? "This service gives no list: type the id." : words, !typed);
  }
  chosen();
}

function chosen() {
  el("assistant-id-part").hidden = el("assistant").value !== "";
}

async function fillMicrophones() {
  const place = el("microphone");
  if (!call || call.microphone !== "on") {
    place.disabled = call?.microphone !== "muted";
    return;
  }
  const found = await call.microphones();
  const kept = place.value;
  place.replaceChildren(...found.map(({ id, label }, at) => new Option(label || `Microphone ${at + 1}`, id)));
  if (found.some(({ id }) => id === kept)) {
    place.value = kept;
  }
  place.disabled = found.length === 0;
}

function listen() {
  el("setup").addEventListener("submit", (/** @type {Event} */ event) => void start(event));
  el("api-key").addEventListener("change", () => void fillAssistants());
  el("assistant").addEventListener("change", chosen);
  el("metadata").addEventListener("change", metadata);
  el("chat").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    void call?.send(el("message").value);
    el("message").value = "";
  });
  el("mute").addEventListener("click", () => void call?.mute(call.microphone === "on"));
  el("hangup").addEventListener("click", () => void call?.hangUp());
  el("microphone").addEventListener("change", () => void call?.chooseMicrophone(el("microphone").value));
  el("play-sound").addEventListener("click", () => void call?.startAudio());
  el("copy-log").addEventListener("click", () => void copyLog());
  navigator.mediaDevices?.addEventListener("devicechange", () => void fillMicrophones());
  window.addEventListener("hashchange", () => void joinLinked());
}

/** @returns {Promise<boolean>} whether the address held a link to a call */
async function joinLinked() {
  const link = linked();
  if (link === null) {
    return false;
  }
  const place = placeIn(link);
  if (place) {
    await call?.hangUp();
    attempts.ended();
    // Anybody can make such a link: who opened it is heard when they say so, by unmuting.
    void newCall().join(place, { muted: true });
  } else {
    showNotice("This link to a call is not complete. Copy the whole of it, or start a call here.", "bad_link");
  }
  return true;
}

async function open() {
  el("api-key").value = recall("key");
  el("assistant-id").value = recall("assistant");
  el("metadata").value = recall("metadata");
  el("text-only").checked = recall("text-only") === "true";
  listen();
  const kept = placeIn(recall("call"));
  if (!(await joinLinked()) && kept) {
    const renew = attempts.renewal({ base, apiKey: recall("key") });
    void newCall().join(kept, { muted: recall("muted") === "true", renew });
  }
  await fillAssistants();
}

void open();
