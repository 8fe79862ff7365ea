// A crowd on a fleet: rooms with somebody talking and somebody listening on every node, the verdict
// on their history, and the figures of one fault.
import assert from 'node:assert/strict';
import { converse, person, rest, wholeLog } from '../harness/people.mjs';
import { sleep, until } from '../harness/process.mjs';
import { Listener, Talker, delays, judge, spread } from './workload.mjs';

/**
 * Makes `rooms` rooms of `members` people, in which all talk at once, and for each of them a quiet
 * one, where only they say a word now and then: nothing follows a lost word there soon that would show
 * it missing. Person i talks on `at(i)` and listens, on a device of their own, on `at(i + 1)`.
 */
export async function gather(at, { rooms = 2, members = 3, pauseMs = 150, quietMs = 600, options = {} } = {}) {
  const people = [];
  for (let i = 0; i < members; i += 1) people.push(await person(at(i), 'crowd'));
  const talkers = [];
  const ids = [];
  for (let r = 0; r < rooms; r += 1) {
    const { id } = await converse(people[0], people.slice(1), 'group', `room ${r}`);
    ids.push(id);
    for (const [i, who] of people.entries()) {
      talkers.push(new Talker(at(i), who, id, `r${r}-p${i}`, { pauseMs, ...options }));
    }
  }
  for (const [i, who] of people.entries()) {
    const { id } = await converse(people[0], people.slice(1), 'group', `quiet room ${i}`);
    ids.push(id);
    talkers.push(new Talker(at(i), who, id, `q${i}`, { pauseMs: quietMs, ...options }));
  }
  const listeners = people.map((who, i) => new Listener(at(i + 1), who, ids, options));
  const close = () => {
    [...talkers, ...listeners].forEach((one) => one.close());
  };
  try {
    await Promise.all(listeners.map((listener) => listener.open()));
    await until('all who talk to be connected', () => talkers.every((talker) => talker.socket.connected));
  } catch (error) {
    close();
    throw error;
  }
  let talk = Promise.resolve();
  const crowd = {
    people,
    rooms: ids,
    talkers,
    listeners,
    acked: () => talkers.reduce((sum, talker) => sum + talker.acked.size, 0),
    begin() {
      talk = Promise.all(talkers.map((talker) => talker.run()));
      // Looked at in `end`; until then a refusal is not an unhandled one.
      talk.catch(() => {});
    },
    /** Waits until everybody who talks was answered once more: the fleet accepts again. */
    async answered(ms = 30_000) {
      const before = new Map(talkers.map((talker) => [talker, talker.acked.size]));
      await until('everybody to be answered', () => talkers.every((talker) => talker.acked.size > before.get(talker)), ms);
    },
    /** Ends the talk and judges it by the log as the last node tells it. */
    async end() {
      talkers.forEach((talker) => talker.stop());
      await talk;
      const reader = { api: rest(at(members - 1).url, people[0].token) };
      const verdict = { acked: 0, stored: 0, faults: [] };
      for (const id of ids) {
        const one = await judge(await wholeLog(reader, id), talkers, listeners, id);
        verdict.acked += one.acked;
        verdict.stored += one.stored;
        for (const fault of one.faults) if (!verdict.faults.includes(fault)) verdict.faults.push(fault);
      }
      return verdict;
    },
    /** How long messages acknowledged from `from` to `to` took to each listener. */
    delays: (from = 0, to = Infinity) =>
      ids
        .flatMap((id) => delays(talkers, listeners, id))
        .filter(({ ackedAt }) => ackedAt >= from && ackedAt < to),
    /** How many milliseconds after `moment` the last message acknowledged before it was held by all. */
    wholeAfter: (moment) =>
      Math.max(0, ...crowd.delays(0, moment).map(({ arrival }) => arrival - moment)),
    /** Nobody was ever disconnected: what arrived, arrived without a reconnect. */
    assertStayed() {
      const moved = [...talkers, ...listeners].filter((one) => one.connections !== 1);
      const why = moved.flatMap(({ partings }) => partings).join('; ');
      assert.equal(moved.length, 0, `${moved.length} sockets did not stay connected: ${why}`);
      assert.ok(listeners.every((listener) => listener.syncs === 1), 'nobody had to ask again');
    },
    /** The longest time that somebody connected all along was shown offline to somebody else. */
    longestGhostMs() {
      let longest = 0;
      for (const { presence } of listeners) {
        const since = new Map();
        for (const { userId, status, at: moment } of presence) {
          if (status === 'offline' && !since.has(userId)) since.set(userId, moment);
          if (status === 'online' && since.has(userId)) {
            longest = Math.max(longest, moment - since.get(userId));
            since.delete(userId);
          }
        }
        for (const moment of since.values()) longest = Math.max(longest, Date.now() - moment);
      }
      return longest;
    },
    close,
  };
  return crowd;
}

/**
 * Runs one fault under load: talk before it, `fault()` (which breaks and heals, and returns what it
 * wants to add to the line of figures), talk after it. Prints the figures and fails on any that is
 * not as promised.
 */
export async function underLoad(name, crowd, fault, { stays = false, beforeMs = 500, afterMs = 1_500 } = {}) {
  crowd.begin();
  await sleep(beforeMs);
  await crowd.answered();
  const began = Date.now();
  const said = await fault();
  const healed = Date.now();
  await crowd.answered();
  const accepting = Date.now() - healed;
  await sleep(afterMs);
  const verdict = await crowd.end();
  const during = crowd.delays(began, healed).map(({ ms }) => ms);
  const slowest = Math.max(...crowd.talkers.map((talker) => talker.longestWaitMs));
  const after = crowd.delays(healed).map(({ ms }) => ms);
  const { lost, doubled, disordered } = count(verdict.faults);
  console.log(
    [
      `${name}: ${verdict.acked} acknowledged, ${lost} lost, ${doubled} doubled, ${disordered} out of order`,
      `fault ${healed - began} ms, accepting again ${accepting} ms later, whole ${crowd.wholeAfter(healed)} ms later`,
      `delay during: ${spread(during)}; after: ${spread(after)}; slowest answer ${slowest} ms`,
      ...(said ? [said] : []),
    ].join('\n    '),
  );
  assert.deepEqual(verdict.faults, []);
  assert.ok(verdict.acked > 50, `the load was real: ${verdict.acked}`);
  if (stays) crowd.assertStayed();
  return { during, after };
}

/** Faults by kind, for a line of figures. */
function count(faults) {
  const of = (pattern) => faults.filter((fault) => pattern.test(fault)).length;
  return {
    lost: of(/is lost|waited .* a listener/),
    doubled: of(/stored twice|two contents/),
    disordered: of(/overtook|stands at|holds seq|after .* on one connection|a hole/),
  };
}
