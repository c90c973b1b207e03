// The endpoint in Express with LiveKit's server SDK: one shared client, one request, validation by zod.
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// The packages lie where the benchmark has put them, and this file does not.
const from = createRequire(`${process.env.BENCHMARK_MODULES}/`);
const load = async (name) => import(pathToFileURL(from.resolve(name)).href);
const { default: express } = await load('express');
const { AccessToken, RoomServiceClient, TrackSource } = await load('livekit-server-sdk');
const { RoomAgentDispatch } = await load('@livekit/protocol');
const { z } = await load('zod');

const env = process.env;
const owners = new Map(
  JSON.parse(readFileSync(env.WEBCALL_API_KEYS_FILE)).map((record) => [record.api_key_hash, record.user_email]),
);
const assistants = new Map(
  JSON.parse(readFileSync(env.WEBCALL_ASSISTANTS_FILE)).map((record) => [record.assistant_id, record]),
);
const rooms = new RoomServiceClient(env.LIVEKIT_URL, env.LIVEKIT_API_KEY, env.LIVEKIT_API_SECRET);

const depth = (value) =>
  value !== null && typeof value === 'object' ? 1 + Math.max(0, ...Object.values(value).map(depth)) : 0;
const fits = (value) => Buffer.byteLength(JSON.stringify(value)) <= 16 * 1024 && depth(value) <= 16;
const Body = z.strictObject({
  assistant_id: z.string().trim().min(1).max(100),
  metadata: z.record(z.string(), z.unknown()).nullable().default(null).refine((value) => fits(value ?? {})),
  text_only: z.boolean().default(false),
});

const fill = (text, metadata) =>
  text.replace(/\{\{\s*([A-Za-z0-9_.]+)\s*\}\}/g, (_, path) => {
    const value = path.split('.').reduce((found, name) => found?.[name], metadata);
    return value == null ? '' : typeof value === 'string' ? value : JSON.stringify(value);
  });

const app = express();
app.disable('x-powered-by');
app.use(express.json({ limit: '64kb' }));
app.get('/', (_, answer) => answer.json({}));
app.post('/web_call/get_token', async (request, answer) => {
  const [scheme, key = ''] = (request.get('authorization') ?? '').split(' ');
  const owner = owners.get(createHash('sha256').update(key).digest('hex'));
  if (scheme.toLowerCase() !== 'bearer' || !owner) return answer.status(401).json({ success: false });
  const parsed = Body.safeParse(request.body);
  if (!parsed.success) return answer.status(422).json({ success: false });
  const { assistant_id: id, text_only: textOnly } = parsed.data;
  const metadata = parsed.data.metadata ?? {};
  const assistant = assistants.get(id);
  if (assistant?.assistant_created_by_email !== owner) return answer.status(404).json({ success: false });
  const room = `${id}_${randomBytes(4).toString('hex')}`;
  const filled = { ...assistant };
  for (const field of ['assistant_prompt', 'assistant_start_instruction']) {
    if (assistant[field]) filled[field] = fill(assistant[field], metadata);
  }
  const dispatch = JSON.stringify({
    ...metadata,
    call_type: 'web',
    text_only: textOnly,
    web_call: { version: 1, room_name: room, metadata, max_duration_s: 3600, assistant: filled },
  });
  const token = new AccessToken(env.LIVEKIT_API_KEY, env.LIVEKIT_API_SECRET, {
    identity: `caller-${randomBytes(16).toString('hex')}`,
    ttl: 60,
  });
  token.addGrant({
    roomJoin: true,
    room,
    canSubscribe: true,
    canPublishData: true,
    canPublish: !textOnly,
    canPublishSources: textOnly ? undefined : [TrackSource.MICROPHONE],
  });
  const jwt = await token.toJwt();
  await rooms.createRoom({
    name: room,
    emptyTimeout: 120,
    departureTimeout: 20,
    maxParticipants: 1,
    agents: [new RoomAgentDispatch({ agentName: 'api-agent', metadata: dispatch })],
  });
  const expires_at = new Date(Date.now() + 60_000).toISOString();
  return answer.json({
    success: true,
    message: 'Token generated successfully',
    data: { room_name: room, token: jwt, server_url: env.LIVEKIT_URL, expires_at },
  });
});
app.listen(Number(env.BENCHMARK_PORT), '127.0.0.1');
