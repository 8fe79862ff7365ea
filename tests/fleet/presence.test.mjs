// Who is online in a fleet: seen from other gateways, over several devices, after a gateway was
// killed, and after Redis was away.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet, total } from '../harness/fleet.mjs';
import { ask, converse, device, person } from '../harness/people.mjs';
import { HOST, sleep, until } from '../harness/process.mjs';
import { startProxy } from '../harness/proxy.mjs';
import { scaled } from '../harness/speed.mjs';

const GONE_MS_MAX = 10_000;
/** The same where only Redis knew who was there: a silent node is waited for. */
const SETTLED_MS_MAX = 25_000;
/** How long somebody who is connected may be shown offline. */
const GHOST_MS_MAX = 5_000;

describe('presence across gateways', () => {
  let fleet;
  const open = [];
  let network;
  const reached = () =>
    until('redis to be reached', async () => (await total(fleet.nodes, 'syncchat_backplane_connected')) === 3, 15_000);
  before(async () => {
    fleet = await startFleet({
      flagsOf: async (i, { redis }) => {
        // The last node reaches Redis by a network of its own.
        if (i !== 2) return {};
        network = await startProxy(redis.port);
        return { backplane: `redis://${HOST}:${network.port}` };
      },
    });
    await reached();
  });
  after(async () => {
    open.forEach((socket) => socket.disconnect());
    await fleet?.stop();
    await network?.stop();
  });
  const join = async (i, who, options) => {
    const socket = await device(fleet.node(i), who, options);
    open.push(socket);
    return socket;
  };
  const pair = async () => {
    const [ann, bob] = [await person(fleet.node(0)), await person(fleet.node(1))];
    await converse(ann, [bob]);
    return [ann, bob];
  };
  const told = (socket, who) => socket.of('presence').filter((p) => p.userId === who.id).map((p) => p.status);
  const asked = async (socket, who) => (await ask(socket, 'presence', { userIds: [who.id] })).presence[0];
  const shows = (socket, who, status, ms) => until(`${status} to be told`, () => told(socket, who).at(-1) === status, ms);
  /** Ann's socket, who sees Bob and Eve: both are on the last node, Eve on another one too. */
  const lastNode = async () => {
    const [ann, bob] = await pair();
    const eve = await person(fleet.node(1));
    await converse(ann, [eve]);
    const a = await join(0, ann);
    await join(2, bob, { reconnection: false });
    await join(2, eve, { reconnection: false });
    await join(1, eve);
    await shows(a, bob, 'online');
    await shows(a, eve, 'online');
    return { a, bob, eve };
  };

  it('tells of the first device and of the last, and of no other', async () => {
    const [ann, bob] = await pair();
    const a = await join(0, ann);
    assert.equal((await asked(a, bob)).status, 'offline');
    const b1 = await join(1, bob);
    await shows(a, bob, 'online');
    const b2 = await join(2, bob);
    await sleep(300);
    b1.disconnect();
    await sleep(1_000);
    assert.deepEqual(told(a, bob), ['online']);
    assert.equal((await asked(a, bob)).status, 'online');
    b2.disconnect();
    await shows(a, bob, 'offline');
    assert.deepEqual(told(a, bob), ['online', 'offline']);
    const now = await asked(a, bob);
    assert.equal(now.status, 'offline');
    assert.ok(Date.now() - Date.parse(now.lastSeen) < scaled(10_000), `last seen ${now.lastSeen}`);
  });

  it('tells those who came with a crowd of whom comes right after them', async () => {
    const [ann, bob] = await pair();
    const crowd = await Promise.all(Array.from({ length: 24 }, () => person(fleet.node(0))));
    await Promise.all(crowd.map((who) => join(0, who)));
    const a = await join(0, ann);
    assert.equal((await asked(a, bob)).status, 'offline');
    await join(1, bob);
    await shows(a, bob, 'online', 5_000);
  });

  it('shows the same on every gateway, by sockets and by REST', async () => {
    const [ann, bob] = await pair();
    await join(2, bob);
    for (const i of [0, 1, 2]) assert.equal((await asked(await join(i, ann), bob)).status, 'online');
    const profile = (await ann.api.get(`/users/${bob.id}`)).data.user;
    assert.equal(profile.status ?? profile.presence?.status, 'online');
  });

  it('takes the people of a killed gateway offline within 10 s, and nobody else', async () => {
    const { a, bob, eve } = await lastNode();
    const began = Date.now();
    await fleet.node(2).kill();
    try {
      await shows(a, bob, 'offline', GONE_MS_MAX + 2_000);
      const took = Date.now() - began;
      console.log(`people of a killed gateway offline after ${took} ms`);
      assert.ok(took < scaled(GONE_MS_MAX), `${took} ms`);
      assert.equal((await asked(a, bob)).status, 'offline');
      await sleep(1_500);
      assert.equal(told(a, bob).filter((status) => status === 'offline').length, 1, 'told once');
      assert.deepEqual(told(a, eve), ['online']);
      assert.equal((await asked(a, eve)).status, 'online');
    } finally {
      await fleet.node(2).restart();
    }
    await join(2, bob);
    await shows(a, bob, 'online');
  });

  it('shows the people of a gateway as they are while only its way to redis is cut', { timeout: scaled(120_000) }, async () => {
    const [ann, bob] = await pair();
    const a = await join(0, ann);
    await join(2, bob, { reconnection: false });
    await shows(a, bob, 'online');
    const before = told(a, bob).length;
    /** The longest time in `ms` that Ann, when she asked, was shown Bob as offline. */
    const longestGhost = async (ms) => {
      let [longest, since] = [0, null];
      for (const end = Date.now() + ms; Date.now() < end; await sleep(200)) {
        const { status } = await asked(a, bob);
        since = status === 'online' ? null : (since ?? Date.now());
        if (since !== null) longest = Math.max(longest, Date.now() - since);
      }
      return longest;
    };
    network.cut();
    try {
      const ghost = await longestGhost(15_000);
      console.log(`shown offline for ${ghost} ms while cut off for 15 s`);
      assert.ok(ghost < scaled(GHOST_MS_MAX), `${ghost} ms`);
      assert.deepEqual(told(a, bob).slice(before), [], 'and nobody was told so');
      assert.ok((await total(fleet.nodes, 'syncchat_backplane_nodes_spared_total')) > 0);
      const began = Date.now();
      await fleet.node(2).kill();
      await shows(a, bob, 'offline', GONE_MS_MAX + 2_000);
      const took = Date.now() - began;
      console.log(`people of a gateway killed while it was cut off offline after ${took} ms`);
      assert.ok(took < scaled(GONE_MS_MAX), `${took} ms`);
      assert.equal((await asked(a, bob)).status, 'offline');
    } finally {
      network.heal();
      await fleet.node(2).restart();
    }
    await reached();
    await join(2, bob);
    await shows(a, bob, 'online');
    network.cut();
    try {
      assert.ok((await longestGhost(9_000)) < scaled(GHOST_MS_MAX), 'cut off for 9 s');
    } finally {
      network.heal();
    }
    await reached();
    assert.ok((await longestGhost(5_000)) < scaled(GHOST_MS_MAX), 'and after that');
    assert.equal((await asked(a, bob)).status, 'online');
  });

  for (const [what, cut, heal] of [
    ['one gateway is cut off from it', async () => network.cut(), async () => network.heal()],
    ['it is dead for all', () => fleet.redis.kill(), () => fleet.redis.restart()],
  ]) {
    it(`tells who comes and goes while redis cannot say so: ${what}`, { timeout: scaled(120_000) }, async () => {
      const [ann, bob] = await pair();
      const [eve, dan] = [await person(fleet.node(1)), await person(fleet.node(0))];
      await converse(ann, [bob, eve, dan], 'group', 'all');
      const a = await join(0, ann);
      // Bob is to leave one of two gateways, Eve the only one she is at.
      await join(1, bob);
      const [b, e] = [await join(2, bob, { reconnection: false }), await join(2, eve, { reconnection: false })];
      await shows(a, eve, 'online');
      await shows(a, bob, 'online');
      const before = told(a, bob).length;
      const timed = async (socket, who, status, ms) => {
        const began = Date.now();
        await shows(socket, who, status, ms);
        return Date.now() - began;
      };
      const took = {};
      const far = await join(2, await person(fleet.node(2)), { reconnection: false });
      await cut();
      try {
        const d = await join(2, dan, { reconnection: false });
        took.came = await timed(a, dan, 'online', GONE_MS_MAX);
        assert.equal((await asked(a, dan)).status, 'online');
        b.disconnect();
        e.disconnect();
        took.left = await timed(a, eve, 'offline', GONE_MS_MAX + 5_000);
        assert.equal((await asked(a, eve)).status, 'offline');
        const back = await join(0, eve, { reconnection: false });
        took.cameThere = await timed(d, eve, 'online', GONE_MS_MAX);
        back.disconnect();
        took.leftThere = await timed(d, eve, 'offline', GONE_MS_MAX + 5_000);
        d.disconnect();
        took.leftAgain = await timed(a, dan, 'offline', GONE_MS_MAX + 5_000);
        assert.deepEqual(told(a, bob).slice(before).filter((status) => status === 'offline'), [], 'bob has another device');
        assert.equal((await asked(a, bob)).status, 'online');
      } finally {
        await heal();
      }
      console.log(`${what}: ${JSON.stringify(took)} ms`);
      await reached();
      far.disconnect();
      await sleep(4_000);
      assert.equal((await asked(a, bob)).status, 'online');
      for (const who of [dan, eve]) assert.equal((await asked(a, who)).status, 'offline');
      assert.deepEqual([told(a, dan), told(a, eve).slice(-2)], [['online', 'offline'], ['online', 'offline']]);
      for (const [which, ms] of Object.entries(took)) {
        assert.ok(ms < scaled(which.startsWith('came') ? GHOST_MS_MAX : GONE_MS_MAX), `${which}: ${ms} ms`);
      }
    });
  }

  it('takes the people of a gateway offline that is killed while redis is dead', { timeout: scaled(120_000) }, async () => {
    const { a, bob, eve } = await lastNode();
    const before = told(a, eve).length;
    await fleet.redis.kill();
    try {
      await sleep(6_000);
      const began = Date.now();
      await fleet.node(2).kill();
      await shows(a, bob, 'offline', GONE_MS_MAX + 2_000);
      const took = Date.now() - began;
      console.log(`people of a gateway killed while redis is dead offline after ${took} ms`);
      assert.ok(took < scaled(GONE_MS_MAX), `${took} ms`);
      assert.equal((await asked(a, bob)).status, 'offline');
      assert.deepEqual(told(a, eve).slice(before).filter((status) => status === 'offline'), [], 'eve has another device');
    } finally {
      await fleet.redis.restart();
      await fleet.node(2).restart();
    }
    await reached();
    await sleep(4_000);
    assert.equal((await asked(a, bob)).status, 'offline');
    assert.equal((await asked(a, eve)).status, 'online');
  });

  for (const returns of [true, false]) {
    const name = `takes the people of a gateway offline that dies with redis, which ${returns ? 'comes back empty' : 'stays away'}`;
    it(name, { timeout: scaled(120_000) }, async () => {
      const { a, bob, eve } = await lastNode();
      const before = told(a, eve).length;
      const began = Date.now();
      await Promise.all([fleet.redis.kill(), fleet.node(2).kill()]);
      try {
        if (returns) await fleet.redis.restart();
        await shows(a, bob, 'offline', SETTLED_MS_MAX);
        console.log(`${name}: after ${Date.now() - began} ms`);
        assert.equal((await asked(a, bob)).status, 'offline');
        assert.equal((await asked(a, eve)).status, 'online');
      } finally {
        if (!returns) await fleet.redis.restart();
        await fleet.node(2).restart();
      }
      await reached();
      await sleep(4_000);
      assert.deepEqual(told(a, eve).slice(before), [], 'eve has another device');
      assert.equal((await asked(a, bob)).status, 'offline');
      assert.equal((await asked(a, eve)).status, 'online');
    });
  }

  it('keeps people online, and lets those who left be offline, whatever Redis did meanwhile', async () => {
    for (const [what, away] of [
      ['emptied', async () => fleet.redis.cli('flushall')],
      ['killed for 2 s', async () => {
        await fleet.redis.kill();
        await sleep(2_000);
        await fleet.redis.restart();
      }],
      ['stopped for 9 s', async () => {
        fleet.redis.signal('SIGSTOP');
        await sleep(9_000);
        fleet.redis.signal('SIGCONT');
      }],
    ]) {
      const [ann, bob] = await pair();
      const eve = await person(fleet.node(1));
      await converse(ann, [eve]);
      const a = await join(0, ann);
      await join(1, bob);
      const leaving = await join(2, eve);
      await shows(a, bob, 'online');
      await shows(a, eve, 'online');
      const before = told(a, bob).length;
      const broken = away();
      await sleep(500);
      leaving.disconnect();
      await broken;
      await reached();
      await until(`eve to be gone, redis ${what}`, async () => (await asked(a, eve)).status === 'offline', GONE_MS_MAX);
      await until(`bob to be there, redis ${what}`, async () => (await asked(a, bob)).status === 'online', 5_000);
      await sleep(3_000);
      assert.equal((await asked(a, bob)).status, 'online', `redis ${what}`);
      assert.deepEqual(told(a, bob).slice(before), [], `nobody was told wrongly, redis ${what}`);
    }
  });
});
