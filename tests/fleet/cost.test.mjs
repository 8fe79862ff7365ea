// What a message costs Redis and each gateway, counted by Redis itself (docs/delivery.md has the
// formula).
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet, total } from '../harness/fleet.mjs';
import { converse, device, person, say } from '../harness/people.mjs';
import { sleep, until } from '../harness/process.mjs';
import { scaled, speed } from '../harness/speed.mjs';

const NODES = 3;
const BEAT_MS = 400;
const MESSAGES = 200;

describe('what a fleet costs', () => {
  let fleet;
  const open = [];
  before(async () => {
    fleet = await startFleet({ nodes: NODES });
    await until('redis to be reached', async () => (await total(fleet.nodes, 'syncchat_backplane_connected')) === NODES);
  });
  after(async () => {
    open.forEach((socket) => socket.disconnect());
    await fleet?.stop();
  });
  const join = async (i, who) => {
    const socket = await device(fleet.node(i), who);
    open.push(socket);
    return socket;
  };
  const published = async () => {
    const stats = await fleet.redis.cli('info', 'commandstats');
    return Number(/cmdstat_publish:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  };
  const heard = (i) => total([fleet.node(i)], 'syncchat_backplane_messages_total{direction="in"}');
  /** Bytes that Redis has sent so far. */
  const sent = async () => Number(/total_net_output_bytes:(\d+)/.exec(await fleet.redis.cli('info', 'stats'))[1]);
  /** What happens in a span without anybody doing anything. */
  const measured = async (run) => {
    const began = { at: Date.now(), published: await published(), sent: await sent() };
    await run();
    const ms = Date.now() - began.at;
    return { ms, published: (await published()) - began.published, bytes: (await sent()) - began.sent };
  };

  it('is one publication for a batch of messages, one delivery for each gateway that has a member, and none for others', { timeout: scaled(60_000) }, async () => {
    const [ann, bob] = [await person(fleet.node(0)), await person(fleet.node(1))];
    const { id } = await converse(ann, [bob]);
    const [a, b] = [await join(0, ann), await join(1, bob)];
    await say(a, id, 'warm');
    await b.hears('receive_msg');
    await sleep(2_000);

    const idle = await measured(() => sleep(5_000));
    const beats = (idle.published / idle.ms) * 1_000;
    const expected = (NODES * 1_000) / BEAT_MS;
    // Never more; fewer where the machine is too slow to beat in time.
    const fits = beats <= expected + 1 && beats >= (expected - 1) * speed;
    assert.ok(fits, `${beats} publications a second of an idle fleet, not ${expected}`);

    const before = [await heard(0), await heard(1), await heard(2)];
    const busy = await measured(async () => {
      for (let i = 0; i < MESSAGES; i += 1) await say(a, id, `m${i}`);
      await until('all at bob', () => b.received(id).length === MESSAGES + 1);
    });
    const hints = busy.published - (beats * busy.ms) / 1_000;
    const hearing = [(await heard(0)) - before[0], (await heard(1)) - before[1], (await heard(2)) - before[2]];
    console.log(
      `idle: ${beats.toFixed(1)} publications and ${((idle.bytes / idle.ms) * 1_000).toFixed(0)} bytes a second; ` +
        `${MESSAGES} messages: ${hints.toFixed(0)} publications, heard by the gateways ${hearing.join(', ')}, ` +
        `${((busy.bytes - (idle.bytes / idle.ms) * busy.ms) / MESSAGES).toFixed(0)} bytes from redis for each`,
    );
    // Sent one after the other, so that each is a batch of its own.
    assert.ok(Math.abs(hints - MESSAGES) <= MESSAGES * 0.05, `${hints} publications`);
    assert.deepEqual(hearing, [0, MESSAGES, 0]);
    const channel = (await fleet.redis.cli('pubsub', 'channels', `syncchat:{*}:c:${id}`)).split('\n');
    assert.equal(channel.length, 1);
    const listening = (await fleet.redis.cli('pubsub', 'numsub', channel[0])).split('\n')[1];
    assert.equal(Number(listening), 2, 'gateways that redis delivers the conversation to');
  });

  it('is one subscription while somebody is there', { timeout: scaled(60_000) }, async () => {
    const [ann, bob] = [await person(fleet.node(0)), await person(fleet.node(1))];
    const { id } = await converse(ann, [bob]);
    const subscribed = async () => {
      const channels = await fleet.redis.cli('pubsub', 'channels', `syncchat:{*}:c:${id}`);
      if (!channels) return 0;
      return Number((await fleet.redis.cli('pubsub', 'numsub', channels)).split('\n')[1]);
    };
    assert.equal(await subscribed(), 0);
    const sockets = [await join(0, ann), await join(0, ann), await join(2, bob)];
    await until('two gateways to listen', async () => (await subscribed()) === 2);
    sockets[2].disconnect();
    // A room without readers is kept for some seconds, for those who come back.
    await until('one to stop', async () => (await subscribed()) === 1, 20_000);
    sockets[1].disconnect();
    await sleep(500);
    assert.equal(await subscribed(), 1, 'one is still there');
  });

  it('is no more looks for what a killed gateway may say, once it is known to be dead', { timeout: scaled(60_000) }, async () => {
    const [ann, bob] = [await person(fleet.node(0)), await person(fleet.node(1))];
    await converse(ann, [bob]);
    await join(0, ann);
    await join(1, bob);
    const living = [fleet.node(0), fleet.node(1)];
    const looks = () => total(living, 'syncchat_membership_looks_total');
    const whole = async () => {
      const before = await looks();
      await sleep(4_000);
      return (await looks()) === before;
    };
    await until('all to be heard', whole, 20_000);
    const before = await looks();
    const began = Date.now();
    await fleet.node(2).kill();
    try {
      await sleep(5_000);
      let during;
      const looking = async () => (during = (await looks()) - before) >= 4;
      await until('looks while it may live', looking, 1_000);
      await until('the looks to end', whole, 20_000);
      console.log(
        `a gateway killed and not replaced: ${during} looks by two others in 5 s, ${(await looks()) - before} in all; ` +
          `seen to have ended ${Date.now() - began} ms after the kill`,
      );
    } finally {
      await fleet.node(2).restart();
    }
  });
});
