// Stands in for livekit-client: what a call uses of it, with the server's side in the test's hands.

import { EventEmitter } from "node:events";

import { ConnectionErrorReason, DisconnectReason, RoomEvent } from "./livekit_names.mjs";

export class ConnectionError extends Error {
  constructor(reason, status) {
    super("the whole token: eyJsecret");
    this.reason = ConnectionErrorReason[reason];
    this.status = status;
  }
}

export function participant(identity, attributes = {}, isAgent = true) {
  return { identity, attributes, isAgent };
}

/** A text stream whose text comes in `chunks` (an iterable, or an async one), its end's attributes at last. */
export function stream(chunks, attributes, atTheEnd = {}) {
  const info = { id: "stream", attributes };
  return {
    info,
    async *[Symbol.asyncIterator]() {
      yield* chunks;
      Object.assign(info.attributes, atTheEnd);
    },
  };
}

/** A chunked source that the test feeds: `push`, `end`, `breakOff`. */
export function source() {
  const { readable, writable } = new TransformStream();
  const writer = writable.getWriter();
  return {
    chunks: readable,
    push: (text) => writer.write(text),
    end: () => writer.close(),
    breakOff: () => writer.abort(new Error("gone")),
  };
}

/** @returns the library, and `server`: the last room that was made, and what happens there */
export function fakeLiveKit() {
  const server = {
    room: null,
    refuse: null,
    canPublish: true,
    microphone: null,
    sent: [],
    asked: [],
    options: null,
    sendFails: false,
  };

  class Room {
    remoteParticipants = new Map();
    canPlaybackAudio = true;
    handlers = new Map();
    awaited = new Map();
    topics = new Map();
    engine = new EventEmitter();
    disconnected = 0;

    constructor(options) {
      server.room = this;
      server.options = options;
      this.localParticipant = {
        identity: "me",
        permissions: undefined,
        setMicrophoneEnabled: async (on) => {
          server.asked.push(on);
          if (server.microphone) {
            throw server.microphone;
          }
        },
        sendText: async (text, { topic }) => {
          if (server.sendFails) {
            throw new Error("not sent");
          }
          server.sent.push([topic, text]);
        },
      };
    }

    on(name, handler) {
      this.handlers.set(name, handler);
      return this;
    }

    once(name, handler) {
      this.awaited.set(name, handler);
    }

    registerTextStreamHandler(topic, handler) {
      this.topics.set(topic, handler);
    }

    async connect(url, token) {
      server.joined = [url, token];
      if (server.refuse) {
        throw server.refuse;
      }
      this.localParticipant.permissions = { canPublish: server.canPublish };
    }

    async disconnect() {
      this.disconnected += 1;
      this.tell("Disconnected", DisconnectReason.CLIENT_INITIATED);
    }

    tell(name, ...details) {
      this.handlers.get(RoomEvent[name])?.(...details);
      this.awaited.get(RoomEvent[name])?.(...details);
    }

    enters(someone) {
      this.remoteParticipants.set(someone.identity, someone);
      this.tell("ParticipantConnected", someone);
    }

    leaves(someone) {
      this.remoteParticipants.delete(someone.identity);
      this.tell("ParticipantDisconnected", someone);
    }

    /** A text stream comes in; the answer is for the moment when it was taken in. */
    hears(topic, reader, identity) {
      this.topics.get(topic)(reader, { identity });
    }
  }

  const MediaDeviceFailure = {
    PermissionDenied: "PermissionDenied",
    NotFound: "NotFound",
    DeviceInUse: "DeviceInUse",
    getFailure: (error) =>
      ({ NotAllowedError: "PermissionDenied", NotFoundError: "NotFound", NotReadableError: "DeviceInUse" })[
        error.name
      ],
  };
  const livekit = {
    Room,
    RoomEvent,
    ConnectionError,
    ConnectionErrorReason,
    DisconnectReason,
    MediaDeviceFailure,
    EngineEvent: { TokenRefreshed: "tokenRefreshed" },
    Track: { Kind: { Audio: "audio" } },
  };
  return { livekit, server };
}
