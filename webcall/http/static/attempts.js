// Which Idempotency-Key a call is asked for with: one for each call that a person starts, and the same again
// where that one broke off, so that no second room is made and no second assistant sent. No DOM.

import { placeCall } from "./service.js";

/** @typedef {import("./failures.js").FailureCode} FailureCode */
/** @typedef {import("./service.js").Wanted} Wanted */
/** Where the last attempt is kept: for as long as a tab, so that it is there after the page was loaded again.
 * @typedef {{read: () => string, write: (text: string) => void}} Keep */

/** @type {Set<FailureCode | undefined>} after these the room may be there: the next attempt is the same call */
const BROKEN_OFF = new Set([
  "service_unreachable",
  "service_slow",
  "service_answer",
  "service_failed",
  "service_busy",
  "livekit_unreachable",
  "handshake_refused",
  "join_slow",
  "join_failed",
  "connection_lost",
  "server_stopped",
]);

export class Attempts {
  #keep;

  /** @param {Keep} keep */
  constructor(keep) {
    this.#keep = keep;
  }

  /**
   * A person starts a call.
   * @param {Wanted} wanted
   * @returns {Wanted} with its key: the last attempt's, if that one broke off and asked for the same
   */
  begin(wanted) {
    const asked = JSON.stringify(wanted);
    const last = this.#last();
    const idempotencyKey = last && last.asked === asked ? last.key : uuid();
    this.#keep.write(JSON.stringify({ asked, key: idempotencyKey }));
    return { ...wanted, idempotencyKey };
  }

  /**
   * What gets a fresh token for the call that was started last, for as long as its room lives.
   * @param {Omit<import("./service.js").Service, "signal">} service
   * @returns {((signal: AbortSignal) => Promise<import("./service.js").Place>) | undefined} undefined where
   *   no call was started here
   */
  renewal(service) {
    const last = this.#last();
    if (!last) {
      return undefined;
    }
    const wanted = { ...JSON.parse(last.asked), idempotencyKey: last.key };
    return (signal) => placeCall({ ...service, signal }, wanted);
  }

  /**
   * The call has ended.
   * @param {import("./failures.js").Failure | null} [found] null where it ended as calls do
   */
  ended(found = null) {
    if (!BROKEN_OFF.has(found?.code)) {
      this.#keep.write("");
    }
  }

  /** @returns {{asked: string, key: string} | null} */
  #last() {
    try {
      const { asked, key } = JSON.parse(this.#keep.read());
      return typeof asked === "string" && typeof key === "string" ? { asked, key } : null;
    } catch {
      return null;
    }
  }
}

/** A random UUID (RFC 9562, version 4): `crypto.randomUUID` is not there on pages without TLS. */
function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (/** @type {number} */ (bytes[6]) & 0x0f) | 0x40;
  bytes[8] = (/** @type {number} */ (bytes[8]) & 0x3f) | 0x80;
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
