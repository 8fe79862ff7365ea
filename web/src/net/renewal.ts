/**
 * Getting a new pair of tokens. A refresh token gives the same successor until that one is used, so
 * a request whose answer did not come is repeated with the token that is kept; one used after its
 * successor ends the log-in. A page can go at any moment, by a reload for one; therefore the service
 * worker, which stays, does this where there is one (`sw.ts`), and the page itself only where there
 * is none.
 */

import type { Me } from '../state/model';
import type { ErrorAnswer, SessionAnswer } from './contract';
import type { Database } from './database';
import { Refused, Unreachable } from './errors';
import { RENEWALS_MAX, REST_TIMEOUT_MS } from './limits';
import type { Tabs } from './tabs';

/** What is kept between visits. */
export interface Kept {
  readonly refreshToken: string;
  readonly user: Me;
}

export const SESSION_KEY = 'current';
/** Whoever renews holds this, page or worker. */
export const RENEWAL_LOCK = 'refresh';

/** A new access token. */
export interface Renewed {
  readonly userId: string;
  readonly accessToken: string;
  /** From now on, in milliseconds, by the server's own clock. */
  readonly lastsMs: number;
}

export interface RefreshAnswer {
  readonly pair: SessionAnswer;
  /** The server's time of the answer, if it said. */
  readonly serverNow: number | null;
}

export type Refresh = (refreshToken: string) => Promise<RefreshAnswer>;

/** `POST /api/auth/refresh`. */
export async function refreshByFetch(refreshToken: string): Promise<RefreshAnswer> {
  let answer: Response;
  let body: unknown;
  try {
    answer = await fetch('/api/auth/refresh', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ refreshToken }),
      signal: AbortSignal.timeout(REST_TIMEOUT_MS),
    });
    body = await answer.json();
  } catch {
    throw new Unreachable();
  }
  if (answer.ok) {
    const date = Date.parse(answer.headers.get('Date') ?? '');
    return { pair: body as SessionAnswer, serverNow: Number.isNaN(date) ? null : date };
  }
  if (answer.status === 400 || answer.status === 401) {
    throw new Refused((body as ErrorAnswer).error);
  }
  // Too many requests, or a server that cannot just now: nothing was decided.
  throw new Unreachable();
}

const keptIn = async (database: Database) =>
  (await database.get('session', SESSION_KEY)) as Kept | undefined;

const signedOut = () => new Refused({ code: 'unauthorized', message: 'signed out' });

/**
 * Renews what is kept. Should run while no other does; where tabs cannot wait for one another, those
 * that ask at once get the same successor, and the first one keeps it. Rejects with `Refused` where
 * nobody is signed in, or not any more; then nothing is kept.
 */
export async function renewKept(
  database: Database,
  refresh: Refresh,
  now: () => number = Date.now,
): Promise<Renewed> {
  let user: string | undefined;
  for (let tried = 1; ; tried += 1) {
    const kept = await keptIn(database);
    user ??= kept?.user.id;
    if (kept === undefined || kept.user.id !== user) throw signedOut();
    const isStill = (value: unknown) =>
      (value as Kept | undefined)?.refreshToken === kept.refreshToken;
    try {
      const { pair, serverNow } = await refresh(kept.refreshToken);
      const next: Kept = { ...kept, refreshToken: pair.refreshToken };
      if (!(await database.replace('session', SESSION_KEY, isStill, next))) {
        // Another tab was faster; but who signed out meanwhile stays signed out.
        const newer = await keptIn(database);
        if (newer?.user.id !== user) throw signedOut();
      }
      return {
        userId: kept.user.id,
        accessToken: pair.accessToken,
        lastsMs: Date.parse(pair.expiresAt) - (serverNow ?? now()),
      };
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const ended = await database.replace('session', SESSION_KEY, isStill, undefined);
      // What another tab has kept meanwhile may be good: the server says so of that one.
      if (ended || tried >= RENEWALS_MAX) throw error;
    }
  }
}

/** How a page gets a new token. `isWanted` is asked once more when its turn has come. */
export type Renew = (isWanted: () => boolean) => Promise<Renewed | null>;

/** In the page itself, one tab at a time. */
export function renewInPage(
  database: Database,
  tabs: Tabs,
  refresh: Refresh,
  now: () => number = Date.now,
): Renew {
  return (isWanted) =>
    tabs.alone(RENEWAL_LOCK, () =>
      isWanted() ? renewKept(database, refresh, now) : Promise.resolve(null),
    );
}

/** What a page asks the worker, and what the worker answers. */
export interface RenewRequest {
  readonly type: 'renew';
}
export type RenewAnswer =
  { readonly renewed: Renewed } | { readonly ended: true } | { readonly unreachable: true };

/** By the service worker where it is there; otherwise as `inPage` does it. */
export function renewByWorker(inPage: Renew): Renew {
  return async (isWanted) => {
    const workers = (navigator as Partial<Navigator>).serviceWorker;
    const worker = workers?.controller;
    if (!worker) return inPage(isWanted);
    const answer = await ask(worker);
    if ('renewed' in answer) return answer.renewed;
    if ('ended' in answer) throw new Refused({ code: 'unauthorized', message: 'signed out' });
    throw new Unreachable();
  };
}

function ask(worker: ServiceWorker): Promise<RenewAnswer> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    const timer = setTimeout(() => answered({ unreachable: true }), 2 * REST_TIMEOUT_MS);
    const answered = (answer: RenewAnswer) => {
      clearTimeout(timer);
      port1.close();
      resolve(answer);
    };
    port1.onmessage = (event: MessageEvent<RenewAnswer>) => answered(event.data);
    const request: RenewRequest = { type: 'renew' };
    worker.postMessage(request, [port2]);
  });
}
