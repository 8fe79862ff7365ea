/** What several tabs of one browser share: locks, and a channel to tell one another. */

/** What one tab tells the others. */
export type TabMessage =
  | { type: 'token'; userId: string; accessToken: string; endsAt: number }
  | { type: 'signed-in'; userId: string }
  | { type: 'signed-out' }
  | { type: 'outbox' };

export interface Tabs {
  /** Runs `work` while no other tab runs work of this name. */
  alone: <T>(name: string, work: () => Promise<T>) => Promise<T>;
  tell: (message: TabMessage) => void;
  /** Calls back with what other tabs tell; the answer ends it. */
  listen: (heard: (message: TabMessage) => void) => () => void;
}

const PREFIX = 'syncchat:';

/** Locks are there in secure contexts only; over plain HTTP each tab has just its own order. */
function locksOf(): LockManager | undefined {
  return (navigator as Partial<Navigator>).locks;
}

export function openTabs(): Tabs {
  const channel = typeof BroadcastChannel === 'undefined' ? null : new BroadcastChannel('syncchat');
  const queues = new Map<string, Promise<unknown>>();
  return {
    alone: async <T>(name: string, work: () => Promise<T>): Promise<T> => {
      const locks = locksOf();
      if (locks) return await locks.request(PREFIX + name, work);
      const mine = (queues.get(name) ?? Promise.resolve()).then(work, work);
      queues.set(
        name,
        mine.catch(() => undefined),
      );
      return mine;
    },
    tell: (message) => channel?.postMessage(message),
    listen: (heard) => {
      const onMessage = (event: MessageEvent<TabMessage>) => heard(event.data);
      channel?.addEventListener('message', onMessage);
      return () => channel?.removeEventListener('message', onMessage);
    },
  };
}
