// What a page asks of the web call service. No DOM.

import { CallFailure, failure, ofAnswer } from "./failures.js";

/** @typedef {{room_name: string, token: string, server_url: string}} Place where a call is, and what joins it */
/** @typedef {{assistant_id: string, assistant_name?: string | null, assistant_description?: string | null, assistant_mode?: string | null}} Listed */
/**
 * The service as a page reaches it. `base` is the address that `web_call/…` stands under.
 * @typedef {{base: string, apiKey: string, signal?: AbortSignal, timeoutMs?: number, fetch?: typeof fetch}} Service
 */
/** @typedef {{assistantId: string, metadata?: Record<string, unknown> | null, textOnly?: boolean, idempotencyKey?: string}} Wanted */

const TIMEOUT_MS = 20_000;
const PAGES = 20;

/**
 * Place a call: the room is made and the assistant sent into it. The same again, with the same
 * `idempotencyKey`, gives a fresh token for the same room for as long as that lives.
 * @param {Service} service
 * @param {Wanted} wanted
 * @returns {Promise<Place>}
 * @throws {CallFailure}
 */
export async function placeCall(service, wanted) {
  const body = {
    assistant_id: wanted.assistantId,
    metadata: wanted.metadata ?? {},
    text_only: wanted.textOnly ?? false,
  };
  const data = await ask(service, "web_call/get_token", {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      ...(wanted.idempotencyKey && { "Idempotency-Key": wanted.idempotencyKey }),
    },
    body: JSON.stringify(body),
  });
  const { room_name, token, server_url } = data;
  if (![room_name, token, server_url].every((value) => typeof value === "string")) {
    throw new CallFailure(failure("service_answer"));
  }
  return { room_name, token, server_url };
}

/**
 * The assistants that the key may call, sorted by id; the first thousand of them.
 * @param {Service} service
 * @returns {Promise<Listed[]>}
 * @throws {CallFailure}
 */
export async function listAssistants(service) {
  /** @type {Listed[]} */
  const found = [];
  let after = "";
  for (let page = 0; page < PAGES; page += 1) {
    const query = new URLSearchParams({ limit: "50", ...(after && { after }) });
    const data = await ask(service, `web_call/assistants?${query}`, { method: "GET" });
    if (!Array.isArray(data.assistants)) {
      throw new CallFailure(failure("service_answer"));
    }
    found.push(...data.assistants);
    if (typeof data.next !== "string" || !data.next) {
      break;
    }
    after = data.next;
  }
  return found;
}

/**
 * @param {Service} service
 * @param {string} path
 * @param {RequestInit} request
 * @returns {Promise<any>} the answer's `data`
 */
async function ask(service, path, request) {
  // What no header can hold is no key; fetch would throw what looks like a broken network.
  if (!/^[\x21-\x7e]+$/.test(service.apiKey)) {
    throw new CallFailure(failure("key_refused"));
  }
  const own = new AbortController();
  const stop = () => own.abort();
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    stop();
  }, service.timeoutMs ?? TIMEOUT_MS);
  service.signal?.addEventListener("abort", stop);
  if (service.signal?.aborted) {
    stop();
  }
  try {
    const answer = await (service.fetch ?? globalThis.fetch)(new URL(path, service.base), {
      ...request,
      headers: { ...request.headers, Authorization: `Bearer ${service.apiKey}` },
      credentials: "omit",
      cache: "no-store",
      signal: own.signal,
    });
    const text = await answer.text();
    const body = parsed(text);
    if (!answer.ok) {
      throw new CallFailure(ofAnswer(answer.status, answer.headers.get("Retry-After"), body));
    }
    if (typeof body?.data !== "object" || body.data === null) {
      throw new CallFailure(failure("service_answer", `(Status ${answer.status}.)`));
    }
    return body.data;
  } catch (error) {
    if (error instanceof CallFailure || service.signal?.aborted) {
      throw error;
    }
    throw new CallFailure(failure(late ? "service_slow" : "service_unreachable"));
  } finally {
    clearTimeout(timer);
    service.signal?.removeEventListener("abort", stop);
  }
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
