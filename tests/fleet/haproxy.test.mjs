// What haproxy.cfg promises, on the real HAProxy before stand-ins for gateways: who goes where, what
// a gateway that drains or dies means for clients, the limits by address, and what gateways are told.
import assert from 'node:assert/strict';
import http from 'node:http';
import { after, before, beforeEach, describe, it } from 'node:test';
import WebSocket, { WebSocketServer } from 'ws';
import { startHaproxy } from '../harness/haproxy.mjs';
import { HOST, sleep, until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';

/** A stand-in for a gateway: says who it is, and can be told to drain or to refuse. */
async function standIn(name) {
  const state = { ready: true, refuses: false, seen: [] };
  const listen = async (handler) => {
    const server = http.createServer(handler);
    await new Promise((resolve) => server.listen(0, HOST, resolve));
    return server;
  };
  const server = await listen((request, response) => {
    state.seen.push({ url: request.url, headers: request.headers });
    const fresh = request.url.startsWith('/socket.io/') && !request.url.includes('sid=');
    response.statusCode = state.refuses && fresh ? 503 : 200;
    request.resume().on('end', () => response.end(name));
  });
  const sockets = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    if (state.refuses && !request.url.includes('sid=')) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (ws) => {
      ws.send(name);
      ws.on('message', (data) => ws.send(data.toString()));
    });
  });
  const admin = await listen((_, response) => {
    response.statusCode = state.ready ? 200 : 503;
    response.end();
  });
  return {
    name,
    state,
    port: server.address().port,
    adminPort: admin.address().port,
    sockets,
    async stop() {
      for (const ws of sockets.clients) ws.terminate();
      for (const one of [server, admin]) {
        one.closeAllConnections();
        await new Promise((resolve) => one.close(resolve));
      }
    },
  };
}

const POLL = '/socket.io/?EIO=4&transport=polling';

describe('haproxy.cfg', () => {
  let gateways;
  let haproxy;
  before(async () => {
    gateways = await Promise.all(['g1', 'g2', 'g3'].map(standIn));
    haproxy = await startHaproxy(gateways);
  });
  after(async () => {
    await haproxy?.stop();
    await Promise.all((gateways ?? []).map((gateway) => gateway.stop()));
  });
  const status = async (name) => (await haproxy.servers()).get(name);
  beforeEach(async () => {
    for (const { state } of gateways) Object.assign(state, { ready: true, refuses: false, seen: [] });
    await until('all to be up', async () => [...(await haproxy.servers()).values()].every((one) => one === 'UP'));
  });
  const get = async (path, headers = {}) => {
    const answer = await fetch(`${haproxy.url}${path}`, { headers });
    return { status: answer.status, body: await answer.text(), cookie: answer.headers.get('set-cookie')?.split(';')[0] };
  };
  const open = async (path = '/socket.io/?EIO=4&transport=websocket', headers = {}) => {
    const ws = new WebSocket(`${haproxy.url.replace('http', 'ws')}${path}`, { headers });
    ws.closed = false;
    ws.on('close', () => {
      ws.closed = true;
    });
    ws.on('error', () => {});
    ws.gateway = await new Promise((resolve, reject) => ws.once('message', (data) => resolve(data.toString())).once('error', reject));
    return ws;
  };

  it('spreads new WebSockets by the number that are open', async () => {
    const sockets = [];
    for (let i = 0; i < 9; i += 1) sockets.push(await open());
    const count = (name) => sockets.filter((ws) => ws.gateway === name && !ws.closed).length;
    assert.deepEqual(['g1', 'g2', 'g3'].map(count), [3, 3, 3]);
    const left = sockets.filter((ws) => ws.gateway === 'g2');
    left.forEach((ws) => ws.close());
    await until('them to be closed', () => left.every((ws) => ws.closed));
    await sleep(100);
    for (let i = 0; i < 3; i += 1) assert.equal((sockets[9 + i] = await open()).gateway, 'g2');
    sockets.forEach((ws) => ws.terminate());
  });

  it('keeps a session that began with a poll on its gateway, upgrade included', async () => {
    for (let i = 0; i < 6; i += 1) {
      const first = await get(POLL);
      assert.match(first.cookie, /^SYNCCHAT_GATEWAY=g[123]$/);
      for (let poll = 0; poll < 4; poll += 1) {
        assert.equal((await get(`${POLL}&sid=x`, { cookie: first.cookie })).body, first.body);
      }
      const ws = await open('/socket.io/?EIO=4&transport=websocket&sid=x', { cookie: first.cookie });
      assert.equal(ws.gateway, first.body);
      ws.terminate();
    }
  });

  it('leaves the WebSockets of a draining gateway where they are, and sends it nothing more', async () => {
    const first = await get(POLL);
    const draining = gateways.find((gateway) => gateway.name === first.body);
    const ws = await open('/socket.io/?EIO=4&transport=websocket&sid=x', { cookie: first.cookie });
    draining.state.ready = false;
    await until('it to be down', async () => (await status(draining.name)) === 'DOWN');
    // Another one passes this on to it.
    const stray = await get(`${POLL}&sid=x`, { cookie: first.cookie });
    assert.equal(stray.status, 200);
    assert.notEqual(stray.body, draining.name);
    const again = await get(POLL, { cookie: first.cookie });
    assert.notEqual(again.body, draining.name);
    assert.ok(again.cookie && again.cookie !== first.cookie, 'with a cookie of its own');
    for (let i = 0; i < 6; i += 1) {
      assert.notEqual((await get(POLL)).body, draining.name);
      assert.notEqual((await get('/api/openapi.json')).body, draining.name);
      const fresh = await open();
      assert.notEqual(fresh.gateway, draining.name);
      fresh.terminate();
    }
    ws.send('still here');
    const echo = await new Promise((resolve) => ws.once('message', resolve));
    assert.equal(echo.toString(), 'still here');
    assert.equal(ws.closed, false);
    ws.terminate();
  });

  it('takes a handshake that a gateway refuses to another one, so that nobody sees it', async () => {
    gateways[0].state.refuses = true;
    gateways[1].state.refuses = true;
    for (let i = 0; i < 12; i += 1) {
      const polled = await get(POLL);
      assert.deepEqual([polled.status, polled.body], [200, 'g3']);
      const ws = await open();
      assert.equal(ws.gateway, 'g3');
      ws.terminate();
    }
  });

  it('takes the sessions of a dead gateway to another one at once, to be refused or begin anew', async () => {
    const first = await get(POLL);
    const dead = gateways.findIndex((gateway) => gateway.name === first.body);
    await gateways[dead].stop();
    try {
      const began = Date.now();
      const anew = await get(POLL, { cookie: first.cookie });
      assert.equal(anew.status, 200);
      assert.notEqual(anew.body, first.body);
      for (let i = 0; i < 6; i += 1) assert.equal((await get('/api/openapi.json')).status, 200);
      assert.ok(Date.now() - began < scaled(500), `${Date.now() - began} ms`);
      const stray = await get(`${POLL}&sid=x`, { cookie: first.cookie });
      assert.equal(stray.status, 200);
      assert.notEqual(stray.body, first.body);
      const posted = await fetch(`${haproxy.url}${POLL}&sid=x`, { method: 'POST', body: '4', headers: { cookie: first.cookie } });
      assert.equal(posted.status, 200);
      assert.ok(Date.now() - began < scaled(3_000), `${Date.now() - began} ms`);
    } finally {
      // The ports are gone: begin anew for the tests that follow.
      await haproxy.stop();
      gateways[dead] = await standIn(first.body);
      haproxy = await startHaproxy(gateways);
    }
  });

  it('tells gateways the address of the client, whatever the client claims', async () => {
    const claims = { 'x-forwarded-for': '203.0.113.9', forwarded: 'for=203.0.113.9', 'x-syncchat-forwarded': 'v1' };
    await get('/api/users/me', claims);
    const [{ headers }] = gateways.flatMap(({ state }) => state.seen);
    assert.equal(headers['x-forwarded-for'], '127.0.0.1');
    assert.equal(headers.forwarded, undefined);
    assert.equal(headers['x-syncchat-forwarded'], undefined);
    assert.equal(headers['x-forwarded-proto'], 'http');
  });

  it('holds one address to its rate of requests', async () => {
    const strict = await startHaproxy(gateways, { FRONT_ADDRESS_REQUESTS: '20' });
    try {
      const answers = [];
      for (let i = 0; i < 30; i += 1) answers.push(await fetch(`${strict.url}/api/users/me`));
      const codes = answers.map((answer) => answer.status);
      assert.deepEqual([codes.filter((code) => code === 200).length, codes.at(-1)], [20, 429]);
      assert.equal(answers.at(-1).headers.get('retry-after'), '10');
      assert.equal((await answers.at(-1).json()).error.code, 'rate_limited');
    } finally {
      await strict.stop();
    }
  });

  it('holds one address to its number of connections', async () => {
    const strict = await startHaproxy(gateways, { FRONT_ADDRESS_CONNECTIONS: '5' });
    const sockets = [];
    const url = `${strict.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`;
    const attempt = () =>
      new Promise((resolve) => {
        const ws = new WebSocket(url);
        sockets.push(ws);
        ws.once('open', () => resolve(true)).on('error', () => resolve(false));
      });
    try {
      for (let i = 0; i < 5; i += 1) assert.equal(await attempt(), true);
      assert.equal(await attempt(), false);
      sockets[0].terminate();
      await until('a place to be free', attempt);
    } finally {
      sockets.forEach((ws) => ws.terminate());
      await strict.stop();
    }
  });

  it('shows its statistics and its metrics', async () => {
    assert.match(await (await fetch(`${haproxy.stats}/`)).text(), /Statistics Report/);
    const metrics = await (await fetch(`${haproxy.stats}/metrics`)).text();
    assert.match(metrics, /haproxy_server_status\{proxy="websockets",server="g3",state="UP"\} 1/);
  });
});
