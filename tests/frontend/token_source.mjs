// LiveKit's own library asks a running service for calls: `node token_source.mjs <node_modules> <url>`.
// Reads steps as JSON from standard input, each {headers, options}; writes what came of each, as JSON.

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const [modules, url] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const { TokenSource } = require("livekit-client");
const protocol = require("@livekit/protocol");

async function run({ headers, options, fetches = 1 }) {
  const source = TokenSource.endpoint(url, { headers });
  const answers = [];
  for (let turn = 0; turn < fetches; turn += 1) {
    try {
      answers.push(await source.fetch(options));
    } catch (error) {
      answers.push({ error: error.message });
    }
  }
  return answers;
}

const steps = JSON.parse(await text(process.stdin));
const answers = [];
for (const step of steps) {
  answers.push(await run(step));
}
const fields = (name) => protocol[name].fields.list().map((field) => field.name);
const schema = Object.fromEntries(
  ["TokenSourceRequest", "RoomConfiguration", "RoomAgentDispatch"].map((name) => [name, fields(name)]),
);
process.stdout.write(JSON.stringify({ answers, schema }));
