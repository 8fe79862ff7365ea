/**
 * The service worker: keeps the page itself, so that it opens without a connection. It never sees
 * what is said: requests to the API and the socket pass by untouched.
 */

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

// The page names the files it was made of: those it loaded before this worker was there.
worker.addEventListener('message', (event) => {
  const { data } = event;
  if (Array.isArray(data)) {
    event.waitUntil(keep(data.filter((url): url is string => typeof url === 'string')));
  }
});

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
