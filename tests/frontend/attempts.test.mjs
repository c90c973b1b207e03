import assert from "node:assert/strict";
import { test } from "node:test";

import { Attempts } from "../../webcall/http/static/attempts.js";
import { Call } from "../../webcall/http/static/call.js";
import { WORDS, failure, ofAnswer } from "../../webcall/http/static/failures.js";
import { placeCall } from "../../webcall/http/static/service.js";
import { words } from "../../webcall/http/static/widget-words.js";
import { ConnectionError, fakeLiveKit } from "./fake_livekit.mjs";

Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: {} }, configurable: true });

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const WANTED = { assistantId: "helper", metadata: { a: 1 }, textOnly: true };
const PLACE = { room_name: "helper_00000000", token: "eyJold", server_url: "ws://livekit.example" };

function attempts(kept = { text: "" }) {
  return new Attempts({ read: () => kept.text, write: (text) => (kept.text = text) });
}

test("each call that a person starts has a UUID of its own", () => {
  const made = attempts();
  const keys = ["you", "assistant"].map(() => {
    const { idempotencyKey } = made.begin(WANTED);
    made.ended(null);
    return idempotencyKey;
  });
  keys.forEach((key) => assert.match(key, UUID));
  assert.notEqual(keys[0], keys[1]);
});

test("what broke off is asked for again with the same, in another page of the tab too", () => {
  const kept = { text: "" };
  const first = attempts(kept).begin(WANTED);
  assert.deepEqual(attempts(kept).begin(WANTED), first);
  for (const code of ["service_unreachable", "service_failed", "connection_lost", "join_slow"]) {
    attempts(kept).ended(failure(code));
    assert.deepEqual(attempts(kept).begin(WANTED), first, code);
  }
  assert.notEqual(attempts(kept).begin({ ...WANTED, textOnly: false }).idempotencyKey, first.idempotencyKey);
});

test("what cannot become a call by the same request is given up", () => {
  for (const code of ["too_many_calls", "request_invalid", "call_over", "joined_elsewhere", "removed"]) {
    const made = attempts();
    const first = made.begin(WANTED);
    made.ended(failure(code));
    assert.equal(made.renewal({ base: "http://service.example/", apiKey: "k" }), undefined);
    assert.notEqual(made.begin(WANTED).idempotencyKey, first.idempotencyKey, code);
  }
});

test("what is kept is not trusted", () => {
  for (const text of ["{", "[]", "null", '{"asked": 1, "key": 2}']) {
    assert.equal(attempts({ text }).renewal({ base: "http://service.example/", apiKey: "k" }), undefined);
  }
});

test("the UUID goes out as Idempotency-Key, and a call without one sends no such header", async () => {
  const sent = [];
  const fetch = async (_, { headers }) => {
    sent.push(headers);
    return Response.json({ success: true, data: PLACE });
  };
  const service = { base: "http://service.example/", apiKey: "k", fetch };
  const wanted = attempts().begin(WANTED);
  await placeCall(service, wanted);
  await placeCall(service, WANTED);
  assert.equal(sent[0]["Idempotency-Key"], wanted.idempotencyKey);
  assert.ok(!("Idempotency-Key" in sent[1]));
});

/** Join with a token that LiveKit refuses, where the service answers the renewal so. */
async function rejoined(answer) {
  const { livekit, server } = fakeLiveKit();
  const call = new Call(livekit);
  const told = [];
  call.on("failure", ({ code }) => told.push(code));
  call.on("place", ({ token }) => told.push(token));
  server.refuse = new ConnectionError("NotAllowed", 401);
  const asked = [];
  const fetch = async (_, request) => {
    asked.push(request);
    server.refuse = null;
    return answer(call);
  };
  const made = attempts();
  const wanted = made.begin(WANTED);
  await call.join(PLACE, { renew: made.renewal({ base: "http://service.example/", apiKey: "k", fetch }) });
  const [state, joined] = [call.state, server.joined];
  await call.hangUp();
  assert.equal(asked[0].headers["Idempotency-Key"], wanted.idempotencyKey);
  assert.deepEqual(JSON.parse(asked[0].body), { assistant_id: "helper", metadata: { a: 1 }, text_only: true });
  return { state, joined, told, asked };
}

test("a token that is too old is renewed once, and the call joined with the fresh one", async () => {
  const found = await rejoined(async () => Response.json({ success: true, data: { ...PLACE, token: "eyJnew" } }));
  assert.deepEqual([found.state, found.joined[1], found.asked.length], ["joined", "eyJnew", 1]);
  assert.deepEqual(found.told, ["eyJold", "eyJnew"]);
});

test("where the room has closed, nobody lands in a new call that they did not ask for", async () => {
  const other = { ...PLACE, room_name: "helper_11111111" };
  const found = await rejoined(async () => Response.json({ success: true, data: other }));
  assert.deepEqual([found.state, found.told], ["failed", ["eyJold", "call_over"]]);
});

test("a renewal that fails is told, and one that is hung up meanwhile joins nothing", async () => {
  const body = { success: false, message: "", data: {} };
  const refused = await rejoined(async () => Response.json(body, { status: 429, headers: { "Retry-After": "7" } }));
  assert.deepEqual([refused.state, refused.told], ["failed", ["eyJold", "too_many_calls"]]);
  const left = await rejoined(async (call) => {
    await call.hangUp();
    return Response.json({ success: true, data: { ...PLACE, token: "eyJnew" } });
  });
  assert.deepEqual([left.state, left.joined[1], left.told], ["ended", "eyJold", ["eyJold"]]);
});

test("a visitor reads nothing of keys to check or logs to read, and when to try again", () => {
  const body = { success: false, message: "", data: { request_id: "abc" } };
  assert.equal(words(ofAnswer(429, "7", body)), "Too many calls just now. Try again in 7 s.");
  assert.match(words(ofAnswer(500, null, body)), /^The call could not be set up\. .*abc/);
  assert.match(words(failure("request_invalid", undefined, { metadata: ["Not allowed."] })), /metadata: Not allowed\.$/);
  for (const code of Object.keys(WORDS)) {
    assert.doesNotMatch(words(failure(code)), /API key|Check it and start|metadata/, code);
  }
});
