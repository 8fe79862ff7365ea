import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { memoryDatabase, type Database } from './database';
import { Refused, Unreachable } from './errors';
import { SESSION_KEY, refreshByFetch, renewKept } from './renewal';

const me = { id: 'me', username: 'me', email: 'me@example.org', avatar: null };
const pair = (refreshToken: string) => ({
  user: { id: 'me' },
  accessToken: 'access',
  refreshToken,
  expiresAt: '2026-01-31T12:15:00.000Z',
});
const refused = { error: { code: 'unauthorized', message: 'not valid' } };

let database: Database;
const server = vi.fn<typeof fetch>();

beforeEach(async () => {
  vi.stubGlobal('fetch', server);
  database = memoryDatabase();
  await database.put('session', SESSION_KEY, { refreshToken: 'r0', user: me });
});

afterEach(() => {
  vi.unstubAllGlobals();
  server.mockReset();
});

const answer = (status: number, body: unknown) =>
  server.mockResolvedValueOnce(Response.json(body, { status }));
const asked = () => server.mock.calls.map(([, init]) => JSON.parse(init?.body as string) as object);
const kept = async () =>
  ((await database.get('session', SESSION_KEY)) as { refreshToken: string } | undefined)
    ?.refreshToken;

describe('a renewal by fetch', () => {
  it('is repeated with the same token until the server has decided', async () => {
    answer(503, { error: { code: 'unavailable', message: 'not now' } });
    server.mockRejectedValueOnce(new TypeError('network'));
    answer(429, { error: { code: 'rate_limited', message: 'too fast' } });
    server.mockResolvedValueOnce(new Response('<html>', { status: 502 }));
    for (let tried = 1; tried <= 4; tried += 1) {
      await expect(renewKept(database, refreshByFetch)).rejects.toBeInstanceOf(Unreachable);
      expect(await kept()).toBe('r0');
    }
    answer(200, pair('r1'));
    expect(await renewKept(database, refreshByFetch)).toMatchObject({ accessToken: 'access' });
    expect(await kept()).toBe('r1');
    expect(asked()).toEqual(Array.from({ length: 5 }, () => ({ refreshToken: 'r0' })));
  });

  it('ends the log-in when the server refuses what is kept', async () => {
    answer(401, refused);
    await expect(renewKept(database, refreshByFetch)).rejects.toBeInstanceOf(Refused);
    expect(await kept()).toBeUndefined();
  });

  it('leaves what another tab has kept meanwhile to the server', async () => {
    server.mockImplementationOnce(async () => {
      await database.put('session', SESSION_KEY, { refreshToken: 'r7', user: me });
      return Response.json(refused, { status: 401 });
    });
    answer(200, pair('r8'));
    expect(await renewKept(database, refreshByFetch)).toMatchObject({ userId: 'me' });
    expect(asked()).toEqual([{ refreshToken: 'r0' }, { refreshToken: 'r7' }]);
    expect(await kept()).toBe('r8');
  });

  it('does not keep a token of somebody who signed out, or gave way to another', async () => {
    const other = { refreshToken: 'theirs', user: { ...me, id: 'other' } };
    for (const now of [undefined, other]) {
      await database.put('session', SESSION_KEY, { refreshToken: 'r0', user: me });
      server.mockImplementationOnce(async () => {
        await database.put('session', SESSION_KEY, now);
        return Response.json(pair('r1'));
      });
      await expect(renewKept(database, refreshByFetch)).rejects.toBeInstanceOf(Refused);
      expect(await kept()).toBe(now?.refreshToken);
    }
  });
});
