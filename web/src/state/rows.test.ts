import { describe, expect, it } from 'vitest';

import { GROWTH_MAX, growth } from '../test-growth';
import * as logs from './log';
import type { Message } from './model';
import { prependedRows, rowsOf } from './rows';
import { message, pending } from './testing';

/** Local times, so that the days are the same wherever the test runs. */
const at = (day: number, hour: number, minute = 0) =>
  new Date(2026, 0, day, hour, minute).getTime();

const logOf = (held: Message[], more = false) => logs.refresh(logs.openLog(0, null), held, more);
const types = (held: Message[], unreadAfter: number | null = null) =>
  rowsOf(logOf(held), [], 'me', unreadAfter).map(({ type }) => type);

describe('rows', () => {
  it('have a line between days', () => {
    const held = [
      message(1, { createdAt: at(1, 23, 59) }),
      message(2, { createdAt: at(2, 0, 0) }),
      message(3, { createdAt: at(2, 23, 59) }),
    ];
    expect(types(held)).toEqual(['start', 'day', 'message', 'day', 'message', 'message']);
  });

  it('say where it begins only if nothing is before', () => {
    expect(rowsOf(logOf([message(5)], true), [], 'me', null)[0]?.type).toBe('more');
  });

  it('have one line where the new ones begin', () => {
    const held = [message(1), message(2, { sender: 'me' }), message(3), message(4)];
    expect(types(held, 1)).toEqual([
      'start',
      'day',
      'message',
      'message',
      'unread',
      'message',
      'message',
    ]);
    expect(types(held, 4)).not.toContain('unread');
  });

  it('group what one person says in one go', () => {
    const held = [
      message(1, { createdAt: at(1, 12, 0) }),
      message(2, { createdAt: at(1, 12, 1) }),
      message(3, { createdAt: at(1, 12, 30) }),
      message(4, { createdAt: at(1, 12, 31), sender: 'me' }),
    ];
    const runs = rowsOf(logOf(held), [], 'me', null).flatMap((row) =>
      row.type === 'message' ? [[row.first, row.last]] : [],
    );
    expect(runs).toEqual([
      [true, false],
      [false, true],
      [true, true],
      [true, true],
    ]);
  });

  it('show what waits below, once, and under the name it will keep', () => {
    const waiting = [pending('a'), pending('b')];
    const before = rowsOf(logOf([message(1)]), waiting, 'me', null);
    const arrived = message(2, { sender: 'me', clientMsgId: 'a' });
    const now = rowsOf(logOf([message(1), arrived]), waiting, 'me', null);
    expect(before.slice(-2).map(({ type }) => type)).toEqual(['pending', 'pending']);
    expect(now.slice(-2).map(({ type }) => type)).toEqual(['message', 'pending']);
    expect(now.map(({ key }) => key)).toEqual(before.map(({ key }) => key));
  });

  it('tell older ones in front from newer ones behind', () => {
    const two = rowsOf(logOf([message(5), message(6)], true), [], 'me', null);
    const older = rowsOf(
      logOf([message(3), message(4), message(5), message(6)], true),
      [],
      'me',
      null,
    );
    const newer = rowsOf(logOf([message(5), message(6), message(7)], true), [], 'me', null);
    expect(prependedRows(two, older)).toBe(2);
    expect(prependedRows(two, newer)).toBe(0);
    expect(prependedRows([], two)).toBe(0);
  });

  it('of ten thousand messages take ten times as long as of one thousand, not a hundred times', () => {
    const rows = (length: number) => {
      const log = logOf(Array.from({ length }, (_, index) => message(index + 1)));
      return () => rowsOf(log, [], 'me', null);
    };
    expect(rows(10_000)().length).toBeGreaterThan(10_000);
    expect(growth(rows(1_000), rows(10_000))).toBeLessThan(GROWTH_MAX);
  });
});
