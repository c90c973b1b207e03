import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { WidgetCall } from "../../webcall/http/static/widget-call.js";
import { fakeLiveKit } from "./fake_livekit.mjs";

const PLACE = { room_name: "helper_00000000", token: "eyJsecret", server_url: "ws://livekit.example" };

Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: {} }, configurable: true });

let livekit, server, kept, call, panel;

/** What is kept for the tab, as `keeper` of the page gives it. */
const keeper = (name) => ({
  read: () => kept.get(name) ?? "",
  write: (text) => (text ? kept.set(name, text) : kept.delete(name)),
});
const place = () => JSON.parse(kept.get("place"));

beforeEach(() => {
  ({ livekit, server } = fakeLiveKit());
  kept = new Map();
  const shown = new Proxy({}, { get: () => () => {} });
  const settings = { base: "https://calls.example/", key: "lvp_x", assistant: "helper" };
  panel = new Proxy({ settings, conversation: shown }, { get: (own, name) => own[name] ?? (() => {}) });
  call = new WidgetCall(livekit, panel, keeper);
});

describe("a call that the page was loaded again in", () => {
  for (const muted of [true, false]) {
    test(`is as it was, ${muted ? "muted" : "heard"}, when the page is loaded again before it is joined`, async () => {
      kept.set("place", JSON.stringify({ muted, textOnly: true, place: PLACE }));
      livekit.Room.prototype.connect = () => new Promise(() => {});
      void call.resume();
      assert.equal(panel.textOnly, true, "trying again is the same kind of call");
      assert.deepEqual(place(), { muted, textOnly: true, place: PLACE });
    });

    test(`opens ${muted ? "no" : "the"} microphone that was ${muted ? "muted" : "on"}`, async () => {
      kept.set("place", JSON.stringify({ muted, textOnly: true, place: PLACE }));
      await call.resume();
      assert.deepEqual(server.asked, muted ? [] : [true]);
      assert.deepEqual(place(), { muted, textOnly: true, place: PLACE });
      await call.hangUp();
      assert.equal(kept.size, 0);
    });
  }
});
