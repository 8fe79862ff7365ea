// Hostile input, each with its clear refusal, and the node serving after it.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import WebSocket from 'ws';
import { startNode } from '../harness/node.mjs';
import { TRANSPORTS, ask, converse, device, person, rest, say, socketOf } from '../harness/people.mjs';
import { HOST, sleep, until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';

const base64url = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** Sends bytes on a fresh TCP connection; gives what came back within `ms`, or until the end. */
function raw(port, bytes, ms = 1_500) {
  return new Promise((resolve) => {
    const chunks = [];
    const socket = net.connect(port, HOST, () => socket.write(bytes));
    const done = () => {
      socket.destroy();
      resolve(Buffer.concat(chunks));
    };
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.on('error', done);
    socket.on('close', done);
    setTimeout(done, scaled(ms));
  });
}

describe('hostile input', () => {
  let node;
  let ann;
  let bob;
  let room;
  let a;
  let b;
  before(async () => {
    node = await startNode({ 'max-payload': '100000' });
    [ann, bob] = [await person(node), await person(node)];
    room = await converse(ann, [bob]);
    a = await device(node, ann);
    b = await device(node, bob);
  });
  after(async () => {
    a?.disconnect();
    b?.disconnect();
    await node?.stop();
  });

  /** The node still carries messages, between sockets that were there before. */
  async function serves() {
    const message = await say(a, room.id, `still serving ${Math.random()}`);
    await b.hears('receive_msg', (m) => m.id === message.id);
    assert.equal(a.connected && b.connected, true);
  }

  const engine = (query) => fetch(`${node.url}/socket.io/?${query}`);

  /** A raw WebSocket session after its open packet; `frames` keeps what came. */
  async function session() {
    const ws = new WebSocket(`${node.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
    const state = { ws, frames: [], code: null };
    ws.on('message', (data) => state.frames.push(data.toString()));
    ws.on('close', (code) => {
      state.code = code;
    });
    ws.on('error', () => {});
    await until('the open packet', () => state.frames.length > 0);
    return state;
  }

  const closed = (state) => until('the session to be closed', () => state.code !== null, 3_000);

  async function joined(token = ann.token) {
    const state = await session();
    state.ws.send(`40${JSON.stringify({ token })}`);
    await until('authenticated', () => state.frames.some((frame) => frame.startsWith('42["authenticated"')));
    return state;
  }

  it('requests that claim to be passed on by another node, and sids of nodes that are not there', async () => {
    const opened = await (await engine('EIO=4&transport=polling')).text();
    const { sid } = JSON.parse(opened.slice(1));
    const now = Math.floor(Date.now() / 1_000);
    const mac = base64url(crypto.createHmac('sha256', 'a guess').update('a guess').digest());
    for (const forged of ['', 'v1', `v1 ${now} AAAAAAAA 203.0.113.9 9 ${mac}`, 'v1 '.repeat(10_000)]) {
      for (const query of [`EIO=4&transport=polling&sid=${sid}`, 'EIO=4&transport=polling']) {
        const answer = await fetch(`${node.url}/socket.io/?${query}`, { headers: { 'x-syncchat-forwarded': forged } });
        assert.equal(answer.status, 403, forged.slice(0, 50));
      }
    }
    for (let i = 0; i < 50; i += 1) {
      const answer = await engine(`EIO=4&transport=polling&sid=${crypto.randomBytes(21).toString('base64url')}`);
      assert.deepEqual([answer.status, await answer.text()], [400, '{"code":1,"message":"Session ID unknown"}']);
    }
    await serves();
  });

  it('wrong EIO, unknown sid, unknown transport, wrong method', async () => {
    const cases = [
      ['EIO=3&transport=polling', 400, { code: 5, message: 'Unsupported protocol version' }],
      ['transport=polling', 400, { code: 5, message: 'Unsupported protocol version' }],
      ['EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA', 400, { code: 1, message: 'Session ID unknown' }],
      ['EIO=4&transport=carrier-pigeon', 400, { code: 0, message: 'Transport unknown' }],
      ['EIO=4&transport=websocket', 400, { code: 3, message: 'Bad request' }],
    ];
    for (const [query, status, body] of cases) {
      const answer = await engine(query);
      assert.equal(answer.status, status, query);
      assert.deepEqual(await answer.json(), body, query);
    }
    const post = await fetch(`${node.url}/socket.io/?EIO=4&transport=polling`, { method: 'POST', body: '4x' });
    assert.deepEqual(await post.json(), { code: 2, message: 'Bad handshake method' });
    await serves();
  });

  it('oversized messages, by both transports', async () => {
    const state = await joined();
    state.ws.send(`42["send_msg",{"content":"${'x'.repeat(100_001)}"}]`);
    await closed(state);
    assert.equal(state.code, 1009);
    const open = await (await engine('EIO=4&transport=polling')).text();
    const { sid, maxPayload } = JSON.parse(open.slice(1));
    assert.equal(maxPayload, 100_000);
    const post = await fetch(`${node.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`, {
      method: 'POST',
      body: `4${'x'.repeat(100_000)}`,
    });
    assert.equal(post.status, 413);
    await serves();
  });

  it('deep JSON, on sockets and by REST', async () => {
    const deep = '['.repeat(40_000) + ']'.repeat(40_000);
    const state = await joined();
    state.ws.send(`42["send_msg",${deep}]`);
    await until('an answer or the end', () => state.code !== null || state.frames.some((f) => f.includes('error_msg')), 3_000);
    state.ws.terminate();
    const answer = await rest(node.url, ann.token).post('/conversations', deep, {
      headers: { 'Content-Type': 'application/json' },
      transformRequest: [(data) => data],
    });
    assert.equal(answer.status, 400);
    assert.equal(answer.data.error.code, 'invalid');
    await serves();
  });

  it('attachment-count bombs and attachments that nobody announced', async () => {
    for (const packet of ['451000000-["x"]', '459999999999-["x"]', '450-["x"]', '45-["x"]']) {
      const state = await joined();
      state.ws.send(packet);
      await closed(state);
    }
    const state = await joined();
    state.ws.send(Buffer.from([1, 2, 3]));
    await closed(state);
    await serves();
  });

  it('floods of namespaces and of packets before CONNECT', async () => {
    const state = await session();
    for (let i = 0; i < 2_000 && state.code === null; i += 1) state.ws.send(`40/nsp${i},`);
    await sleep(300);
    state.ws.terminate();
    const early = await session();
    early.ws.send('42["send_msg",{}]');
    await closed(early);
    await serves();
  });

  it('invalid UTF-8 and unmasked frames', async () => {
    const upgrade =
      'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
    const masked = (opcode, payload) => {
      const mask = Buffer.from([1, 2, 3, 4]);
      return Buffer.concat([
        Buffer.from([0x80 | opcode, 0x80 | payload.length]),
        mask,
        Buffer.from(payload.map((byte, i) => byte ^ mask[i % 4])),
      ]);
    };
    const invalid = await raw(node.port, Buffer.concat([Buffer.from(upgrade), masked(1, Buffer.from([0x34, 0xff, 0xfe]))]));
    assert.ok(invalid.includes(Buffer.from([0x88])), 'a close frame');
    assert.ok(invalid.includes(Buffer.from([0x03, 0xef])), 'code 1007');
    const unmasked = await raw(node.port, Buffer.concat([Buffer.from(upgrade), Buffer.from([0x81, 0x02, 0x34, 0x30])]));
    assert.ok(unmasked.toString('latin1').startsWith('HTTP/1.1 101'));
    assert.ok(!unmasked.includes('"sid"}'), 'nothing was joined');
    await serves();
  });

  it('nonsense instead of HTTP, and half-sent requests by the hundred', async () => {
    for (const bytes of ['\0\0\0\0', 'GARBAGE\r\n\r\n', `GET /${'x'.repeat(100_000)} HTTP/1.1\r\n\r\n`, `GET / HTTP/1.1\r\n${'A: b\r\n'.repeat(5_000)}\r\n`]) {
      await raw(node.port, bytes, 500);
    }
    const sockets = [];
    for (let i = 0; i < 300; i += 1) {
      const socket = net.connect(node.port, HOST);
      socket.on('error', () => {});
      socket.write(
        i % 2
          ? 'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n'
          : 'POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"login":',
      );
      sockets.push(socket);
    }
    await serves();
    assert.equal((await fetch(`${node.url}/api/openapi.json`)).status, 200);
    sockets.forEach((socket) => socket.destroy());
  });

  it('forged, expired and unsigned tokens, on sockets and by REST', async () => {
    const [head, body, signature] = ann.token.split('.');
    const claims = JSON.parse(Buffer.from(body, 'base64url'));
    const sign = (header, payload, secret) => {
      const text = `${base64url(header)}.${base64url(payload)}`;
      return `${text}.${crypto.createHmac('sha256', secret).update(text).digest('base64url')}`;
    };
    const forged = [
      `${base64url({ alg: 'none', typ: 'JWT' })}.${body}.`,
      `${base64url({ alg: 'None', typ: 'JWT' })}.${body}.${signature}`,
      `${base64url({ alg: 'HS512', typ: 'JWT' })}.${body}.${signature}`,
      `${head}.${base64url({ ...claims, userId: bob.id })}.${signature}`,
      `${head}.${base64url({ ...claims, exp: claims.exp + 1_000_000 })}.${signature}`,
      sign({ alg: 'HS256', typ: 'JWT' }, claims, 'a guessed secret'),
      sign({ alg: 'HS256', typ: 'JWT' }, claims, ''),
      `${head}.${body}`,
      '',
      'x'.repeat(50_000),
    ];
    for (const token of forged) {
      if (token) assert.equal((await rest(node.url, token).get('/users/me')).status, 401, token.slice(0, 60));
      const socket = socketOf(node, { auth: { token }, reconnection: false });
      const error = await Promise.race([
        new Promise((resolve) => socket.on('connect_error', resolve)),
        socket.hears('authenticated').then(() => assert.fail(`let in with ${token.slice(0, 60)}`)),
        sleep(scaled(3_000)).then(() => new Error('no answer')),
      ]);
      assert.equal(error.message, 'Authentication error', token.slice(0, 60));
      socket.disconnect();
    }
    for (const token of [{ $ne: null }, 7, ['x'], null]) {
      const socket = socketOf(node, { auth: {}, reconnection: false });
      await until('connect', () => socket.connected);
      const ack = await ask(socket, 'authenticate', { token });
      assert.equal(ack.ok, false, JSON.stringify(token));
      socket.disconnect();
    }
    await serves();
  });

  it('operator objects where strings belong, by REST', async () => {
    const cases = [
      ['post', '/auth/login', { login: { $gt: '' }, password: { $gt: '' } }],
      ['post', '/auth/refresh', { refreshToken: { $ne: null } }],
      ['post', '/conversations', { type: { $ne: 1 }, participants: [{ $ne: 1 }] }],
      ['post', `/conversations/${room.id}/messages`, { content: { $set: { x: 1 } } }],
      ['post', `/conversations/${room.id}/participants`, { userId: { $exists: true } }],
      ['patch', '/users/me', { username: { $regex: '.*' } }],
    ];
    for (const [method, path, body] of cases) {
      const answer = await ann.api[method](path, body);
      assert.equal(answer.status, 400, `${path} ${JSON.stringify(answer.data)}`);
      assert.ok(Object.keys(answer.data.error.fields).length > 0, path);
    }
    assert.equal((await ann.api.get('/conversations/%7B%22$ne%22:1%7D')).status, 404);
    assert.equal((await ann.api.get('/users?q[$ne]=x')).status, 400);
    assert.equal((await ann.api.get('/users?q=.*')).data.users.length, 0, 'a search is no pattern');
    await serves();
  });

  it('bodies that are no JSON, too big, or of another type', async () => {
    const post = (body, type) =>
      fetch(`${node.url}/api/auth/login`, { method: 'POST', body, headers: type ? { 'Content-Type': type } : {} });
    assert.equal((await post('{', 'application/json')).status, 400);
    assert.equal((await post(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 'application/json')).status, 400);
    assert.equal((await post('login=x', 'application/x-www-form-urlencoded')).status, 415);
    const big = await post(JSON.stringify({ login: 'x'.repeat(1_100_000) }), 'application/json');
    assert.equal(big.status, 413);
    assert.equal((await big.json()).error.code, 'too_large');
    assert.equal((await fetch(`${node.url}/api/nothing/here`)).status, 404);
    await serves();
  });

  it('foreign origins', async () => {
    const upgrade = (origin) =>
      new Promise((resolve) => {
        const ws = new WebSocket(`${node.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, { origin });
        ws.on('open', () => resolve(101) || ws.terminate());
        ws.on('unexpected-response', (_, response) => resolve(response.statusCode));
        ws.on('error', () => {});
      });
    assert.equal(await upgrade('https://evil.example'), 403);
    assert.equal(await upgrade('null'), 403);
    assert.equal(await upgrade(node.url), 101);
    const polling = await fetch(`${node.url}/socket.io/?EIO=4&transport=polling`, { headers: { Origin: 'https://evil.example' } });
    assert.equal(polling.headers.get('access-control-allow-origin'), null);
    const preflight = await fetch(`${node.url}/api/users/me`, {
      method: 'OPTIONS',
      headers: { Origin: 'https://evil.example', 'Access-Control-Request-Method': 'GET' },
    });
    assert.equal(preflight.headers.get('access-control-allow-origin'), null);
    await serves();
  });

  it('a storm of connections that never speak', async () => {
    const states = await Promise.all(Array.from({ length: 200 }, () => session()));
    await serves();
    states.forEach((state) => state.ws.terminate());
    for (const transports of Object.values(TRANSPORTS)) {
      const socket = await device(node, bob, { transports });
      socket.disconnect();
    }
  });
});
