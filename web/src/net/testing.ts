/** Tabs and answers for tests: several tabs in one process, with real order and no browser. */

import type * as wire from './contract';
import type { Tabs, TabMessage } from './tabs';

/** A browser whose tabs hear one another and wait for one another. */
export class Browser {
  readonly #heard = new Set<{ tab: Tabs; call: (message: TabMessage) => void }>();
  readonly #queues = new Map<string, Promise<unknown>>();

  tab(): Tabs {
    const tab: Tabs = {
      alone: <T>(name: string, work: () => Promise<T>) => {
        const mine = (this.#queues.get(name) ?? Promise.resolve()).then(work);
        this.#queues.set(
          name,
          mine.catch(() => undefined),
        );
        return mine;
      },
      tell: (message) => {
        // Later, as between real tabs.
        setTimeout(() => {
          for (const one of this.#heard) if (one.tab !== tab) one.call(message);
        }, 0);
      },
      listen: (call) => {
        const one = { tab, call };
        this.#heard.add(one);
        return () => this.#heard.delete(one);
      },
    };
    return tab;
  }
}

/** Turns of the event loop in which whatever a test began comes to its end. */
const TURNS = 30;

/** Lets everything that is under way get on: by turns, not by time, for a busy machine has less of it. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < TURNS; turn += 1) await new Promise((next) => setTimeout(next, 0));
}

export function wireMessage(seq: number, change: Partial<wire.Message> = {}): wire.Message {
  const at = new Date(Date.UTC(2026, 0, 31, 12, 0, seq)).toISOString();
  return {
    id: `m${seq}`,
    conversationId: 'c',
    seq,
    sender: 'you',
    content: `text ${seq}`,
    type: 'text',
    status: 'sent',
    readBy: [],
    edited: false,
    deleted: false,
    attachments: [],
    replyTo: null,
    clientMsgId: null,
    createdAt: at,
    updatedAt: at,
    rev: 1,
    ...change,
  };
}

export function wireConversation(change: Partial<wire.Conversation> = {}): wire.Conversation {
  return {
    id: 'c',
    type: 'private',
    title: null,
    participants: ['me', 'you'],
    lastSeq: 0,
    createdAt: '2026-01-31T12:00:00.000Z',
    updatedAt: '2026-01-31T12:00:00.000Z',
    lastMessage: null,
    unread: 0,
    readSeq: 0,
    deliveredSeq: 0,
    rev: 1,
    changeSeq: 1,
    ...change,
  };
}
