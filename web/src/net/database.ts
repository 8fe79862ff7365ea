/**
 * IndexedDB, which every tab of this browser sees alike: the log-in, what waits to be sent, and a
 * snapshot to start from without a connection. Where the browser refuses it (some private modes),
 * a map in memory takes its place: everything works, but nothing outlives the page.
 */

const NAME = 'syncchat';
const VERSION = 1;

export type StoreName = 'session' | 'outbox' | 'snapshot';

export interface Database {
  get: (store: StoreName, key: string) => Promise<unknown>;
  /** All values, in the order of their keys. */
  all: (store: StoreName) => Promise<unknown[]>;
  put: (store: StoreName, key: string, value: unknown) => Promise<void>;
  remove: (store: StoreName, key: string) => Promise<void>;
  /**
   * Puts another value in the place of one, or takes it away with `undefined`, if what is there is
   * still the one that was meant; says whether it was.
   */
  replace: (
    store: StoreName,
    key: string,
    isStill: (value: unknown) => boolean,
    value: unknown,
  ) => Promise<boolean>;
  clear: (store: StoreName) => Promise<void>;
}

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, VERSION);
    request.onupgradeneeded = () => {
      for (const store of ['session', 'outbox', 'snapshot']) {
        request.result.createObjectStore(store);
      }
    };
    request.onsuccess = () => {
      // A newer page in another tab may change the stores; this one must not stand in its way.
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = () => reject(request.error ?? new Error('no database'));
  });
}

/** Runs one request in its own transaction, and waits until it is on disk. */
function run<T>(
  database: IDBDatabase,
  store: StoreName,
  mode: IDBTransactionMode,
  ask: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(store, mode);
    const request = ask(transaction.objectStore(store));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = transaction.onabort = () =>
      reject(transaction.error ?? new Error('transaction failed'));
    // Nothing follows: a page that ends now must not take it along.
    transaction.commit();
  });
}

/** Reads and writes in one transaction. */
function replaceIn(
  database: IDBDatabase,
  store: StoreName,
  key: string,
  isStill: (value: unknown) => boolean,
  value: unknown,
): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(store, 'readwrite');
    const values = transaction.objectStore(store);
    let replaced = false;
    const found: IDBRequest<unknown> = values.get(key);
    found.onsuccess = () => {
      replaced = isStill(found.result);
      if (!replaced) return;
      if (value === undefined) values.delete(key);
      else values.put(value, key);
    };
    transaction.oncomplete = () => resolve(replaced);
    transaction.onerror = transaction.onabort = () =>
      reject(transaction.error ?? new Error('transaction failed'));
  });
}

export async function openDatabase(): Promise<Database> {
  try {
    const database = await open();
    return {
      get: (store, key) => run<unknown>(database, store, 'readonly', (s) => s.get(key)),
      all: (store) => run<unknown[]>(database, store, 'readonly', (s) => s.getAll()),
      put: async (store, key, value) => {
        await run(database, store, 'readwrite', (s) => s.put(value, key));
      },
      remove: async (store, key) => {
        await run(database, store, 'readwrite', (s) => s.delete(key));
      },
      replace: (store, key, isStill, value) => replaceIn(database, store, key, isStill, value),
      clear: async (store) => {
        await run(database, store, 'readwrite', (s) => s.clear());
      },
    };
  } catch {
    return memoryDatabase();
  }
}

export function memoryDatabase(): Database {
  const stores: Record<StoreName, Map<string, unknown>> = {
    session: new Map(),
    outbox: new Map(),
    snapshot: new Map(),
  };
  const of = (store: StoreName) => stores[store];
  return {
    get: (store, key) => Promise.resolve(of(store).get(key)),
    all: (store) =>
      Promise.resolve(
        [...of(store)].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, value]) => value),
      ),
    put: (store, key, value) => {
      of(store).set(key, value);
      return Promise.resolve();
    },
    remove: (store, key) => {
      of(store).delete(key);
      return Promise.resolve();
    },
    replace: (store, key, isStill, value) => {
      if (!isStill(of(store).get(key))) return Promise.resolve(false);
      if (value === undefined) of(store).delete(key);
      else of(store).set(key, value);
      return Promise.resolve(true);
    },
    clear: (store) => {
      of(store).clear();
      return Promise.resolve();
    },
  };
}
