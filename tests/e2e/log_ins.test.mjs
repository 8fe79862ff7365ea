// Log-ins that last: a refresh whose answer is lost can be repeated, tabs that refresh at once all go on,
// a token used after its successor ends the log-in, and a log-out reaches sockets of nodes that hear
// nothing of it. On both stores.
import assert from 'node:assert/strict';
import net from 'node:net';
import { after, before, describe, it } from 'node:test';
import { startNode } from '../harness/node.mjs';
import { ask, device, person, rest } from '../harness/people.mjs';
import { HOST, until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';
import { openStore, storeNames } from '../harness/stores.mjs';
import { total } from '../harness/fleet.mjs';

const SECRET = 'two nodes that know one another by this alone';
/** What the contract gives a socket whose log-in was revoked without a word, and a busy machine. */
const UNHEARD_MS_MAX = 30_000;

/** Posts, and goes away before the answer is read, once the node has made it. */
async function postInVain(node, path, body) {
  const answered = () => total([node], 'syncchat_http_requests_total');
  const before = await answered();
  const text = JSON.stringify(body);
  const socket = net.connect(node.port, HOST);
  socket.pause();
  const head = [`POST /api${path} HTTP/1.1`, `Host: ${HOST}`, 'Content-Type: application/json', `Content-Length: ${text.length}`];
  socket.write(`${head.join('\r\n')}\r\n\r\n${text}`);
  await until('the node to answer', async () => (await answered()) > before);
  socket.resetAndDestroy();
}

for (const storeName of storeNames) {
  describe(`log-ins on ${storeName}`, () => {
    let store;
    let node;
    let api;
    /** Another log-in of the same person, with a socket of its own. */
    const logIn = async (who, on = node) => {
      const { status, data } = await rest(on.url).post('/auth/login', { login: who.username, password: who.password });
      assert.equal(status, 200, JSON.stringify(data));
      const socket = await device(on, { token: data.accessToken }, { reconnection: false });
      return { ...data, socket };
    };
    const refresh = (refreshToken) => api.post('/auth/refresh', { refreshToken });
    const isAlive = async (socket) => (await ask(socket, 'sync', { all: true })).ok;

    before(async () => {
      store = await openStore(storeName);
      node = await startNode({ 'jwt-secret': SECRET, 'access-ttl': '2h', ...store.flags });
      api = rest(node.url);
    });
    after(async () => {
      await node?.stop();
      await store?.stop();
    });

    it('go on when the answers to refreshes are lost', async () => {
      const ann = await person(node, 'lost');
      const session = await logIn(ann);
      let token = session.refreshToken;
      for (let round = 0; round < 3; round += 1) {
        await postInVain(node, '/auth/refresh', { refreshToken: token });
        await postInVain(node, '/auth/refresh', { refreshToken: token });
        const { status, data } = await refresh(token);
        assert.equal(status, 200, JSON.stringify(data));
        assert.notEqual(data.refreshToken, token);
        const renewed = await ask(session.socket, 'authenticate', { token: data.accessToken });
        assert.ok(renewed.ok, JSON.stringify(renewed));
        token = data.refreshToken;
      }
      assert.ok(await isAlive(session.socket));
      session.socket.disconnect();
    });

    it('go on in all tabs that refresh at once', async () => {
      const ann = await person(node, 'tabs');
      const session = await logIn(ann);
      let token = session.refreshToken;
      for (let round = 0; round < 3; round += 1) {
        const answers = await Promise.all(Array.from({ length: 8 }, () => refresh(token)));
        assert.deepEqual(answers.map(({ status }) => status), Array(8).fill(200));
        const [next, ...others] = new Set(answers.map(({ data }) => data.refreshToken));
        assert.deepEqual(others, [], 'all have one successor');
        token = next;
      }
      assert.ok(await isAlive(session.socket));
      session.socket.disconnect();
    });

    it('end when a token is used after its successor', async () => {
      const ann = await person(node, 'stolen');
      const [owner, other] = [await logIn(ann), await logIn(ann)];
      const next = await refresh(owner.refreshToken);
      const newest = await refresh(next.data.refreshToken);
      assert.equal(newest.status, 200);
      assert.equal((await refresh(owner.refreshToken)).status, 401);
      await owner.socket.hears('server_closing', ({ reason }) => reason === 'kicked');
      await until('the socket to end', () => owner.socket.disconnected);
      for (const token of [newest.data.refreshToken, next.data.refreshToken]) {
        assert.equal((await refresh(token)).status, 401);
      }
      assert.ok(await isAlive(other.socket), 'another log-in of the same person is untouched');
      other.socket.disconnect();
    });

    it('end with a log-out between two tries', async () => {
      const ann = await person(node, 'out');
      const session = await logIn(ann);
      await postInVain(node, '/auth/refresh', { refreshToken: session.refreshToken });
      for (let time = 0; time < 2; time += 1) {
        assert.equal((await api.post('/auth/logout', { refreshToken: session.refreshToken })).status, 204);
      }
      await session.socket.hears('server_closing', ({ reason }) => reason === 'kicked');
      assert.equal((await refresh(session.refreshToken)).status, 401);
    });

    it('begin once, when the answer to a registration is lost', async () => {
      const body = { username: `once-${storeName}`, email: `once-${storeName}@example.org`, password: 'correct horse 1' };
      await postInVain(node, '/auth/register', body);
      const again = await api.post('/auth/register', body);
      assert.equal(again.status, 201, JSON.stringify(again.data));
      assert.equal((await rest(node.url, again.data.accessToken).get('/users/me')).data.user.username, body.username);
      const wrong = await api.post('/auth/register', { ...body, password: 'another horse 1' });
      assert.equal(wrong.status, 409);
      assert.ok(wrong.data.error.fields.username);
    });

    it('end on a node that cannot hear of it, and cost little at rest', { timeout: scaled(90_000) }, async () => {
      // Each is a fleet of one, over the same store.
      const flags = store.mongod ? store.flags : { store: `sqlite:${node.dir}/data/syncchat.db` };
      const deaf = await startNode({ 'jwt-secret': SECRET, 'access-ttl': '2h', ...flags });
      try {
        const ann = await person(node, 'unheard');
        const [out, stays] = [await logIn(ann, deaf), await logIn(ann, deaf)];
        const reads = async () => {
          const isRead = ([key]) => key.startsWith('syncchat_store_call_seconds_count{') && key.includes('call="revoked_families"');
          return [...(await deaf.metrics())].filter(isRead).reduce((sum, [, value]) => sum + value, 0);
        };
        const [began, before] = [Date.now(), await reads()];
        assert.equal((await api.post('/auth/logout', { refreshToken: out.refreshToken })).status, 204);
        assert.ok(await isAlive(out.socket), 'it heard nothing');
        await out.socket.hears('server_closing', ({ reason }) => reason === 'kicked', UNHEARD_MS_MAX);
        await until('the socket to end', () => out.socket.disconnected);
        assert.ok(await isAlive(stays.socket));
        const spent = (await reads()) - before;
        console.log(`${storeName}: found after ${Date.now() - began} ms, ${spent} reads for log-ins`);
        assert.ok(spent >= 1 && spent <= 2, `${spent} reads in one interval`);
        assert.equal(await total([deaf], 'syncchat_revocations_found_total'), 1);
        stays.socket.disconnect();
      } finally {
        await deaf.stop();
      }
    });
  });
}
