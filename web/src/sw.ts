/**
 * The service worker: keeps the page itself, so that it opens without a connection, and renews
 * tokens for it, because it outlives a reload (`net/renewal.ts`). It never sees what is said:
 * requests to the API and the socket pass by untouched.
 */

import { openDatabase } from './net/database';
import { Refused } from './net/errors';
import { RENEWAL_LOCK, refreshByFetch, renewKept, type RenewAnswer } from './net/renewal';
import { openTabs } from './net/tabs';

interface WorkerScope {
  addEventListener(type: 'install' | 'activate', listener: (event: ExtendableEvent) => void): void;
  addEventListener(type: 'fetch', listener: (event: FetchEvent) => void): void;
  addEventListener(type: 'message', listener: (event: ExtendableMessageEvent) => void): void;
  readonly location: Location;
  readonly clients: { claim(): Promise<void> };
  skipWaiting(): Promise<void>;
}
interface ExtendableEvent {
  waitUntil(work: Promise<unknown>): void;
}
interface FetchEvent extends ExtendableEvent {
  readonly request: Request;
  respondWith(answer: Promise<Response>): void;
}
interface ExtendableMessageEvent extends ExtendableEvent {
  readonly data: unknown;
  readonly ports: readonly MessagePort[];
}

const worker = globalThis as unknown as WorkerScope;
const CACHE = 'syncchat-page';
/** Files kept; the oldest go first. One build has about ten. */
const FILES_MAX = 60;

worker.addEventListener('install', (event) => {
  event.waitUntil(
    caches
      .open(CACHE)
      .then((cache) => cache.add('/'))
      .then(() => worker.skipWaiting()),
  );
});

worker.addEventListener('activate', (event) => event.waitUntil(worker.clients.claim()));

worker.addEventListener('message', (event) => {
  const { data, ports } = event;
  // The page names the files it was made of: those it loaded before this worker was there.
  if (Array.isArray(data)) {
    event.waitUntil(keep(data.filter((url): url is string => typeof url === 'string')));
  } else if ((data as { type?: unknown } | null)?.type === 'renew') {
    event.waitUntil(renew().then((answer) => ports[0]?.postMessage(answer)));
  }
});

/** The renewal that is under way, for whichever tabs ask meanwhile. */
let renewal: Promise<RenewAnswer> | null = null;

function renew(): Promise<RenewAnswer> {
  renewal ??= renewAlone().finally(() => (renewal = null));
  return renewal;
}

async function renewAlone(): Promise<RenewAnswer> {
  try {
    const database = await openDatabase();
    const work = () => renewKept(database, refreshByFetch);
    return { renewed: await openTabs().alone(RENEWAL_LOCK, work) };
  } catch (error) {
    return error instanceof Refused ? { ended: true } : { unreachable: true };
  }
}

worker.addEventListener('fetch', (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== 'GET' || url.origin !== worker.location.origin) return;
  if (request.mode === 'navigate' && url.pathname === '/') event.respondWith(page(request));
  else if (url.pathname.startsWith('/assets/')) event.respondWith(file(request));
});

/** The newest page there is; the kept one while the server is away. */
async function page(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch(request);
    if (answer.ok) await cache.put('/', answer.clone());
    if (answer.status < 500) return answer;
    return (await cache.match('/')) ?? answer;
  } catch (error) {
    const kept = await cache.match('/');
    if (kept) return kept;
    throw error;
  }
}

/** Files carry a hash of what is in them, so the kept one is as good as a new one. */
async function file(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const kept = await cache.match(request);
  if (kept) return kept;
  const answer = await fetch(request);
  if (answer.ok) await cache.put(request, answer.clone());
  return answer;
}

async function keep(urls: readonly string[]): Promise<void> {
  const cache = await caches.open(CACHE);
  for (const url of urls) {
    if (!(await cache.match(url))) await cache.add(url).catch(() => undefined);
  }
  const files = (await cache.keys()).filter(({ url }) => new URL(url).pathname !== '/');
  for (const old of files.slice(0, Math.max(0, files.length - FILES_MAX))) {
    if (!urls.includes(old.url)) await cache.delete(old);
  }
}
