/**
 * Bringing the page up to date: at the start, after every reconnect, and where a message came
 * before the one above it.
 */

import type { ChatStore } from '../state/store';
import * as store from '../state/store';
import * as logs from '../state/log';
import type { Conversation, Requests, User } from './contract';
import {
  GAP_PATIENCE_MS,
  PAGE,
  PRESENCE_USERS_MAX,
  SYNC_CURSORS_MAX,
  SYNC_ROUNDS_MAX,
} from './limits';
import type { Rest } from './rest';
import type { Live } from './socket';
import * as translate from './translate';

type History = Pick<Rest, 'conversations' | 'conversation' | 'messages' | 'user'>;

export class Sync {
  readonly #unknown = new Map<string, Promise<void>>();
  readonly #asked = new Set<string>();
  readonly #gaps = new Map<string, ReturnType<typeof setTimeout>>();
  #round: Promise<void> | null = null;

  constructor(
    private readonly chat: ChatStore,
    private readonly live: Live,
    private readonly rest: History,
  ) {}

  /** Everything that was missed, in every conversation of mine. */
  async catchUp(): Promise<void> {
    const { loaded } = this.chat.getState();
    if (loaded) {
      // The messages first: what the list says beside them can wait.
      await this.missed();
      await this.list();
    } else {
      await this.list();
      await this.missed();
    }
    await this.presence();
  }

  /** The list: names, members, unread counts, and the newest message as it reads now. */
  async list(): Promise<void> {
    const before = Object.keys(this.chat.getState().conversations);
    const conversations = await this.rest.conversations();
    const mine = new Set(conversations.map(({ id }) => id));
    for (const id of before) if (!mine.has(id)) this.chat.setState(store.conversationGone(id));
    this.#listed(conversations, store.conversationsKnown);
  }

  /** The list, in place of all that was held: the server has another history than that. */
  async #anew(epoch: string): Promise<void> {
    const conversations = await this.rest.conversations();
    this.#listed(conversations, (listed) => store.historyReplaced(epoch, listed));
  }

  #listed(told: readonly Conversation[], known: typeof store.conversationsKnown): void {
    this.known(told.flatMap((one) => one.members ?? []));
    this.chat.setState(known(told.map(translate.conversation)));
    this.chat.setState({ loaded: true });
    this.people(told.flatMap((one) => one.participants));
  }

  /** `sync`, round by round while there is more. */
  missed(): Promise<void> {
    this.#round ??= this.#missed().finally(() => (this.#round = null));
    return this.#round;
  }

  async #missed(): Promise<void> {
    const known = Object.keys(this.chat.getState().logs);
    if (known.length <= SYNC_CURSORS_MAX) {
      await this.#rounds(known, true);
      return;
    }
    // Too many to name at once; those that are new or gone, the list tells.
    for (let at = 0; at < known.length; at += SYNC_CURSORS_MAX) {
      await this.#rounds(known.slice(at, at + SYNC_CURSORS_MAX), false);
    }
  }

  /** Asks about these conversations, and with `everything` about any other of mine. */
  async #rounds(ids: readonly string[], everything: boolean): Promise<void> {
    let cursors = this.#cursors(ids);
    let all = everything;
    for (let round = 0; round < SYNC_ROUNDS_MAX; round += 1) {
      const { epoch: held } = this.chat.getState();
      const changes = this.#changes(Object.keys(cursors));
      const request = { cursors, all, changes, ...(held !== null && { epoch: held }) };
      const { epoch, reset, conversations } = await this.live.request('sync', request);
      if (reset) {
        await this.#anew(epoch);
        return this.#missed();
      }
      this.chat.setState({ epoch });
      const mine = new Set(conversations.map(({ id }) => id));
      if (all) {
        for (const id of Object.keys(this.chat.getState().conversations)) {
          if (!mine.has(id)) this.chat.setState(store.conversationGone(id));
        }
      }
      await Promise.all(
        conversations.map((one) => (one.reset ? this.#afresh(one.id) : this.conversation(one.id))),
      );
      for (const one of conversations) {
        if (one.reset) continue;
        this.chat.setState(store.missedArrived(translate.missed(one)));
        this.people(one.messages.map(({ sender }) => sender));
      }
      const behind = conversations.filter((one) => one.more && !one.reset).map(({ id }) => id);
      if (behind.length === 0) return;
      cursors = this.#cursors(behind);
      all = false;
    }
    // Too far behind to read it all: go to the end, and leave the rest to scrolling back.
    await Promise.all(Object.keys(cursors).map((id) => this.newest(id)));
  }

  #cursors(ids: readonly string[]): Requests['sync'][0]['cursors'] {
    const { logs: windows } = this.chat.getState();
    return Object.fromEntries(ids.map((id) => [id, windows[id]?.to ?? 0]));
  }

  /** The newest edit or deletion that is known in each of these conversations. */
  #changes(ids: readonly string[]): Record<string, number> {
    const { logs: windows } = this.chat.getState();
    return Object.fromEntries(ids.map((id) => [id, windows[id]?.changeSeq ?? 0]));
  }

  /** Makes sure that a conversation is known before its messages are. */
  async conversation(id: string): Promise<void> {
    if (this.chat.getState().conversations[id]) return;
    let asked = this.#unknown.get(id);
    if (!asked) {
      asked = this.rest
        .conversation(id)
        .then((told) => {
          this.known(told.members ?? []);
          this.chat.setState(store.conversationsKnown([translate.conversation(told)]));
          this.people(told.participants);
        })
        .finally(() => this.#unknown.delete(id));
      this.#unknown.set(id, asked);
    }
    await asked;
  }

  /** A conversation in place of what was held of it, which the server does not have. */
  async #afresh(id: string): Promise<void> {
    const told = await this.rest.conversation(id);
    this.known(told.members ?? []);
    this.chat.setState(store.conversationReplaced(translate.conversation(told)));
    this.people(told.participants);
  }

  /** A message came out of order: if the gap does not close by itself, ask. */
  watchGap(id: string): void {
    if (this.#gaps.has(id)) return;
    const gap = () => {
      const log = this.chat.getState().logs[id];
      return log !== undefined && logs.hasGap(log);
    };
    if (!gap()) return;
    this.#gaps.set(
      id,
      setTimeout(() => {
        this.#gaps.delete(id);
        // Without a connection the next one catches up anyway.
        if (gap()) this.missed().catch(() => undefined);
      }, GAP_PATIENCE_MS),
    );
  }

  /** The newest page, with edits and receipts as they are now. */
  async newest(id: string): Promise<void> {
    const { messages, more } = await this.rest.messages(id);
    this.people(messages.map(({ sender }) => sender));
    this.chat.setState(store.newestArrived(id, messages.map(translate.message), more));
  }

  /** The page before what is held. */
  async older(id: string, size = PAGE): Promise<void> {
    const log = this.chat.getState().logs[id];
    if (!log?.hasOlder) return;
    const { messages, more } = await this.rest.messages(id, log.from, size);
    this.people(messages.map(({ sender }) => sender));
    this.chat.setState(store.olderArrived(id, messages.map(translate.message), more));
  }

  /** People as the server described them. */
  known(users: readonly User[]): void {
    if (users.length === 0) return;
    this.chat.setState(store.peopleKnown(users.map(translate.person)));
    this.chat.setState(
      store.presenceChanged(
        users.map(({ id, status, lastSeen }) =>
          translate.presence({ userId: id, status, lastSeen }),
        ),
      ),
    );
  }

  /** Looks up those of these people who are not known, each once. */
  people(ids: readonly string[]): void {
    const { people } = this.chat.getState();
    for (const id of new Set(ids)) {
      if (people[id] || this.#asked.has(id)) continue;
      this.#asked.add(id);
      this.rest.user(id).then(
        (user) => this.known([user]),
        () => this.#asked.delete(id),
      );
    }
  }

  /** Who is there now, of the people I share a conversation with. */
  async presence(): Promise<void> {
    const { conversations, me } = this.chat.getState();
    const recent = Object.values(conversations).toSorted((a, b) => b.updatedAt - a.updatedAt);
    const others = new Set(recent.flatMap(({ participants }) => participants));
    others.delete(me.id);
    const userIds = [...others].slice(0, PRESENCE_USERS_MAX);
    if (userIds.length === 0) return;
    const { presence } = await this.live.request('presence', { userIds });
    this.chat.setState(store.presenceChanged(presence.map(translate.presence)));
  }
}
