// What has no place in a conversation's log, while Redis is away or one gateway is cut off from it:
// new conversations and members are found within 2 s, everything else is told once all are back.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet, total } from '../harness/fleet.mjs';
import { ask, converse, device, person, rest, say } from '../harness/people.mjs';
import { HOST, sleep, until } from '../harness/process.mjs';
import { startProxy } from '../harness/proxy.mjs';
import { scaled } from '../harness/speed.mjs';

// The contract's word, and what a busy machine with two cores may add to it.
const AWAY_MS_MAX = 2_000 + 500;
const RETURN_MS_MAX = 5_000;

describe('a fleet that cannot hear one another', () => {
  let fleet;
  let proxy;
  const open = [];
  before(async () => {
    fleet = await startFleet({
      flagsOf: async (i, { redis }) => {
        if (i !== 2) return {};
        proxy = await startProxy(redis.port);
        return { backplane: `redis://${HOST}:${proxy.port}` };
      },
    });
    await reached();
  });
  after(async () => {
    open.forEach((socket) => socket.disconnect());
    await fleet?.stop();
    await proxy?.stop();
  });
  const reached = () =>
    until('every node to reach redis', async () => (await total(fleet.nodes, 'syncchat_backplane_connected')) === 3, 15_000);
  const join = async (i, who, options) => {
    const socket = await device(fleet.node(i), who, options);
    open.push(socket);
    return socket;
  };
  const created = (socket, id) => socket.of('conversation_created').filter((c) => (c.conversation ?? c).id === id).length;

  for (const [what, leave, back] of [
    ['redis is killed', () => fleet.redis.kill(), () => fleet.redis.restart()],
    ['redis is stopped', () => fleet.redis.signal('SIGSTOP'), () => fleet.redis.signal('SIGCONT')],
    ['one gateway is cut off', () => proxy.cut(), () => proxy.heal()],
  ]) {
    it(`finds new members at once, and tells of everything else later: ${what}`, { timeout: scaled(60_000) }, async () => {
      const [ann, bob, eve] = [await person(fleet.node(0)), await person(fleet.node(1)), await person(fleet.node(2))];
      const dan = await person(fleet.node(0));
      const { id } = await converse(ann, [bob, eve]);
      const [a, b, e] = [await join(0, ann), await join(1, bob), await join(2, eve)];
      const d = await join(2, dan, { reconnection: false });
      const first = await say(a, id, 'frist');
      for (const socket of [b, e]) await socket.hears('receive_msg', (m) => m.id === first.id);
      await sleep(1_000);

      await leave();
      await sleep(200);
      const fresh = await converse(ann, [bob, dan], 'group', 'made while away');
      const added = await ann.api.post(`/conversations/${id}/participants`, { userId: dan.id });
      assert.ok([200, 201, 204].includes(added.status));
      // What the answers took is the machine's affair; the promise begins with them.
      const began = Date.now();
      await until('dan to be told of both', () => created(d, fresh.id) + created(d, id) >= 2, 10_000);
      const told = Date.now() - began;
      const welcome = await say(a, fresh.id, 'welcome');
      const said = Date.now();
      await d.hears('receive_msg', (m) => m.id === welcome.id);
      const heard = Date.now() - said;

      await ask(a, 'edit_msg', { messageId: first.id, content: 'first' });
      await ask(a, 'mark_read', { conversationId: id, seq: 1 });
      await ann.api.patch(`/conversations/${id}`, { title: 'renamed' });
      const asked = (await ask(a, 'presence', { userIds: [bob.id, eve.id] })).presence.map((p) => p.status);
      const revoking = rest(fleet.node(0).url);
      await revoking.post('/auth/refresh', { refreshToken: dan.refreshToken });
      await revoking.post('/auth/refresh', { refreshToken: dan.refreshToken });
      await sleep(1_500);
      await back();
      await reached();

      const returned = Date.now();
      for (const socket of [e, ...(what.startsWith('redis') ? [b] : [])]) {
        await socket.hears('msg_edited', (m) => m.id === first.id && m.content === 'first', RETURN_MS_MAX);
        await socket.hears('msg_status', (s) => s.userId === ann.id && s.seq === 1, RETURN_MS_MAX);
        await socket.hears('conversation_updated', (c) => (c.conversation ?? c).title === 'renamed', RETURN_MS_MAX);
      }
      await until('dan to be thrown out', () => !d.connected, RETURN_MS_MAX);
      const whole = Date.now() - returned;
      await sleep(1_500);
      console.log(`${what}: told of a membership after ${told} ms, its first message ${heard} ms; the rest ${whole} ms after the return`);
      assert.ok(told <= scaled(AWAY_MS_MAX) && heard <= scaled(AWAY_MS_MAX), `${told} ms, ${heard} ms`);
      assert.deepEqual(asked, ['online', 'online'], 'people on other gateways');
      for (const socket of [b, e]) {
        assert.equal(socket.of('msg_edited').length, 1, 'edited once');
        assert.equal(socket.of('conversation_updated').length, 1, 'renamed once');
        assert.deepEqual(socket.of('presence').filter((p) => p.status === 'offline' && p.userId !== dan.id), []);
      }
      assert.equal(created(b, fresh.id), 1, 'told once');
      assert.deepEqual([created(d, fresh.id), created(d, id)], [1, 1], 'told once');
    });
  }

  it('shows the people of a gateway that was taken for dead again, once it is back', { timeout: scaled(60_000) }, async () => {
    const [ann, eve] = [await person(fleet.node(0)), await person(fleet.node(2))];
    await converse(ann, [eve]);
    const [a] = [await join(0, ann), await join(2, eve)];
    const told = () => a.of('presence').filter((p) => p.userId === eve.id).map((p) => p.status);
    await until('eve to be there', () => told().at(-1) === 'online');
    // One that is only cut off notes in the store that it lives; one that stands still cannot.
    fleet.node(2).signal('SIGSTOP');
    try {
      await until('its people to be taken for gone', () => told().at(-1) === 'offline', 20_000);
    } finally {
      fleet.node(2).signal('SIGCONT');
    }
    const back = Date.now();
    await until('them to be shown again', () => told().at(-1) === 'online', 20_000);
    console.log(`shown again ${Date.now() - back} ms after it went on`);
    await reached();
    await sleep(4_000);
    assert.deepEqual(told(), ['online', 'offline', 'online']);
    assert.equal((await ask(a, 'presence', { userIds: [eve.id] })).presence[0].status, 'online');
  });
});
