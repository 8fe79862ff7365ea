// The store fails while people stay logged in and log out: whatever a refresh was told, it can be
// repeated; and a log-out that was refused ends its sockets once the store answers, though nobody repeats
// it. On both stores.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { it } from 'node:test';
import { startMongod } from '../harness/mongod.mjs';
import { startNode } from '../harness/node.mjs';
import { ask, device, person, rest } from '../harness/people.mjs';
import { until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';

/** MongoDB's code for a full disk. */
const OUT_OF_DISK_SPACE = 14_031;
/** Its code for a write that was done and is not known to be on most members. */
const WRITE_CONCERN_TIMEOUT = 64;
const WRITES = ['insert', 'update', 'findAndModify', 'commitTransaction'];

const PEOPLE = 6;

/** People with a log-in and a socket each; `fault` begins, each refreshes and some log out; `heal` ends it. */
async function stayThrough(node, fault, heal) {
  const api = rest(node.url);
  const people = await Promise.all(Array.from({ length: PEOPLE }, () => person(node)));
  const sockets = await Promise.all(people.map((who) => device(node, who, { reconnection: false })));
  const leaver = await person(node, 'leaver');
  const leaving = await device(node, leaver, { reconnection: false });
  try {
    await fault();
    const during = await Promise.all(people.map((who) => api.post('/auth/refresh', { refreshToken: who.refreshToken })));
    assert.ok(during.every(({ status }) => status === 503 || status === 200), JSON.stringify(during.map(({ status }) => status)));
    assert.ok(during.some(({ status }) => status === 503), 'the fault was felt');
    const out = await api.post('/auth/logout', { refreshToken: leaver.refreshToken });
    assert.equal(out.status, 503);
    assert.ok(Number(out.headers['retry-after']) >= 1);
    await heal();

    await leaving.hears('server_closing', ({ reason }) => reason === 'kicked', 15_000);
    await until('the socket of the one who left to end', () => leaving.disconnected);
    assert.equal((await api.post('/auth/refresh', { refreshToken: leaver.refreshToken })).status, 401);

    for (const [i, who] of people.entries()) {
      let token = who.refreshToken;
      for (let round = 0; round < 3; round += 1) {
        const answer = await until('the store to answer', async () => {
          const tried = await api.post('/auth/refresh', { refreshToken: token });
          return tried.status !== 503 && tried;
        }, 15_000);
        assert.equal(answer.status, 200, `person ${i}, round ${round}: ${JSON.stringify(answer.data)}`);
        // Who was answered before gets the same once more.
        if (round === 0 && during[i].status === 200) assert.equal(answer.data.refreshToken, during[i].data.refreshToken);
        token = answer.data.refreshToken;
      }
      assert.ok((await ask(sockets[i], 'sync', { all: true })).ok, 'the socket stayed');
    }
  } finally {
    [...sockets, leaving].forEach((socket) => socket.disconnect());
  }
}

it('sqlite on a disk that is full for a while', { timeout: scaled(60_000) }, async () => {
  // Files may not grow beyond a bound that is set while the node runs.
  const node = await startNode({ 'access-ttl': '2h' }, { through: ['bash', '-c', 'trap "" XFSZ; exec "$@"', '-'] });
  const bound = (bytes) => execFileSync('prlimit', ['--pid', String(node.pid()), `--fsize=${bytes}:unlimited`]);
  try {
    await stayThrough(node, () => bound(4_096), () => bound('unlimited'));
  } finally {
    await node.stop();
  }
});

it('mongodb that refuses writes', { timeout: scaled(90_000) }, async () => {
  const mongod = await startMongod();
  let node;
  try {
    node = await startNode({ store: mongod.url('syncchat'), 'access-ttl': '2h' });
    const full = { failCommands: WRITES, errorCode: OUT_OF_DISK_SPACE };
    await stayThrough(node, () => mongod.fail(full), () => mongod.heal());
  } finally {
    await node?.stop();
    await mongod.stop();
  }
});

it('mongodb that does not say whether it has written', { timeout: scaled(90_000) }, async () => {
  const mongod = await startMongod();
  let node;
  try {
    node = await startNode({ store: mongod.url('syncchat'), 'access-ttl': '2h' });
    const unsaid = {
      failCommands: WRITES,
      writeConcernError: { code: WRITE_CONCERN_TIMEOUT, errmsg: 'waiting for replication timed out' },
    };
    await stayThrough(node, () => mongod.fail(unsaid), () => mongod.heal());
  } finally {
    await node?.stop();
    await mongod.stop();
  }
});
