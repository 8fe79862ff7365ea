import { describe, expect, it } from 'vitest';

import { dayLabel, fileSize, lastSeenLabel, listTime, timeOfDay } from './format';

const now = new Date(2026, 6, 15, 10, 30).getTime();
const at = (day: number, hour = 12, month = 6, year = 2026) =>
  new Date(year, month, day, hour).getTime();

describe('days', () => {
  it.each([
    [at(15, 0), 'Today'],
    [at(15, 23), 'Today'],
    [at(14, 23), 'Yesterday'],
    [at(14, 0), 'Yesterday'],
    [at(12), 'Sunday'],
    [at(8), 'July 8'],
    [at(15, 12, 6, 2025), 'July 15, 2025'],
  ])('%s is %s', (when, label) => expect(dayLabel(when, now)).toBe(label));

  it('count midnights, also where clocks change', () => {
    const after = new Date(2026, 2, 30, 0, 30).getTime();
    expect(dayLabel(new Date(2026, 2, 29, 23, 30).getTime(), after)).toBe('Yesterday');
    expect(dayLabel(new Date(2026, 2, 28, 23, 30).getTime(), after)).not.toBe('Yesterday');
  });
});

it('is shorter in the list', () => {
  expect(listTime(at(15, 9), now)).toBe(timeOfDay(at(15, 9)));
  expect(listTime(at(14), now)).toBe('Yesterday');
  expect(listTime(at(12), now)).toBe('Sunday');
  expect(listTime(at(1), now)).toBe('7/1/26');
});

it.each([
  [now - 20_000, 'last seen just now'],
  [now - 5 * 60_000, 'last seen 5 min ago'],
  [at(14, 9), `last seen yesterday at ${timeOfDay(at(14, 9))}`],
  [at(8), 'last seen July 8'],
])('%s was %s', (when, label) => expect(lastSeenLabel(when, now)).toBe(label));

it.each([
  [0, '0 B'],
  [999, '999 B'],
  [1_000, '1.0 kB'],
  [15_400, '15 kB'],
  [50_000_000, '50 MB'],
])('%d bytes are %s', (bytes, text) => expect(fileSize(bytes)).toBe(text));
