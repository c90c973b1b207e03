// What can go wrong in a call, and the words for it. No DOM, and nothing of what a server said in its own
// words: LiveKit's refusal of a token quotes the token.

/**
 * One thing that went wrong. `ends` tells whether the call is over with it, `fields` what the service
 * found wrong in the request, by field.
 * @typedef {{code: FailureCode, message: string, ends: boolean, fields?: Record<string, string[]>}} Failure
 */

/** @typedef {keyof typeof WORDS} FailureCode */

export const WORDS = {
  // From the service, before there is a call.
  service_unreachable: "The service cannot be reached. Check that it is running and that you are online, then start again.",
  service_slow: "The service did not answer in time. Start again in a moment.",
  service_answer: "The service gave an answer that this page cannot read. Is something else at this address?",
  no_typed_chat: "This assistant speaks in real time and has no typed chat. Switch “text only” off.",
  key_refused: "The API key is missing or not valid. Check it and start again.",
  page_refused: "This API key may not be used from this page’s address.",
  no_such_assistant: "There is no such assistant for this API key. Check its id, and that it is active.",
  request_too_large: "The metadata is too large. The service takes at most 16 KiB.",
  request_invalid: "The service cannot use what was entered:",
  too_many_calls: "Too many calls with this API key, or too many failed attempts.",
  service_failed: "The service could not set up the call. Start again later.",
  service_busy: "The service is busy.",
  // From LiveKit, on the way into the room.
  token_refused: "This call cannot be joined any more: its token has expired or is not valid. Start a new call.",
  call_over: "This call is over: its room has closed. Start a new call.",
  livekit_unreachable: "The server that carries the call cannot be reached. Check your network, or start again later.",
  room_taken: "Somebody else is in this call already. A call takes one person only.",
  handshake_refused: "The server that carries the call answers, but takes no connection. Does something on the way hold WebSockets back?",
  join_slow: "Joining took too long. Check your network, and that no firewall holds the call back.",
  join_failed: "The call could not be joined. Start again.",
  // In the call.
  assistant_absent: "The assistant has not come yet. The call goes on waiting; hang up if it takes too long.",
  assistant_lost: "The assistant has dropped out of the call. Hang up and start again.",
  joined_elsewhere: "This call was opened in another tab or window, and goes on there.",
  removed: "You were removed from the call.",
  server_stopped: "The server that carries the call is going down. Start again in a moment.",
  connection_lost: "The connection to the call was lost and could not be restored. Start again.",
  message_failed: "A message could not be sent. Send it again.",
  // The microphone: typing goes on in each case.
  microphone_refused: "The browser was not allowed to use the microphone. Allow it for this page and unmute; you can type meanwhile.",
  microphone_missing: "No microphone was found. Connect one and unmute; you can type meanwhile.",
  microphone_busy: "The microphone is in use by another program. Close it there and unmute; you can type meanwhile.",
  microphone_insecure: "Browsers give the microphone to https pages only. Open this page by https or on localhost; you can type meanwhile.",
  microphone_failed: "The microphone could not be used. You can type meanwhile.",
};

const ENDS_NOTHING = /^(microphone_|assistant_|message_)/;

/** Thrown where a call cannot be placed or joined. */
export class CallFailure extends Error {
  /** @param {Failure} failure */
  constructor(failure) {
    super(failure.message);
    this.name = "CallFailure";
    this.failure = failure;
  }
}

/**
 * @param {FailureCode} code
 * @param {string} [more] added to the words
 * @param {Record<string, string[]>} [fields]
 * @returns {Failure}
 */
export function failure(code, more, fields) {
  const message = more ? `${WORDS[code]} ${more}` : WORDS[code];
  return { code, message, ends: !ENDS_NOTHING.test(code), ...(fields && { fields }) };
}

/** @type {Record<number, FailureCode>} */
const BY_STATUS = {
  400: "no_typed_chat",
  401: "key_refused",
  403: "page_refused",
  404: "no_such_assistant",
  413: "request_too_large",
  422: "request_invalid",
  429: "too_many_calls",
  500: "service_failed",
  503: "service_busy",
};

/**
 * The failure that an answer of the service tells of.
 * @param {number} status
 * @param {string | null} retryAfter the header of that name
 * @param {any} body the answer's JSON, or null
 * @returns {Failure}
 */
export function ofAnswer(status, retryAfter, body) {
  const code = BY_STATUS[status];
  // Something between here and the service may have answered: a proxy, another program at the address.
  if (!code || typeof body?.success !== "boolean") {
    return failure("service_answer", `(Status ${status}.)`);
  }
  if (status === 429 || status === 503) {
    const seconds = Number.parseInt(retryAfter ?? "", 10);
    return failure(code, seconds > 0 ? `Try again in ${seconds} s.` : "Try again in a moment.");
  }
  if (status === 500 && typeof body.data?.request_id === "string") {
    return failure(code, `The request’s id is ${body.data.request_id}; the service’s log tells more.`);
  }
  return failure(code, undefined, status === 422 ? fieldsOf(body.data?.errors) : undefined);
}

/**
 * @param {unknown} errors
 * @returns {Record<string, string[]>}
 */
function fieldsOf(errors) {
  /** @type {Record<string, string[]>} */
  const fields = {};
  for (const [name, told] of Object.entries(errors && typeof errors === "object" ? errors : {})) {
    fields[name] = (Array.isArray(told) ? told : [JSON.stringify(told)]).map(String);
  }
  return fields;
}

/**
 * The failure behind an error of LiveKit's `connect`. Its own text is never shown.
 * @param {typeof import("livekit-client")} livekit
 * @param {unknown} error
 * @param {boolean} fresh whether nobody else can be in the call
 * @returns {Failure}
 */
export function ofJoining(livekit, error, fresh) {
  if (!(error instanceof livekit.ConnectionError)) {
    return failure("join_failed");
  }
  const reasons = livekit.ConnectionErrorReason;
  switch (error.reason) {
    case reasons.NotAllowed:
      return failure(error.status === 404 ? "call_over" : "token_refused");
    case reasons.ServerUnreachable:
      return failure("livekit_unreachable");
    case reasons.Timeout:
      return failure("join_slow");
    case reasons.WebSocket:
      // The server answers and knows the token, yet refuses the handshake: the one place is taken.
      return failure(fresh ? "handshake_refused" : "room_taken");
    default:
      return failure("join_failed");
  }
}

/**
 * @param {typeof import("livekit-client")} livekit
 * @param {unknown} error of the browser, when it was asked for the microphone
 * @returns {Failure}
 */
export function ofMicrophone(livekit, error) {
  if (!globalThis.navigator?.mediaDevices) {
    return failure("microphone_insecure");
  }
  const kinds = livekit.MediaDeviceFailure;
  switch (kinds.getFailure(error)) {
    case kinds.PermissionDenied:
      return failure("microphone_refused");
    case kinds.NotFound:
      return failure("microphone_missing");
    case kinds.DeviceInUse:
      return failure("microphone_busy");
    default:
      return failure("microphone_failed");
  }
}

/**
 * The failure behind the end of a connection, or null where the call ended as calls do.
 * @param {typeof import("livekit-client")} livekit
 * @param {import("livekit-client").DisconnectReason | undefined} reason
 * @returns {Failure | null}
 */
export function ofDisconnect(livekit, reason) {
  const reasons = livekit.DisconnectReason;
  switch (reason) {
    case reasons.CLIENT_INITIATED:
    case reasons.ROOM_DELETED:
    case reasons.ROOM_CLOSED:
      return null;
    case reasons.DUPLICATE_IDENTITY:
      return failure("joined_elsewhere");
    case reasons.PARTICIPANT_REMOVED:
      return failure("removed");
    case reasons.SERVER_SHUTDOWN:
      return failure("server_stopped");
    default:
      return failure("connection_lost");
  }
}
