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
    request.onsuccess = () => resolve(request.result);
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
    clear: (store) => {
      of(store).clear();
      return Promise.resolve();
    },
  };
}
