// The real library's own names and numbers, so that a new version that changes them is noticed.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const library = new URL("../../webcall/http/static/vendor/livekit-client.umd.js", import.meta.url);

// It is CommonJS in a folder of modules: run as what its wrapper expects.
const { readFileSync } = createRequire(import.meta.url)("node:fs");
const holder = { exports: {} };
new Function("module", "exports", readFileSync(fileURLToPath(library), "utf8"))(holder, holder.exports);

export const { ConnectionErrorReason, DisconnectReason, RoomEvent } = holder.exports;
