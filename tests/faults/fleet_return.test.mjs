// A gateway is killed, and all its clients return to the others at once: everybody is at head again,
// by connection state recovery alone, and the store is read for the rooms, not for each client.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { MongoClient } from 'mongodb';
import { startFleet, total } from '../harness/fleet.mjs';
import { device, person, rest } from '../harness/people.mjs';
import { sleep, until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';

// Some hundred in a short run, the 3,000 in `make chaos`.
const LONG = Number(process.env.SYNCCHAT_CHAOS_SECONDS ?? 0) > 0;
const CLIENTS = Number(process.env.SYNCCHAT_FLEET_SOCKETS ?? (LONG ? 3_000 : 600));
const ROOMS = 50;
const MISSED = 3;

describe('a crowd that returns at once', () => {
  let fleet;
  let mongo;
  before(async () => {
    fleet = await startFleet();
    mongo = await MongoClient.connect(fleet.mongo.url('syncchat'));
  });
  after(async () => {
    await mongo?.close();
    await fleet?.stop();
  });

  /** What MongoDB is asked for while `work` is done, by collection, and pages of the log by room. */
  const reads = async (work) => {
    const db = mongo.db('syncchat');
    await db.createCollection('system.profile', { capped: true, size: 64 << 20 });
    await db.command({ profile: 2 });
    const result = await work();
    await db.command({ profile: 0 });
    const asked = await db
      .collection('system.profile')
      .find({ op: { $in: ['query', 'command', 'getmore'] } })
      .toArray();
    const counts = {};
    let pages = 0;
    for (const { command } of asked) {
      const of = command.find ?? command.aggregate;
      if (typeof of !== 'string' || of.startsWith('system.')) continue;
      counts[of] = (counts[of] ?? 0) + 1;
      if (of === 'messages' && command.pipeline) pages += (JSON.stringify(command.pipeline).match(/"\$limit"/g) ?? []).length;
      else if (of === 'messages') pages += 1;
    }
    return { result, counts, pages };
  };

  it(`${CLIENTS} clients of ${ROOMS} rooms`, { timeout: scaled(300_000) }, async () => {
    const [first, ...others] = fleet.nodes;
    const people = [];
    const each = async (count, work, width = 20) => {
      let next = 0;
      const worker = async () => {
        while (next < count) {
          next += 1;
          await work(next - 1);
        }
      };
      await Promise.all(Array.from({ length: width }, worker));
    };
    await each(CLIENTS, async (i) => {
      people[i] = await person(first, 'crowd');
    });
    const rooms = [];
    await each(ROOMS, async (r) => {
      const members = people.filter((_, i) => i % ROOMS === r);
      const made = await members[0].api.post('/conversations', {
        type: 'group',
        title: `room ${r}`,
        participants: members.slice(1).map(({ id }) => id),
      });
      assert.equal(made.status, 201, JSON.stringify(made.data));
      rooms[r] = { id: made.data.conversation.id, speaker: members[0] };
    });
    const speak = async (node, content) =>
      each(ROOMS, async (r) => {
        const { id, speaker } = rooms[r];
        const answer = await rest(node.url, speaker.token).post(`/conversations/${id}/messages`, { content });
        assert.equal(answer.status, 201);
      });
    const sockets = [];
    try {
      await each(CLIENTS, async (i) => {
        const socket = await device(first, people[i], { reconnectionDelay: 500, reconnectionDelayMax: 1_000 });
        sockets[i] = socket;
        // Counted as they come: who looks through all that thousands heard is busy with nothing else.
        socket.messages = socket.received().length;
        socket.on('receive_msg', () => {
          socket.messages += 1;
        });
        socket.on('disconnect', () => {
          socket.io.uri = others[i % others.length].url;
        });
      });
      await speak(others[0], 'before');
      await until('all to hear it', () => sockets.every((s) => s.messages === 1), 30_000);
      const { result, counts, pages } = await reads(async () => {
        await first.kill();
        const began = Date.now();
        await Promise.all(Array.from({ length: MISSED }, (_, i) => speak(others[1], `missed ${i}`)));
        const said = Date.now() - began;
        const whole = (s) => s.messages === 1 + MISSED;
        await until('all to be whole', () => sockets.every((s) => s.connected && whole(s)), 120_000).catch(async (error) => {
          const held = {};
          for (const s of sockets) {
            const state = `${s.connected ? 'there' : 'away'} with ${s.messages}`;
            held[state] = (held[state] ?? 0) + 1;
          }
          throw new Error(`${error.message}; ${JSON.stringify(held)}`, { cause: error });
        });
        return { said, whole: Date.now() - began };
      });
      const arrivals = '{what="arrivals"}';
      const [asked, read] = await Promise.all(
        ['asked_total', 'total'].map((name) => total(others, `syncchat_store_reads_${name}${arrivals}`)),
      );
      const recovered = sockets.filter((s) => s.recovered).length;
      const slowest = await Promise.all(others.map(async (node) => {
        const began = Date.now();
        await fetch(`${node.admin}/healthz`);
        return Date.now() - began;
      }));
      console.log(
        `${CLIENTS} clients of ${ROOMS} rooms: ${recovered} recovered, whole ${result.whole} ms after the kill` +
          ` (the last word was said after ${result.said} ms); pages of the log read: ${pages};` +
          ` questions to the store: ${JSON.stringify(counts)}; who comes was asked for ${asked} times, in ${read} reads;` +
          ` healthz ${slowest} ms`,
      );
      console.log(`refills ${await total(others, 'syncchat_refills_total')}, gaps ${await total(others, 'syncchat_backplane_gaps_total')}`);
      await sleep(300);
      for (const socket of sockets) {
        assert.deepEqual(socket.received().map(({ seq }) => seq), [1, 2, 3, 4]);
      }
      assert.equal(recovered, CLIENTS);
      assert.ok(asked >= CLIENTS, `who comes is asked for in turn: ${asked}`);
      // How many share a read is a matter of how fast they come: a crowd does.
      if (CLIENTS >= 3_000) assert.ok(2 * read <= asked, `${read} reads for ${asked}`);
      assert.ok(pages <= 2 * ROOMS, `${pages} pages`);
    } finally {
      sockets.forEach((socket) => socket.disconnect());
      await first.restart();
    }
  });
});
