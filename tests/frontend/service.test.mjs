import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { Call } from "../../webcall/http/static/call.js";
import { listAssistants, placeCall } from "../../webcall/http/static/service.js";
import { fakeLiveKit } from "./fake_livekit.mjs";

const DATA = { room_name: "helper_00000000", token: "eyJsecret", server_url: "ws://livekit.example" };

/** A service that gives these answers in turn, and keeps what it was asked. */
function service(...answers) {
  const asked = [];
  const fetch = async (url, request) => {
    asked.push([String(url), request]);
    const [status, body, headers = {}] = answers[asked.length - 1];
    return new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers });
  };
  return { asked, given: { base: "http://service.example/under/", apiKey: "lvk_key", fetch } };
}

const failed = (data = {}) => ({ success: false, message: "not shown", data });

async function failureOf(promise) {
  const error = await promise.then(() => assert.fail("no failure"), (found) => found);
  return error.failure;
}

test("a call is asked for with the key, the metadata and nothing else", async () => {
  const { asked, given } = service([200, { success: true, data: { ...DATA, expires_at: "soon" } }]);
  const wanted = { assistantId: "helper", metadata: { a: 1 }, textOnly: true };
  assert.deepEqual(await placeCall(given, wanted), DATA);
  const [[url, request]] = asked;
  assert.equal(url, "http://service.example/under/web_call/get_token");
  assert.deepEqual(JSON.parse(request.body), { assistant_id: "helper", metadata: { a: 1 }, text_only: true });
  assert.deepEqual(request.headers, { "Content-Type": "application/json", Authorization: "Bearer lvk_key" });
});

for (const [status, body, headers, code, words] of [
  [400, failed(), {}, "no_typed_chat", "real time"],
  [401, failed(), {}, "key_refused", "API key"],
  [403, failed(), {}, "page_refused", "address"],
  [404, failed(), {}, "no_such_assistant", "no such assistant"],
  [413, failed(), {}, "request_too_large", "too large"],
  [429, failed(), { "Retry-After": "7" }, "too_many_calls", "7 s"],
  [500, failed({ request_id: "abc" }), {}, "service_failed", "abc"],
  [503, failed(), {}, "service_busy", "in a moment"],
  [502, "<html>", {}, "service_answer", "502"],
  [404, "<html>", {}, "service_answer", "404"],
  [200, "<html>", {}, "service_answer", "200"],
]) {
  test(`an answer ${status} ${typeof body === "string" ? "of something else " : ""}is told as ${code}`, async () => {
    const found = await failureOf(placeCall(service([status, body, headers]).given, { assistantId: "x" }));
    assert.equal(found.code, code);
    assert.ok(found.message.includes(words), found.message);
  });
}

test("a 422 tells its faults by field", async () => {
  const errors = { metadata: ["Too deep."], assistant_id: ["Missing."] };
  const found = await failureOf(placeCall(service([422, failed({ errors })]).given, { assistantId: "x" }));
  assert.deepEqual([found.code, found.fields], ["request_invalid", errors]);
});

test("a key that no header can hold is a key that is not good", async () => {
  const { asked, given } = service();
  const found = await failureOf(placeCall({ ...given, apiKey: "schlüssel" }, { assistantId: "x" }));
  assert.deepEqual([found.code, asked], ["key_refused", []]);
});

test("a service that cannot be reached and one that is silent are told apart", async () => {
  const { given } = service();
  const down = async () => {
    throw new TypeError("fetch failed");
  };
  const silent = (_, { signal }) =>
    new Promise((_, refuse) => signal.addEventListener("abort", () => refuse(signal.reason)));
  const wanted = { assistantId: "x" };
  assert.equal((await failureOf(placeCall({ ...given, fetch: down }, wanted))).code, "service_unreachable");
  const late = await failureOf(placeCall({ ...given, fetch: silent, timeoutMs: 1 }, wanted));
  assert.equal(late.code, "service_slow");
});

test("the list of assistants is read to its last page", async () => {
  const page = (ids, next) => [200, { success: true, data: { assistants: ids.map((id) => ({ assistant_id: id })), next } }];
  const { asked, given } = service(page(["a", "b"], "b"), page(["c"], null));
  const found = await listAssistants(given);
  assert.deepEqual(found.map(({ assistant_id }) => assistant_id), ["a", "b", "c"]);
  assert.match(asked[1][0], /[?&]after=b$/);
});

test("hanging up while the call is being placed joins nothing and is no failure", async () => {
  const { livekit, server } = fakeLiveKit();
  const call = new Call(livekit);
  const failures = [];
  call.on("failure", (found) => failures.push(found));
  const silent = (_, { signal }) =>
    new Promise((_, refuse) => signal.addEventListener("abort", () => refuse(signal.reason)));
  const started = call.start({ base: "http://service.example/", apiKey: "k", fetch: silent }, { assistantId: "x" });
  await call.hangUp();
  await started;
  assert.deepEqual([failures, server.room, call.state], [[], null, "ended"]);
});

test("the call's modules know no DOM", () => {
  const folder = new URL("../../webcall/http/static/", import.meta.url);
  const names = readdirSync(folder).filter((name) => name.endsWith(".js"));
  const pages = ["playground.js", "view.js", "docs.js", "widget.js", "widget-dom.js", "widget-panel.js", "widget-style.js"];
  for (const name of names.filter((name) => !pages.includes(name))) {
    const code = readFileSync(new URL(name, folder), "utf8");
    assert.doesNotMatch(code, /\b(document|window|sessionStorage|location)\b[.([]/, name);
  }
});
