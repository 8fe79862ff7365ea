// The order in which a test run begins its pieces.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { schedule } from './schedule.mjs';

/** Pieces that end when they are told to, and a record of what runs at each moment. */
function stage(pieces, cores, stopped) {
  const ends = new Map();
  const done = schedule(pieces, cores, (piece) => new Promise((resolve) => ends.set(piece.name, resolve)), stopped);
  return {
    done,
    running: () => [...ends.keys()].sort(),
    async end(name, verdict = 'ok') {
      ends.get(name)(verdict);
      ends.delete(name);
      await turn();
    },
  };
}

test('what is needed comes first, and what fits runs at once', async () => {
  const run = stage(
    [
      { name: 'idle', cores: 0.2, needs: ['build'] },
      { name: 'build', cores: 1 },
      { name: 'fetch', cores: 1 },
      { name: 'heavy', cores: 1, needs: ['build'] },
      { name: 'light', cores: 0.6, needs: ['build', 'fetch'] },
      { name: 'alone', cores: 2, needs: ['build'] },
    ],
    2,
  );
  assert.deepEqual(run.running(), ['build', 'fetch']);
  await run.end('build');
  assert.deepEqual(run.running(), ['fetch', 'idle']);
  await run.end('fetch');
  assert.deepEqual(run.running(), ['heavy', 'idle', 'light']);
  await run.end('idle');
  await run.end('heavy');
  assert.deepEqual(run.running(), ['light'], 'one that takes the whole machine waits for it');
  await run.end('light');
  assert.deepEqual(run.running(), ['alone']);
  await run.end('alone');
  assert.deepEqual([...(await run.done).values()], ['ok', 'ok', 'ok', 'ok', 'ok', 'ok']);
});

test('what takes more than the machine has runs by itself', async () => {
  const run = stage([{ name: 'a', cores: 8 }, { name: 'b', cores: 8 }], 2);
  assert.deepEqual(run.running(), ['a']);
  await run.end('a');
  assert.deepEqual(run.running(), ['b']);
  await run.end('b');
  assert.equal((await run.done).get('b'), 'ok');
});

test('what needs something that failed is not run, whatever is between them', async () => {
  const run = stage(
    [
      { name: 'tests', cores: 1, needs: ['programs'] },
      { name: 'programs', cores: 0, needs: ['build'] },
      { name: 'build', cores: 1 },
      { name: 'others', cores: 1 },
    ],
    2,
  );
  await run.end('build', 'FAILED');
  await run.end('others', 'FAILED');
  assert.deepEqual(Object.fromEntries(await run.done), {
    build: 'FAILED',
    others: 'FAILED',
    programs: 'not run',
    tests: 'not run',
  });
});

test('nothing begins once it is stopped', async () => {
  let stopped = false;
  const run = stage([{ name: 'a', cores: 1 }, { name: 'b', cores: 1, needs: ['a'] }], 2, () => stopped);
  stopped = true;
  await run.end('a', 'ended');
  assert.deepEqual([...(await run.done)], [['a', 'ended']]);
});
