import { describe, expect, it } from 'vitest';

import * as logs from './log';
import type { Log } from './log';
import { message, messages } from './testing';

const seqs = (log: Log) => log.messages.map(({ seq }) => seq);
/** A window that holds these messages, the first of them being the first there is. */
const holding = (...held: number[]) =>
  logs.refresh(logs.openLog(0, null), messages(...held), (held[0] ?? 1) > 1);

describe('a log', () => {
  it('reaches back to what is new, or holds enough of it', () => {
    const log = holding(41, 42, 43);
    expect([39, 40, 41].map((read) => logs.reachesBack(log, read))).toEqual([false, true, true]);
    expect(logs.reachesBack(logs.prepend(log, [], false), 0)).toBe(true);
    const much = Array.from({ length: logs.REACH_MAX }, (_, index) => index + 100);
    expect(logs.reachesBack(holding(...much.slice(1)), 7)).toBe(false);
    expect(logs.reachesBack(holding(...much), 7)).toBe(true);
  });

  it('starts with the newest message, if that is known', () => {
    expect(logs.openLog(7, message(7))).toMatchObject({ from: 7, to: 7, hasOlder: true });
    expect(logs.openLog(7, null)).toMatchObject({ from: 8, to: 7, hasOlder: true });
    expect(logs.openLog(0, null)).toMatchObject({ from: 1, to: 0, hasOlder: false });
    expect(logs.openLog(1, message(1))).toMatchObject({ hasOlder: false });
  });

  it('keeps messages in the order of seq, each once, however they come', () => {
    let log = logs.openLog(0, null);
    for (const seq of [2, 1, 3, 2, 5, 4, 5]) log = logs.insert(log, message(seq));
    expect(seqs(log)).toEqual([1, 2, 3, 4, 5]);
    expect(log.to).toBe(5);
  });

  it('has a gap while a message waits for the one above it', () => {
    const ahead = logs.insert(holding(1, 2), message(4));
    expect(logs.hasGap(ahead)).toBe(true);
    expect(ahead.to).toBe(2);
    const closed = logs.insert(ahead, message(3));
    expect(logs.hasGap(closed)).toBe(false);
    expect(closed.to).toBe(4);
  });

  it('believes the server that a hole is all there is', () => {
    // Removed by 3 and added again by 50: what lies between is not mine to see.
    const log = logs.append(logs.insert(holding(1, 2, 3), message(51)), messages(50, 51), 51);
    expect(seqs(log)).toEqual([1, 2, 3, 50, 51]);
    expect(logs.hasGap(log)).toBe(false);
  });

  it('advances only to the end of a page when there is more', () => {
    const log = logs.append(holding(1), messages(2, 3), 3);
    expect(log.to).toBe(3);
  });

  it('does not take messages older than its window', () => {
    const log = holding(10, 11);
    expect(logs.insert(log, message(4))).toBe(log);
    expect(logs.replace(log, message(4))).toBe(log);
  });

  it('puts a page in front, and knows when there is nothing before it', () => {
    const first = logs.prepend(holding(5, 6), messages(3, 4), true);
    expect([seqs(first), first.from, first.hasOlder]).toEqual([[3, 4, 5, 6], 3, true]);
    const all = logs.prepend(first, messages(1, 2), false);
    expect([seqs(all), all.from, all.hasOlder]).toEqual([[1, 2, 3, 4, 5, 6], 1, false]);
  });

  it('joins a fresh page to what it holds where they meet', () => {
    const log = logs.refresh({ ...holding(1, 2, 3), stale: true }, messages(3, 4, 5), true);
    expect([seqs(log), log.from, log.to, log.stale]).toEqual([[1, 2, 3, 4, 5], 1, 5, false]);
  });

  it('starts over where a fresh page may leave a hole, but keeps what is newer', () => {
    const held = logs.insert(holding(1, 2), message(12));
    const log = logs.refresh(held, messages(10, 11), true);
    expect([seqs(log), log.from, log.to, log.hasOlder]).toEqual([[10, 11, 12], 10, 12, true]);
  });

  it('lets go of old messages, and knows that they are there', () => {
    const log = logs.trim(holding(1, 2, 3, 4), 2);
    expect([seqs(log), log.from, log.to, log.hasOlder]).toEqual([[3, 4], 3, 4, true]);
    expect(logs.trim(log, 2)).toBe(log);
    expect(seqs(logs.prepend(log, messages(1, 2), false))).toEqual([1, 2, 3, 4]);
  });

  it('takes the later of two copies, and never lowers a receipt', () => {
    const edited = message(1, { content: 'new', edited: true, updatedAt: Number.MAX_SAFE_INTEGER });
    const log = logs.insert(logs.insert(holding(1), edited), message(1, { status: 'read' }));
    expect(log.messages[0]).toMatchObject({ content: 'new', edited: true, status: 'read' });
    const later = logs.insert(log, { ...edited, status: 'sent' });
    expect(later.messages[0]?.status).toBe('read');
  });
});

describe('unread', () => {
  it('counts what others said after my cursor', () => {
    let log = holding(1, 2, 3);
    log = logs.insert(log, message(4, { sender: 'me' }));
    log = logs.insert(log, message(5, { deleted: true }));
    log = logs.insert(log, message(6, { kind: 'system' }));
    log = logs.insert(log, message(7));
    expect(logs.unreadAfter(log, 2, 'me')).toBe(2);
    expect(logs.unreadAfter(log, 7, 'me')).toBe(0);
  });

  it('is unknown where the window does not reach back to the cursor', () => {
    expect(logs.unreadAfter(holding(10, 11), 3, 'me')).toBeNull();
    expect(logs.unreadAfter(holding(10, 11), 9, 'me')).toBe(2);
  });
});

it.each([
  ['sent', undefined, 'sent'],
  ['sent', { delivered: 4, read: 0 }, 'sent'],
  ['sent', { delivered: 5, read: 0 }, 'delivered'],
  ['delivered', { delivered: 5, read: 5 }, 'read'],
  ['read', undefined, 'read'],
] as const)('a message that says %s, with cursors %o, is %s', (status, cursors, expected) => {
  expect(logs.statusOf(message(5, { status }), cursors)).toBe(expected);
});
