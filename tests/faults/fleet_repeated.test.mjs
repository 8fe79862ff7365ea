// A creation whose outcome is unknown, repeated under its name, at another node and at once: one group is
// made, every answer is of it, and everybody in it hears of it once, on the socket they had.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet } from '../harness/fleet.mjs';
import { device, person, rest, say } from '../harness/people.mjs';
import { until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';

/** MongoDB's code for a write that was done and is not known to be on most members. */
const WRITE_CONCERN_TIMEOUT = 64;

/** x and y on the first node, z on the second, each with a socket; x can ask both. */
async function gather(fleet) {
  const [x, y, z] = [await person(fleet.node(0), 'x'), await person(fleet.node(0), 'y'), await person(fleet.node(1), 'z')];
  const options = { reconnection: false };
  const sockets = [await device(fleet.node(0), x, options), await device(fleet.node(0), y, options), await device(fleet.node(1), z, options)];
  const apis = fleet.nodes.map((node) => rest(node.url, x.token));
  return { x, y, z, apis, sockets, close: () => sockets.forEach((socket) => socket.disconnect()) };
}

const titled = (title) => (event) => event.conversation.title === title;

/** That there is one group of this title, and that all its members have heard of it once, and hear what is said. */
async function assertOne({ x, sockets }, title, answers) {
  const ids = new Set(answers.map(({ status, data }) => {
    assert.equal(status, 201, JSON.stringify(data));
    return data.conversation.id;
  }));
  assert.equal(ids.size, 1);
  const [id] = ids;
  const { data } = await x.api.get('/conversations');
  assert.equal(data.conversations.filter((one) => one.title === title).length, 1);
  const { seq } = await say(sockets[0], id, 'are you there?');
  assert.equal(seq, 1);
  for (const socket of sockets.slice(1)) {
    await until('all to hear of it', () => socket.received(id).length === 1);
  }
  for (const socket of sockets) {
    assert.equal(socket.of('conversation_created').filter(titled(title)).length, 1, 'told once');
  }
}

const KINDS = {
  clientConversationId: (api, body, name) => api.post('/conversations', { ...body, clientConversationId: name }),
  'Idempotency-Key': (api, body, name) => api.post('/conversations', body, { headers: { 'Idempotency-Key': name } }),
};

describe('mongodb does not say whether it has made a group', () => {
  let fleet;
  let people;
  before(async () => {
    fleet = await startFleet({ nodes: 2 });
    people = await gather(fleet);
  });
  after(async () => {
    people?.close();
    await fleet?.stop();
  });

  for (const [kind, post] of Object.entries(KINDS)) {
    it(`repeated elsewhere under its ${kind}`, { timeout: scaled(60_000) }, async () => {
      const { y, z, apis } = people;
      const title = `unsaid ${kind}`;
      const body = { type: 'group', participants: [y.id, z.id], title };
      const writeConcernError = { code: WRITE_CONCERN_TIMEOUT, errmsg: 'waiting for replication timed out' };
      await fleet.mongo.fail({ failCommands: ['commitTransaction'], writeConcernError });
      const refused = await post(apis[0], body, kind);
      await fleet.mongo.heal();
      assert.equal(refused.status, 503);
      const answers = [];
      for (const api of [apis[1], apis[0]]) answers.push(await post(api, body, kind));
      await assertOne(people, title, answers);
      const other = await post(apis[1], { ...body, title: 'another' }, kind);
      assert.equal(other.status, 409);
      assert.deepEqual(Object.keys(other.data.error.fields), [kind]);
    });
  }
});

describe('the secondaries stand still while a group is made', () => {
  let fleet;
  let people;
  before(async () => {
    fleet = await startFleet({ nodes: 2, store: 'slowReplicaSet' });
    people = await gather(fleet);
  });
  after(async () => {
    people?.close();
    await fleet?.stop();
  });

  for (const pause of [4_000, 7_000]) {
    it(`for ${pause / 1_000} s, and both nodes are asked at once`, { timeout: scaled(180_000) }, async () => {
      const { y, z, apis } = people;
      const title = `paused ${pause}`;
      const body = { type: 'group', participants: [y.id, z.id], title };
      const thaw = await fleet.mongo.freezeSecondaries();
      const timer = setTimeout(thaw, pause);
      const first = [];
      try {
        const asked = apis.map(async (api) => {
          let answer = await KINDS.clientConversationId(api, body, title);
          first.push(answer.status);
          while (answer.status === 503) {
            // The primary may have stepped down meanwhile.
            await fleet.mongo.writable();
            answer = await KINDS.clientConversationId(api, body, title);
          }
          return answer;
        });
        const answers = await Promise.all(asked);
        console.log(`first answers: ${first}`);
        await assertOne(people, title, answers);
      } finally {
        clearTimeout(timer);
        thaw();
      }
    });
  }
});
