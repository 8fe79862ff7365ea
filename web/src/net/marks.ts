/** How far this device has got: cursors, told now and then, and never backwards. */

import type { ChatStore } from '../state/store';
import * as store from '../state/store';
import { MARK_EVERY_MS, TYPING_EVERY_MS } from './limits';
import type { Live } from './socket';

export class Marks {
  readonly #timers = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #read = new Map<string, number>();
  readonly #typedAt = new Map<string, number>();

  constructor(
    private readonly chat: ChatStore,
    private readonly live: Live,
  ) {
    window.addEventListener('pagehide', this.#flush);
  }

  close(): void {
    window.removeEventListener('pagehide', this.#flush);
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  /** Messages are on this device: says so soon. */
  delivered(id: string): void {
    this.#soon(id);
  }

  /** The person has seen everything up to `seq`: says so soon, and shows it at once. */
  read(id: string, seq: number): void {
    const conversation = this.chat.getState().conversations[id];
    if (!conversation || seq <= Math.max(conversation.readSeq, this.#read.get(id) ?? 0)) return;
    this.#read.set(id, seq);
    this.chat.setState(store.readUpTo(id, seq));
    this.#soon(id);
  }

  /** Says whatever could not be said while the connection was away. */
  resume(): void {
    for (const id of Object.keys(this.chat.getState().conversations)) this.#soon(id);
  }

  typing(id: string, typing: boolean, now = Date.now()): void {
    const last = this.#typedAt.get(id) ?? 0;
    if (typing ? now - last < TYPING_EVERY_MS : last === 0) return;
    this.#typedAt.set(id, typing ? now : 0);
    this.live.hint('typing', { conversationId: id, typing });
  }

  #soon(id: string): void {
    if (this.#timers.has(id)) return;
    const timer = setTimeout(() => {
      this.#timers.delete(id);
      this.#tell(id).catch(() => undefined);
    }, MARK_EVERY_MS);
    this.#timers.set(id, timer);
  }

  /** The page goes: what waits is said now or never. */
  #flush = (): void => {
    for (const [id, timer] of this.#timers) {
      clearTimeout(timer);
      this.#tell(id).catch(() => undefined);
    }
    this.#timers.clear();
  };

  async #tell(id: string): Promise<void> {
    const conversation = this.chat.getState().conversations[id];
    if (!conversation || !this.live.connected) return;
    const read = this.#read.get(id);
    if (read !== undefined) {
      const { unread } = await this.live.request('mark_read', { conversationId: id, seq: read });
      if (this.#read.get(id) === read) this.#read.delete(id);
      this.chat.setState(store.readUpTo(id, read, unread));
      // What is read is delivered as well.
      this.chat.setState(store.deliveredUpTo(id, read));
    }
    const { lastSeq, deliveredSeq } = this.chat.getState().conversations[id] ?? conversation;
    if (lastSeq > deliveredSeq) {
      await this.live.request('mark_delivered', { conversationId: id, seq: lastSeq });
      this.chat.setState(store.deliveredUpTo(id, lastSeq));
    }
  }
}
