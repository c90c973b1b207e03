// What a call hears from its room, in the call's own terms. No DOM.

/** @typedef {typeof import("livekit-client")} LiveKit */
/** @typedef {import("livekit-client").Room} Room */
/** @typedef {import("livekit-client").Track} Track */
/** @typedef {import("livekit-client").RemoteTrack} RemoteTrack */
/** @typedef {import("livekit-client").TextStreamReader} Reader */
/** @typedef {import("./transcript.js").Notice} Notice */

/**
 * `present`: who is there, or what they tell of themselves, may have changed. `words`: somebody's words
 * begin; `ownWords`, the person's own speech as it was understood. `sound`: a track of the assistant, and
 * whether it plays; `ownSound`: the person's own, undefined where there is none any more.
 * @typedef {{
 *   present: () => void,
 *   assistantLeft: () => void,
 *   words: (reader: Reader, who: {own: boolean, identity: string}) => void,
 *   notice: (notice: Notice) => void,
 *   sound: (track: RemoteTrack, playing: boolean) => void,
 *   ownSound: (track: Track | undefined) => void,
 *   playback: () => void,
 *   interrupted: () => void,
 *   restored: () => void,
 *   disconnected: (reason: import("livekit-client").DisconnectReason | undefined) => void,
 *   token: (token: string) => void,
 *   log: (text: string) => void,
 * }} Listener
 */

const TOPIC = { said: "lk.transcription", notice: "webcall.notice", bye: "webcall.bye" };
const BYE_MS = 300;

/**
 * Make a room, not connected, whose events a listener is told.
 * @param {LiveKit} livekit
 * @param {Listener} listener
 * @returns {Room}
 */
export function makeRoom(livekit, listener) {
  const { RoomEvent, Track } = livekit;
  // The page may be loaded again and join the same call: it must not hang up as it goes.
  const room = new livekit.Room({ disconnectOnPageLeave: false });
  /** @param {RemoteTrack} track @param {boolean} playing */
  const heard = (track, playing) => track.kind === Track.Kind.Audio && listener.sound(track, playing);
  room
    .on(RoomEvent.ParticipantConnected, listener.present)
    .on(RoomEvent.ParticipantAttributesChanged, listener.present)
    .on(RoomEvent.ParticipantDisconnected, (gone) => gone.isAgent && listener.assistantLeft())
    .on(RoomEvent.TrackSubscribed, (track) => heard(track, true))
    .on(RoomEvent.TrackUnsubscribed, (track) => heard(track, false))
    .on(RoomEvent.LocalTrackPublished, ({ track }) => listener.ownSound(track))
    .on(RoomEvent.LocalTrackUnpublished, () => listener.ownSound(undefined))
    .on(RoomEvent.MediaDevicesError, (error) => listener.log(`microphone: ${error.name}`))
    .on(RoomEvent.AudioPlaybackStatusChanged, listener.playback)
    .on(RoomEvent.SignalReconnecting, listener.interrupted)
    .on(RoomEvent.Reconnecting, listener.interrupted)
    .on(RoomEvent.Reconnected, listener.restored)
    .on(RoomEvent.DataReceived, (data, sender, _kind, topic) => {
      const told = topic === TOPIC.notice && !sender ? noticeIn(data) : null;
      if (told) {
        listener.notice(told);
      }
    })
    .on(RoomEvent.Disconnected, listener.disconnected);
  room.registerTextStreamHandler(TOPIC.said, (reader, { identity }) => {
    listener.words(reader, { own: identity === room.localParticipant.identity, identity });
  });
  room.registerTextStreamHandler(TOPIC.notice, listener.notice);
  return room;
}

/**
 * Read a notice of the service itself, which is in no room and can send packets only, without a sender.
 * @param {Uint8Array} data
 * @returns {Notice | null} null where it is none
 */
function noticeIn(data) {
  try {
    const { text, code, ends } = JSON.parse(new TextDecoder().decode(data));
    if (typeof text !== "string") {
      return null;
    }
    const attributes = { code: String(code), ends: String(ends === true) };
    return { info: { attributes }, async *[Symbol.asyncIterator]() { yield text; } };
  } catch {
    return null;
  }
}

/**
 * Hear of new tokens: the server renews those of who is in, and one that joined a while ago would not let
 * back in. To be called again when a connection was restored.
 * @param {LiveKit} livekit
 * @param {Room} room
 * @param {Listener} listener
 */
export function followToken(livekit, room, listener) {
  const { TokenRefreshed } = livekit.EngineEvent;
  room.engine?.off(TokenRefreshed, listener.token).on(TokenRefreshed, listener.token);
}

/**
 * Tell the assistant that its person hangs up: of somebody who publishes nothing, the server tells it
 * seconds late. Returns when the assistant has closed the room, or after 0.3 s.
 * @param {LiveKit} livekit
 * @param {Room} room
 */
export async function sayBye(livekit, room) {
  // What was sent is on its way only, and leaving would drop it.
  await new Promise((resolve) => {
    setTimeout(resolve, BYE_MS);
    room.once(livekit.RoomEvent.Disconnected, resolve);
    room.localParticipant.sendText("bye", { topic: TOPIC.bye }).catch(resolve);
  });
}
