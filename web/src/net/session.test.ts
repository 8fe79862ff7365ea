import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { memoryDatabase, type Database } from './database';
import { Refused, Unreachable } from './errors';
import { renewInPage } from './renewal';
import { Session } from './session';
import { Browser, settle } from './testing';

const START = Date.UTC(2026, 0, 31, 12);
const LIFE_MS = 15 * 60_000;
const user = {
  id: 'me',
  username: 'me',
  email: 'me@example.org',
  avatar: null,
  status: 'online' as const,
  lastSeen: null,
  createdAt: '2026-01-01T00:00:00.000Z',
};

/**
 * A server that rotates refresh tokens. A used one gives its successor again until that is used, and
 * is taken for theft afterwards.
 */
class Server {
  now = START;
  calls = 0;
  away = false;
  /** It does what it is asked, and its answers do not arrive. */
  unheard = false;
  revoked = false;
  repeats = 0;
  lifeMs = LIFE_MS;
  #valid = 'r0';
  #repeatable = '';
  #used = new Set<string>();

  issue(n: number) {
    this.#valid = `r${n}`;
    return {
      user,
      accessToken: `a${n}`,
      refreshToken: `r${n}`,
      expiresAt: new Date(this.now + this.lifeMs).toISOString(),
    };
  }

  async refresh(refreshToken: string) {
    await Promise.resolve();
    if (this.away) throw new Unreachable();
    this.calls += 1;
    const isRepeated = refreshToken === this.#repeatable;
    if (isRepeated) this.repeats += 1;
    else if (this.#used.has(refreshToken)) this.revoked = true;
    if (this.revoked || (refreshToken !== this.#valid && !isRepeated)) {
      throw new Refused({ code: 'unauthorized', message: 'bad refresh token' });
    }
    const successor = this.#valid;
    const pair = this.issue(this.calls);
    if (isRepeated) {
      pair.refreshToken = successor;
      this.#valid = successor;
    } else {
      this.#used.add(refreshToken);
      this.#repeatable = refreshToken;
    }
    if (this.unheard) throw new Unreachable();
    return { pair, serverNow: this.now };
  }

  readonly logout = vi.fn<(refreshToken: string) => Promise<void>>(() => Promise.resolve());
}

let server: Server;
let browser: Browser;
let database: Database;
/** How far this machine's clock is ahead of the server's. */
let skewMs = 0;

function open(tab = browser.tab()) {
  const now = () => server.now + skewMs;
  const refresh = (refreshToken: string) => server.refresh(refreshToken);
  const session = new Session(
    database,
    tab,
    renewInPage(database, tab, refresh, now),
    server.logout,
    now,
  );
  const events = { onToken: vi.fn(), onSignedOut: vi.fn(), onSignedIn: vi.fn() };
  session.listen(events);
  return { session, events };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'], shouldAdvanceTime: true });
  server = new Server();
  browser = new Browser();
  database = memoryDatabase();
  skewMs = 0;
});

afterEach(() => {
  vi.useRealTimers();
  sessionStorage.clear();
});

async function signedIn() {
  const tab = open();
  await tab.session.signIn(server.issue(0), server.now);
  return tab;
}

describe('a session', () => {
  it('gives the token it has while that is good', async () => {
    const { session } = await signedIn();
    expect(await session.token()).toBe('a0');
    server.now += LIFE_MS - 1_000;
    expect(await session.token()).toBe('a1');
  });

  it('renews once, however many ask', async () => {
    const { session } = await signedIn();
    server.now += LIFE_MS;
    const tokens = await Promise.all([session.token(), session.token(), session.renew('a0')]);
    expect([tokens, server.calls]).toEqual([['a1', 'a1', 'a1'], 1]);
  });

  it('renews by itself before the end, and says so', async () => {
    const { events } = await signedIn();
    server.now += LIFE_MS - 120_000;
    await vi.advanceTimersByTimeAsync(LIFE_MS - 120_000);
    expect(server.calls).toBe(1);
    expect(events.onToken).toHaveBeenLastCalledWith('a1');
  });

  it('renews a short life after two thirds of it', async () => {
    server.lifeMs = 3_000;
    await signedIn();
    await vi.advanceTimersByTimeAsync(1_900);
    expect(server.calls).toBe(0);
    await vi.advanceTimersByTimeAsync(200);
    expect(server.calls).toBe(1);
  });

  it('does not renew at each warning of a life shorter than the warning', async () => {
    server.lifeMs = 30_000;
    const { session } = await signedIn();
    await session.renewIfDue();
    expect(server.calls).toBe(0);
    server.now += 21_000;
    await session.renewIfDue();
    expect(server.calls).toBe(1);
  });

  it('counts by the server, whatever the clock of this machine says', async () => {
    skewMs = 3 * 3_600_000;
    const { session } = await signedIn();
    expect(await session.token()).toBe('a0');
    server.now += LIFE_MS - 1_000;
    expect(await session.token()).toBe('a1');
  });

  it('does not renew for a token that another request has already replaced', async () => {
    const { session } = await signedIn();
    await session.renew('a0');
    expect(await session.renew('a0')).toBe('a1');
    expect(server.calls).toBe(1);
  });

  it('survives a server that is away', async () => {
    const { session, events } = await signedIn();
    server.away = true;
    server.now += LIFE_MS;
    await expect(session.token()).rejects.toBeInstanceOf(Unreachable);
    server.away = false;
    expect(await session.token()).toBe('a1');
    expect(events.onSignedOut).not.toHaveBeenCalled();
  });

  it('repeats a renewal whose answer did not come', async () => {
    const { session, events } = await signedIn();
    for (let round = 0; round < 3; round += 1) {
      server.now += LIFE_MS;
      server.unheard = true;
      await expect(session.token()).rejects.toBeInstanceOf(Unreachable);
      await expect(session.token()).rejects.toBeInstanceOf(Unreachable);
      server.unheard = false;
      expect(await session.token()).toBe(`a${server.calls}`);
    }
    expect([server.repeats, server.revoked]).toEqual([6, false]);
    expect(events.onSignedOut).not.toHaveBeenCalled();
  });

  it('repeats it by itself', async () => {
    const { events } = await signedIn();
    server.unheard = true;
    server.now += LIFE_MS - 120_000;
    await vi.advanceTimersByTimeAsync(LIFE_MS - 120_000);
    await vi.advanceTimersByTimeAsync(5_000);
    expect(server.repeats).toBe(1);
    server.unheard = false;
    await vi.advanceTimersByTimeAsync(5_000);
    expect(events.onToken).toHaveBeenLastCalledWith('a3');
    expect(server.revoked).toBe(false);
  });

  it('ends when the server says so', async () => {
    const { session, events } = await signedIn();
    server.revoked = true;
    await expect(session.renew()).rejects.toBeInstanceOf(Refused);
    expect(events.onSignedOut).toHaveBeenCalledExactlyOnceWith('ended');
    expect(await open().session.restore()).toBeNull();
  });

  it('ends when the person says so, though the server is away', async () => {
    const { session, events } = await signedIn();
    server.logout.mockRejectedValue(new Unreachable());
    await session.signOut();
    expect(events.onSignedOut).toHaveBeenCalledExactlyOnceWith('asked');
    expect(server.logout).toHaveBeenCalledWith('r0');
    expect(session.user).toBeNull();
  });

  it('tells the server of its end until that answers', async () => {
    const { session } = await signedIn();
    server.logout.mockRejectedValueOnce(new Unreachable());
    server.logout.mockRejectedValueOnce(new Refused({ code: 'unavailable', message: 'not now' }));
    await session.signOut();
    await vi.advanceTimersByTimeAsync(5_000);
    expect(server.logout).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(server.logout.mock.calls).toEqual([['r0'], ['r0'], ['r0']]);
    expect(await database.all('session')).toEqual([]);
  });

  it('tells it from the next page, if this one ends before', async () => {
    const { session } = await signedIn();
    server.logout.mockRejectedValueOnce(new Unreachable());
    await session.signOut();
    server.logout.mockClear();
    expect(await open().session.restore()).toBeNull();
    await settle();
    expect(server.logout).toHaveBeenCalledExactlyOnceWith('r0');
    expect(await database.all('session')).toEqual([]);
  });
});

it('stays signed out, though a renewal was under way', async () => {
  const { session } = await signedIn();
  const renewal = session.renew();
  await session.signOut();
  await expect(renewal).rejects.toBeInstanceOf(Refused);
  expect(await database.get('session', 'current')).toBeUndefined();
});

describe('after a reload', () => {
  it('the same person is signed in, with the token of the page before', async () => {
    const { session } = await signedIn();
    session.handOver();
    const next = open();
    expect(await next.session.restore()).toMatchObject({ id: 'me', email: 'me@example.org' });
    expect(await next.session.token()).toBe('a0');
    expect(server.calls).toBe(0);
    expect(sessionStorage).toHaveLength(0);
  });

  it('a crashed page leaves nothing behind but the refresh token', async () => {
    await signedIn();
    const next = open();
    await next.session.restore();
    expect(await next.session.token()).toBe('a1');
  });

  it('a token that was left by somebody else is not used', async () => {
    const { session } = await signedIn();
    session.handOver();
    await database.put('session', 'current', {
      refreshToken: 'r0',
      user: { id: 'other', username: 'other', email: null, avatar: null },
    });
    const next = open();
    await next.session.restore();
    expect(await next.session.token()).toBe('a1');
  });
});

describe('several tabs', () => {
  async function tabs(count: number) {
    await signedIn();
    const opened = Array.from({ length: count }, () => open());
    for (const { session } of opened) await session.restore();
    return opened;
  }

  it('never use a refresh token twice, even if all renew at once', async () => {
    const opened = await tabs(5);
    for (let round = 0; round < 10; round += 1) {
      server.now += LIFE_MS;
      await Promise.all(opened.map(({ session }) => session.renew()));
      await settle();
    }
    expect([server.revoked, server.repeats]).toEqual([false, 0]);
    for (const { events } of opened) expect(events.onSignedOut).not.toHaveBeenCalled();
  });

  it('go on, even if they cannot wait for one another', async () => {
    await signedIn();
    // A browser without locks, and a page next to a worker of an older release.
    const alone = () => ({
      ...browser.tab(),
      alone: <T>(_: string, work: () => Promise<T>) => work(),
    });
    const opened = [open(alone()), open(alone()), open(alone())];
    for (const { session } of opened) await session.restore();
    for (let round = 1; round <= 5; round += 1) {
      server.now += LIFE_MS;
      await Promise.all(opened.map(({ session }) => session.renew()));
      await settle();
      expect(server.repeats).toBe(2 * round);
    }
    expect(server.revoked).toBe(false);
    for (const { events } of opened) expect(events.onSignedOut).not.toHaveBeenCalled();
  });

  it('share what one of them was given', async () => {
    const [one, two] = await tabs(2);
    const token = await one?.session.renew();
    await settle();
    expect(await two?.session.token()).toBe(token);
    expect(two?.events.onToken).toHaveBeenLastCalledWith(token);
    expect(server.calls).toBe(1);
  });

  it('sign out together', async () => {
    const [one, two] = await tabs(2);
    await one?.session.signOut();
    await settle();
    expect(two?.events.onSignedOut).toHaveBeenCalledWith('asked');
  });

  it('notice when another signs in', async () => {
    const waiting = open();
    await signedIn();
    await settle();
    expect(waiting.events.onSignedIn).toHaveBeenCalledOnce();
  });
});
