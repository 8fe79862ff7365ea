/**
 * What was written and is not yet known to be committed. It is on disk before it is sent, so that
 * it survives a reload and a closed tab, and it carries its `clientMsgId`, so that the server makes
 * one message of it however often it is sent.
 *
 * Each conversation's queue is drained in order, by one tab at a time: whoever holds the lock sends
 * for all. If an answer is lost the message is sent again; if the server refuses it for good it
 * waits for its writer's decision, and those behind it go on.
 */

import type { Message, Pending } from '../state/model';
import { backoff, sleep } from './backoff';
import type { Database } from './database';
import { Refused, explain, isPassing } from './errors';
import { SEND_RETRY_FIRST_MS, SEND_RETRY_MAX_MS, SEND_TRIES_MAX, SEND_WAIT_MAX_MS } from './limits';
import type { Tabs } from './tabs';

/** As it is on disk. The key sorts by the order of writing. */
interface Entry {
  readonly key: string;
  readonly userId: string;
  readonly pending: Pending;
}

export interface OutboxPort {
  /** Sends and resolves with the committed message, or rejects with `Refused` or `Unreachable`. */
  send: (pending: Pending) => Promise<Message>;
  /** Whether there is a connection to send on. */
  isOnline: () => boolean;
  /** Whether this person is not in the conversation any more. */
  isGone: (conversationId: string) => boolean;
  /** What waits now. */
  changed: (pending: readonly Pending[]) => void;
  committed: (message: Message) => void;
}

export class Outbox {
  #entries: readonly Entry[] = [];
  readonly #draining = new Set<string>();
  /** Keys on their way to the disk, and off it: what is read meanwhile does not know yet. */
  readonly #saving = new Set<string>();
  readonly #removing = new Set<string>();
  #lastKey = 0;
  #closed = false;
  readonly #unlisten: () => void;

  constructor(
    private readonly database: Database,
    private readonly tabs: Tabs,
    private readonly userId: string,
    private readonly port: OutboxPort,
    private readonly wait = sleep,
  ) {
    this.#unlisten = tabs.listen((message) => {
      if (message.type === 'outbox') void this.load();
    });
  }

  close(): void {
    this.#closed = true;
    this.#unlisten();
  }

  /** Reads what waits, whichever tab wrote it. */
  async load(): Promise<void> {
    const all = (await this.database.all('outbox')) as Entry[];
    if (this.#closed) return;
    const stored = all.filter(
      ({ userId, key }) =>
        userId === this.userId && !this.#saving.has(key) && !this.#removing.has(key),
    );
    // What this tab is sending stays as it is shown; on disk nothing is ever "sending".
    const known = stored.map((entry) => {
      const shown = this.#entries.find(({ key }) => key === entry.key);
      return shown?.pending.state === 'sending' ? shown : entry;
    });
    const unsaved = this.#entries.filter(({ key }) => this.#saving.has(key));
    this.#entries = [...known, ...unsaved].toSorted((a, b) => (a.key < b.key ? -1 : 1));
    this.#show();
  }

  async add(pending: Pending): Promise<void> {
    const entry: Entry = { key: this.#nextKey(pending.writtenAt), userId: this.userId, pending };
    this.#entries = [...this.#entries, entry];
    this.#show();
    await this.#store(entry);
    void this.drain(pending.conversationId);
  }

  /** Tries again what was refused. */
  async retry(clientMsgId: string): Promise<void> {
    const entry = this.#entries.find((one) => one.pending.clientMsgId === clientMsgId);
    if (!entry) return;
    await this.#update(entry, { state: 'waiting', reason: null });
    void this.drain(entry.pending.conversationId);
  }

  /** Throws away what was refused, or what turned out to have arrived. */
  async remove(clientMsgId: string): Promise<void> {
    const entry = this.#entries.find((one) => one.pending.clientMsgId === clientMsgId);
    if (!entry) return;
    this.#entries = this.#entries.filter((one) => one !== entry);
    this.#show();
    this.#removing.add(entry.key);
    await this.database.remove('outbox', entry.key).catch(() => undefined);
    this.#removing.delete(entry.key);
    this.tabs.tell({ type: 'outbox' });
  }

  /** Sends whatever waits, in every conversation. */
  drainAll(): void {
    for (const id of new Set(this.#entries.map(({ pending }) => pending.conversationId))) {
      void this.drain(id);
    }
  }

  /** Sends what waits in one conversation, in order, unless that is under way. */
  async drain(conversationId: string): Promise<void> {
    if (this.#draining.has(conversationId)) return;
    this.#draining.add(conversationId);
    try {
      await this.tabs.alone(`outbox:${conversationId}`, async () => {
        // Another tab may have sent some of it while this one waited for its turn.
        await this.load();
        for (;;) {
          const next = this.#next(conversationId);
          if (!next || !this.port.isOnline() || this.#closed) return;
          if (!(await this.#send(next))) return;
        }
      });
    } finally {
      this.#draining.delete(conversationId);
    }
    // Written after the last look and before the end.
    if (this.#next(conversationId) && this.port.isOnline() && !this.#closed) {
      void this.drain(conversationId);
    }
  }

  #next(conversationId: string): Entry | undefined {
    return this.#entries.find(
      ({ pending }) => pending.conversationId === conversationId && pending.state !== 'failed',
    );
  }

  /** Sends one; false if the connection went away and the rest must wait for the next. */
  async #send(entry: Entry): Promise<boolean> {
    const { clientMsgId } = entry.pending;
    for (let attempt = 0; ; attempt += 1) {
      const current = this.#entries.find(({ key }) => key === entry.key);
      if (!current || this.#closed) return !this.#closed;
      this.#mark(entry.key, 'sending');
      try {
        const message = await this.port.send(entry.pending);
        this.port.committed(message);
        await this.remove(clientMsgId);
        return true;
      } catch (error) {
        if (!this.port.isOnline()) {
          this.#mark(entry.key, 'waiting');
          return false;
        }
        const asked = error instanceof Refused ? error.retryAfterMs : null;
        const isFinal = !isPassing(error) || attempt + 1 >= SEND_TRIES_MAX;
        if (isFinal || (asked ?? 0) > SEND_WAIT_MAX_MS) {
          // In a conversation that is gone nobody would see it fail.
          if (this.port.isGone(entry.pending.conversationId)) await this.remove(clientMsgId);
          else await this.#update(current, { state: 'failed', reason: explain(error) });
          return true;
        }
        const grows = { firstMs: SEND_RETRY_FIRST_MS, maxMs: SEND_RETRY_MAX_MS };
        await this.wait(asked ?? backoff(attempt, grows));
      }
    }
  }

  /** Shown, not stored: after a reload nothing is being sent. */
  #mark(key: string, state: Pending['state']): void {
    this.#entries = this.#entries.map((one) =>
      one.key === key ? { ...one, pending: { ...one.pending, state } } : one,
    );
    this.#show();
  }

  async #update(entry: Entry, change: Pick<Pending, 'state' | 'reason'>): Promise<void> {
    const next = { ...entry, pending: { ...entry.pending, ...change } };
    this.#entries = this.#entries.map((one) => (one.key === entry.key ? next : one));
    this.#show();
    await this.#store(next);
  }

  async #store(entry: Entry): Promise<void> {
    this.#saving.add(entry.key);
    // A full disk costs the survival of a reload, not the message.
    await this.database.put('outbox', entry.key, entry).catch(() => undefined);
    this.#saving.delete(entry.key);
    this.tabs.tell({ type: 'outbox' });
  }

  #show(): void {
    if (!this.#closed) this.port.changed(this.#entries.map(({ pending }) => pending));
  }

  /** Sorts by time, and by order within a millisecond. */
  #nextKey(writtenAt: number): string {
    this.#lastKey = Math.max(this.#lastKey + 1, writtenAt * 1_000);
    const unique = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
    return `${String(this.#lastKey).padStart(17, '0')}-${unique.toString(36)}`;
  }
}
