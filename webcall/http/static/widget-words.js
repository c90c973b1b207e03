// Words for who visits a page: they know no key, and fix no settings. No DOM.

/** @typedef {import("./failures.js").Failure} Failure */
/** @typedef {import("./failures.js").FailureCode} FailureCode */

const NOT_SET_UP = "This page’s call button is not set up rightly";

/** @type {Partial<Record<FailureCode, string>>} */
const WORDS = {
  service_unreachable: "Calls cannot be reached just now. Check that you are online, then try again.",
  service_answer: "Calls do not work just now. Try again later.",
  no_typed_chat: "This assistant speaks only. Start the call, and talk to it.",
  key_refused: `${NOT_SET_UP}: its key is not valid.`,
  page_refused: "Calls may not be started from this page: its address is not one of those that its key is for.",
  no_such_assistant: `${NOT_SET_UP}: there is no such assistant for its key.`,
  request_too_large: `${NOT_SET_UP}: it sends too much.`,
  request_invalid: `${NOT_SET_UP}: the service does not take what it sends.`,
  call_over: "This call is over. Start a new one.",
  token_refused: "This call is over. Start a new one.",
};

/**
 * @param {Failure} found
 * @returns {string}
 */
export function words({ code, message, fields }) {
  if (code === "too_many_calls") {
    return message.replace(/^[^.]*\./, "Too many calls just now.");
  }
  if (code === "service_failed") {
    return message.replace(/^[^.]*\. [^.]*\./, "The call could not be set up. Try again later.");
  }
  // Which field, and why, is for whoever writes the page.
  const told = Object.entries(fields ?? {}).map(([name, faults]) => `${name}: ${faults.join(" ")}`);
  return [WORDS[code] ?? message, ...told].join(" ");
}
