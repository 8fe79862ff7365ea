/**
 * Getting a new pair of tokens. A refresh token works once, and one used twice ends the log-in; so
 * an answer that nobody waits for any more must still be kept. A page can go at any moment, by a
 * reload for one; therefore the service worker, which stays, does this where there is one
 * (`sw.ts`), and the page itself only where there is none.
 */

import type { Me } from '../state/model';
import type { ErrorAnswer, SessionAnswer } from './contract';
import type { Database } from './database';
import { Refused, Unreachable } from './errors';
import { REST_TIMEOUT_MS } from './limits';
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

/**
 * Renews what is kept. Must run while no other does. Rejects with `Refused` where nobody is signed
 * in, or not any more; then nothing is kept.
 */
export async function renewKept(
  database: Database,
  refresh: Refresh,
  now: () => number = Date.now,
): Promise<Renewed> {
  const kept = (await database.get('session', SESSION_KEY)) as Kept | undefined;
  if (kept === undefined) throw new Refused({ code: 'unauthorized', message: 'signed out' });
  const isStill = (value: unknown) =>
    (value as Kept | undefined)?.refreshToken === kept.refreshToken;
  try {
    const { pair, serverNow } = await refresh(kept.refreshToken);
    const next: Kept = { ...kept, refreshToken: pair.refreshToken };
    // Who signed out meanwhile stays signed out.
    if (!(await database.replace('session', SESSION_KEY, isStill, next))) {
      throw new Refused({ code: 'unauthorized', message: 'signed out' });
    }
    return {
      userId: kept.user.id,
      accessToken: pair.accessToken,
      lastsMs: Date.parse(pair.expiresAt) - (serverNow ?? now()),
    };
  } catch (error) {
    if (error instanceof Refused) {
      await database.replace('session', SESSION_KEY, isStill, undefined);
    }
    throw error;
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
