// One gateway whose clock is wrong: others' dates, lists and log-ins stay as they are, and what a wrong
// clock has left behind heals.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { MongoClient } from 'mongodb';
import { startClock } from '../harness/clock.mjs';
import { startMongod } from '../harness/mongod.mjs';
import { startNode } from '../harness/node.mjs';
import { ask, converse, device, person, rest, say } from '../harness/people.mjs';
import { sleep, until } from '../harness/process.mjs';
import { startRedis } from '../harness/redis.mjs';
import { scaled } from '../harness/speed.mjs';

const DAY_MS = 86_400_000;
// What a node and this test may differ, and how long a message may take.
const NOW_MS = 60_000;

const isNow = (date) => assert.ok(Math.abs(Date.parse(date) - Date.now()) < NOW_MS, `${date} is not now`);
const readiness = async (node) => {
  const answer = await fetch(`${node.admin}/readyz`);
  return { status: answer.status, why: await answer.text() };
};

describe('a gateway whose clock is wrong', () => {
  const ends = [];
  const later = (end) => ends.unshift(end);
  let mongo;
  let shared;
  let good;
  let other;
  let clock;
  let x;
  let y;
  before(async () => {
    mongo = await startMongod();
    later(() => mongo.stop());
    const redis = await startRedis();
    later(() => redis.stop());
    shared = {
      store: mongo.url('syncchat'),
      backplane: redis.url,
      'jwt-secret': 'the fleet of the tests has a secret of its own',
    };
    good = await startNode({ ...shared, 'node-id': 'good' });
    later(() => good.stop());
    clock = await startClock();
    later(() => clock.remove());
    other = await startNode({ ...shared, 'node-id': 'other' }, { through: clock.through });
    later(() => other.stop());
    [x, y] = [await person(good, 'x'), await person(good, 'y')];
  });
  after(async () => {
    for (const end of ends) await end();
  });

  const post = (node, id, content) => rest(node.url, x.token).post(`/conversations/${id}/messages`, { content });

  it('is not ready, writes nothing that bears a time, and comes back once it is right', { timeout: scaled(120_000) }, async () => {
    const { id } = await converse(x, [y], 'group', 'the room');
    const quiet = await converse(x, [y], 'group', 'the other');
    const first = await post(other, id, 'while all is well');
    assert.equal(first.status, 201);
    isNow(first.data.message.createdAt);

    await clock.set('+1d');
    // The node does not know that its clock was set until it is asked for the time.
    const refused = await post(other, id, 'a day ahead');
    assert.deepEqual([refused.status, refused.data.error?.code], [503, 'unavailable']);
    const { why } = await until('the node to see it', async () => {
      const ready = await readiness(other);
      return ready.status === 503 && ready;
    });
    assert.match(why, /clock/);
    const offset = (await other.metrics()).get('syncchat_clock_offset_seconds');
    assert.ok(Math.abs(offset - DAY_MS / 1_000) < NOW_MS / 1_000, `${offset} s`);

    const there = rest(other.url, x.token);
    const { message } = first.data;
    for (const answer of [
      await post(other, id, 'still a day ahead'),
      await there.patch(`/messages/${message.id}`, { content: 'edited' }),
      await there.delete(`/messages/${message.id}`),
      await there.post('/conversations', { type: 'group', participants: [y.id], title: 'a day ahead' }),
      await there.post('/auth/refresh', { refreshToken: x.refreshToken }),
      await there.post('/auth/login', { login: x.username, password: x.password }),
      await there.post('/files', { name: 'a', size: 1, contentType: 'text/plain' }),
    ]) {
      const { method, url } = answer.config;
      assert.equal(answer.status, 503, `${method} ${url}: ${JSON.stringify(answer.data)}`);
    }
    assert.equal((await there.get(`/conversations/${id}/messages`)).data.messages.length, 1, 'it can be read');
    const socket = await device(other, x, { reconnection: false });
    assert.equal((await ask(socket, 'mark_read', { conversationId: id, seq: 1 })).ok, true, 'a cursor bears no time');
    assert.equal((await ask(socket, 'send_msg', { conversationId: id, content: 'x' })).error.code, 'unavailable');

    const said = await post(good, id, 'by the good node');
    isNow(said.data.message.createdAt);
    await post(good, quiet.id, 'the newest of all');
    const list = await y.api.get('/conversations');
    assert.deepEqual(list.data.conversations.map((c) => c.title), ['the other', 'the room']);

    await clock.set('+0');
    const written = await until('the node to write again', async () => {
      const answer = await post(other, id, 'right again');
      return answer.status === 201 && answer.data.message;
    });
    isNow(written.createdAt);
    await until('it to be ready', async () => (await readiness(other)).status === 200);
    assert.equal(socket.connected, true, 'its sockets stay');
    socket.disconnect();
  });

  it('ends no log-in, however far ahead it is', { timeout: scaled(60_000) }, async () => {
    const ahead = await startClock('+40d');
    const node = await startNode({ ...shared, 'node-id': 'ahead' }, { through: ahead.through, ready: false });
    try {
      const { why } = await until('the node to serve', async () => {
        const ready = await readiness(node);
        return !ready.why.startsWith('starting') && ready;
      });
      assert.match(why, /clock/);
      // Its sweep of tokens begins when it serves.
      await sleep(500);
      const refreshed = await rest(good.url).post('/auth/refresh', { refreshToken: y.refreshToken });
      assert.equal(refreshed.status, 200);
      const socket = await device(node, y, { reconnection: false });
      socket.disconnect();
    } finally {
      await node.stop();
      await ahead.remove();
    }
  });

  it('is outlived by the rooms that an earlier release let it spoil', { timeout: scaled(60_000) }, async () => {
    const { id } = await converse(x, [y], 'group', 'spoilt');
    const sound = await converse(x, [y], 'group', 'sound');
    const spoilt = (await post(good, id, 'to be dated ahead')).data.message;
    const client = await new MongoClient(mongo.url('syncchat')).connect();
    try {
      const tomorrow = new Date(Date.now() + DAY_MS);
      const { ObjectId } = await import('mongodb');
      const database = client.db();
      await database.collection('messages').updateOne({ _id: new ObjectId(spoilt.id) }, { $set: { createdAt: tomorrow } });
      await database.collection('conversations').updateOne({ _id: new ObjectId(id) }, { $set: { updatedAt: tomorrow } });
    } finally {
      await client.close();
    }
    // A node that has not seen the room before, and one that has.
    const began = new Date().toISOString();
    for (const node of [other, good, other, good]) {
      const answer = await post(node, id, 'after it');
      assert.equal(answer.status, 201);
      isNow(answer.data.message.createdAt);
    }
    await post(good, sound.id, 'the newest of all');
    const list = await y.api.get('/conversations');
    assert.deepEqual(list.data.conversations.slice(0, 2).map((c) => c.title), ['sound', 'spoilt']);
    const page = await y.api.get(`/conversations/${id}/messages`, { params: { since: began } });
    assert.deepEqual(page.data.messages.slice(-4).map((message) => message.seq), [2, 3, 4, 5]);
    const socket = await device(good, x);
    isNow((await say(socket, id, 'on a socket')).createdAt);
    socket.disconnect();
  });
});
