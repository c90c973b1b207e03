import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, describe, mock, test } from "node:test";

import { Call } from "../../webcall/http/static/call.js";
import { ConnectionError, fakeLiveKit, participant, source, stream } from "./fake_livekit.mjs";

const PLACE = { room_name: "helper_00000000", token: "eyJsecret", server_url: "ws://livekit.example" };

Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: {} }, configurable: true });

let livekit, server, call, events;

/** Let everything that is due happen. */
async function settle() {
  for (let i = 0; i < 10; i += 1) {
    await turn();
  }
}

const all = (name) => events.filter(([one]) => one === name).map(([, detail]) => detail);
const codes = () => all("failure").map(({ code }) => code);
const said = () => call.transcript.entries.map(({ from, text }) => `${from}: ${text}`);

beforeEach(() => {
  ({ livekit, server } = fakeLiveKit());
  call = new Call(livekit);
  events = [];
  for (const name of ["state", "assistant", "microphone", "failure", "ended", "place", "log", "timing"]) {
    call.on(name, (detail) => events.push([name, detail]));
  }
});

// A call that goes on would keep its timers.
afterEach(() => call.hangUp());

async function joined(state = "listening") {
  await call.join(PLACE);
  if (state) {
    server.room.enters(participant("agent", { "lk.agent.state": state }));
  }
}

describe("joining", () => {
  test("a call is joined at its address, and is not hung up by a page that goes", async () => {
    await joined();
    assert.deepEqual(server.joined, [PLACE.server_url, PLACE.token]);
    assert.equal(server.options.disconnectOnPageLeave, false);
    assert.deepEqual(all("state"), ["joining", "joined"]);
    assert.deepEqual(all("assistant"), ["expected", "listening"]);
    assert.deepEqual(all("microphone"), ["asking", "on"]);
  });

  test("a typed chat asks for no microphone", async () => {
    server.canPublish = false;
    await joined();
    assert.deepEqual(server.asked, []);
    assert.deepEqual(all("microphone"), []);
  });

  test("a call that was muted before the page was loaded again opens no microphone", async () => {
    await call.join(PLACE, { muted: true });
    assert.deepEqual(server.asked, []);
    await call.mute(false);
    assert.deepEqual([server.asked, call.microphone], [[true], "on"]);
  });

  test("the token that the server renews is told, to come back with after a while", async () => {
    await joined();
    server.room.tell("Reconnecting");
    server.room.tell("Reconnected");
    server.room.engine.emit("tokenRefreshed", "eyJrenewed");
    assert.deepEqual(all("place"), [PLACE, { ...PLACE, token: "eyJrenewed" }]);
  });

  for (const [reason, status, fresh, code] of [
    ["NotAllowed", 401, false, "token_refused"],
    ["NotAllowed", 404, false, "call_over"],
    ["ServerUnreachable", undefined, false, "livekit_unreachable"],
    ["WebSocket", undefined, false, "room_taken"],
    ["WebSocket", undefined, true, "handshake_refused"],
    ["Timeout", undefined, false, "join_slow"],
    ["InternalError", undefined, false, "join_failed"],
  ]) {
    test(`${reason} ${status ?? ""} ${fresh ? "of a new call " : ""}is told as ${code}, without the token`, async () => {
      server.refuse = new ConnectionError(reason, status);
      await call.join(PLACE, { fresh });
      assert.deepEqual(codes(), [code]);
      assert.equal(call.state, "failed");
      assert.equal(all("ended").length, 1);
      const shown = JSON.stringify(events.filter(([name]) => name !== "place"));
      assert.ok(!shown.includes("eyJ"));
    });
  }

  for (const [name, code] of [
    ["NotAllowedError", "microphone_refused"],
    ["NotFoundError", "microphone_missing"],
    ["NotReadableError", "microphone_busy"],
    ["TypeError", "microphone_failed"],
  ]) {
    test(`${name} of the microphone is told as ${code}, and typing goes on`, async () => {
      server.microphone = Object.assign(new Error(), { name });
      await joined();
      await call.send("hello");
      assert.deepEqual(codes(), [code]);
      assert.deepEqual(server.sent, [["lk.chat", "hello"]]);
      assert.equal(call.state, "joined");
    });
  }
});

describe("the transcript", () => {
  test("speech and typed text stand in one list in the order in which they began", async () => {
    await joined();
    const slow = source();
    const segment = (id) => ({ "lk.segment_id": id, "lk.transcription_final": "false" });
    const ends = { "lk.transcription_final": "true" };
    server.room.hears("lk.transcription", stream(slow.chunks, segment("a"), ends), "agent");
    await slow.push("Hel");
    await settle();
    await call.send("typed");
    server.room.hears("lk.transcription", stream(["what"], segment("u")), "me");
    await settle();
    await slow.push("lo.");
    server.room.hears("lk.transcription", stream(["what time"], segment("u"), ends), "me");
    await settle();
    assert.deepEqual(said(), ["assistant: Hello.", "you: typed", "you: what time"]);
    assert.deepEqual(call.transcript.entries.map(({ final }) => final), [false, true, true]);
    await slow.end();
    await settle();
    assert.ok(call.transcript.entries.every(({ final }) => final));
  });

  test("an interrupted sentence keeps what was said of it", async () => {
    await joined();
    const cut = source();
    server.room.hears("lk.transcription", stream(cut.chunks, { "lk.segment_id": "a" }), "agent");
    await cut.push("I was about");
    await settle();
    await cut.breakOff();
    await settle();
    assert.deepEqual(said(), ["assistant: I was about"]);
    assert.equal(call.transcript.entries[0].final, true);
  });

  test("what is typed before the assistant can read it is sent when it can, in order", async () => {
    await joined("initializing");
    await call.send("one");
    await call.send("  two ");
    await call.send("   ");
    assert.deepEqual(server.sent, []);
    server.room.remoteParticipants.get("agent").attributes["lk.agent.state"] = "listening";
    server.room.tell("ParticipantAttributesChanged");
    await settle();
    assert.deepEqual(server.sent.map(([, text]) => text), ["one", "two"]);
  });

  test("a message that cannot be sent is marked, and the call goes on", async () => {
    await joined();
    server.sendFails = true;
    await call.send("lost");
    assert.deepEqual(codes(), ["message_failed"]);
    assert.equal(call.transcript.entries[0].failed, true);
    assert.equal(call.state, "joined");
  });

  /** Begin to send two that have waited; hold each text back until `goesOn` or `breaksOff` is called for it. */
  async function twoOnTheirWay() {
    await joined(null);
    await call.send("one");
    await call.send("two");
    const [begun, held] = [[], []];
    server.room.localParticipant.sendText = (text) => {
      begun.push(text);
      return new Promise((resolve, reject) => held.push({ goesOn: resolve, breaksOff: () => reject(new Error("gone")) }));
    };
    server.room.enters(participant("agent", { "lk.agent.state": "listening" }));
    await settle();
    return { begun, held };
  }

  test("messages stay in order where sending takes its time", async () => {
    const { begun, held } = await twoOnTheirWay();
    void call.send("three");
    for (const [at] of ["one", "two", "three"].entries()) {
      await settle();
      assert.equal(held.length, at + 1, "one at a time: what is long would come last");
      held[at].goesOn();
    }
    await settle();
    assert.deepEqual(begun, ["one", "two", "three"]);
  });

  test("what is on its way when the call ends is not told of, and nothing is sent after it", async () => {
    const { begun, held } = await twoOnTheirWay();
    server.room.tell("Disconnected", livekit.DisconnectReason.ROOM_DELETED);
    held[0].breaksOff();
    await settle();
    assert.deepEqual(begun, ["one"]);
    assert.deepEqual(codes(), []);
    assert.deepEqual(call.transcript.entries.map(({ failed }) => failed), [true, true]);
  });

  test("the times to the first word and to each typed reply are told once", async () => {
    await joined();
    server.room.hears("lk.transcription", stream(["Hello"], { "lk.segment_id": "a" }), "agent");
    await settle();
    await call.send("hi");
    server.room.hears("lk.transcription", stream(["Yes", "?"], { "lk.segment_id": "b" }), "agent");
    await settle();
    await call.send("and?");
    server.room.hears("lk.transcription", stream(["No."], { "lk.segment_id": "c" }), "agent");
    await settle();
    const told = all("timing").map(({ name }) => name);
    assert.deepEqual(told, ["joined", "assistant", "word", "reply", "reply"]);
  });
});

describe("the end", () => {
  const notice = (words, code, ends) => stream([words], { code, ends: String(ends) });

  test("a notice that ends nothing is words of the service", async () => {
    await joined();
    server.room.hears("webcall.notice", notice("Too long.", "message_too_long", false), "agent");
    await settle();
    assert.deepEqual(said(), ["service: Too long."]);
    server.room.tell("Disconnected", livekit.DisconnectReason.ROOM_DELETED);
    assert.deepEqual(all("ended"), [{ by: "assistant", words: null, failure: null }]);
  });

  const packet = (told) => new TextEncoder().encode(typeof told === "string" ? told : JSON.stringify(told));

  test("a notice of the service itself comes as a packet, and ends the call with its words", async () => {
    await joined();
    const told = { text: "No assistant could come.", code: "no_assistant", ends: true };
    server.room.tell("DataReceived", packet(told), undefined, 0, "webcall.notice");
    await settle();
    const [entry] = call.transcript.entries;
    assert.deepEqual([entry.from, entry.text, entry.code, entry.ends], ["service", told.text, told.code, true]);
    server.room.tell("Disconnected", livekit.DisconnectReason.ROOM_DELETED);
    assert.deepEqual(all("ended"), [{ by: "assistant", words: told.text, failure: null }]);
  });

  test("packets of others, on other topics, or of another form are no notices", async () => {
    await joined();
    const told = { text: "Pay here.", code: "goodbye", ends: true };
    server.room.tell("DataReceived", packet(told), participant("agent"), 0, "webcall.notice");
    server.room.tell("DataReceived", packet(told), undefined, 0, "other");
    for (const wrong of ["{", "null", "[]", '{"text": 1}', ""]) {
      server.room.tell("DataReceived", packet(wrong), undefined, 0, "webcall.notice");
    }
    await settle();
    assert.deepEqual(call.transcript.entries, []);
  });

  test("a call that the assistant ends says so in the words of its notice", async () => {
    await joined();
    server.room.hears("webcall.notice", notice("Time is up.", "time_is_up", true), "agent");
    await settle();
    server.room.leaves(participant("agent"));
    server.room.tell("Disconnected", livekit.DisconnectReason.ROOM_DELETED);
    assert.deepEqual(all("ended"), [{ by: "assistant", words: "Time is up.", failure: null }]);
    assert.deepEqual(codes(), []);
  });

  test("hanging up leaves the room once, and tells of no failure", async () => {
    await joined();
    await call.hangUp();
    await call.hangUp();
    assert.equal(server.room.disconnected, 1);
    assert.deepEqual(server.sent, [["webcall.bye", "bye"]]);
    assert.deepEqual(all("ended"), [{ by: "you", words: null, failure: null }]);
    assert.deepEqual(codes(), []);
  });

  test("a goodbye is waited for until the room is gone, and no longer than a moment", async () => {
    await joined();
    const leaving = call.hangUp();
    await settle();
    assert.deepEqual([call.state, server.room.disconnected], ["ended", 0]);
    const began = performance.now();
    server.room.tell("Disconnected", livekit.DisconnectReason.ROOM_DELETED);
    await leaving;
    assert.ok(performance.now() - began < 100);

    call = new Call(livekit);
    await joined();
    server.room.localParticipant.sendText = () => new Promise(() => {});
    await call.hangUp();
    assert.equal(server.room.disconnected, 1);
    assert.deepEqual(codes(), []);
  });

  test("with no assistant there, nobody is told of hanging up", async () => {
    await joined(null);
    await call.send("hello");
    await call.hangUp();
    assert.deepEqual([server.sent, server.room.disconnected], [[], 1]);
    assert.equal(call.transcript.entries[0].failed, true);
  });

  for (const [reason, code] of [
    ["DUPLICATE_IDENTITY", "joined_elsewhere"],
    ["PARTICIPANT_REMOVED", "removed"],
    ["SERVER_SHUTDOWN", "server_stopped"],
    [undefined, "connection_lost"],
  ]) {
    test(`a connection that ends with ${reason} is told as ${code}`, async () => {
      await joined();
      server.room.tell("Disconnected", reason && livekit.DisconnectReason[reason]);
      assert.deepEqual(codes(), [code]);
      assert.equal(call.state, "failed");
    });
  }

  test("a connection that is restored leaves the call as it was, with what was typed meanwhile", async () => {
    await joined();
    server.room.tell("Reconnecting");
    await call.send("still here");
    assert.deepEqual(server.sent, []);
    server.room.tell("Reconnected");
    await settle();
    assert.deepEqual(all("state"), ["joining", "joined", "reconnecting", "joined"]);
    assert.deepEqual(server.sent, [["lk.chat", "still here"]]);
  });
});

describe("an assistant that does not come or does not stay", () => {
  beforeEach(() => mock.timers.enable({ apis: ["setTimeout"] }));
  afterEach(() => mock.timers.reset());

  test("is told of after ten seconds, and taken when it comes late", async () => {
    await call.join(PLACE);
    mock.timers.tick(9_999);
    assert.deepEqual(codes(), []);
    mock.timers.tick(1);
    assert.deepEqual(codes(), ["assistant_absent"]);
    assert.equal(call.state, "joined");
    server.room.enters(participant("agent", { "lk.agent.state": "listening" }));
    assert.equal(call.assistant, "listening");
  });

  test("is told of when it drops out, but not while a connection is restored", async () => {
    await joined();
    const agent = server.room.remoteParticipants.get("agent");
    server.room.tell("Reconnecting");
    server.room.leaves(agent);
    mock.timers.tick(5_000);
    assert.deepEqual(codes(), []);
    server.room.enters(agent);
    server.room.tell("Reconnected");
    server.room.leaves(agent);
    mock.timers.tick(1_000);
    assert.deepEqual(codes(), ["assistant_lost"]);
  });
});
