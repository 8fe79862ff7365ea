/**
 * One person's chat, as views use it: what they do goes in here, what comes of it is in the store.
 * Made when somebody signs in, closed when they sign out.
 */

import type { Attachment, Me, Message, MessageKind, Pending, Person } from '../state/model';
import { createChatStore, type ChatStore } from '../state/store';
import * as store from '../state/store';
import { backoff, sleep } from './backoff';
import { Creations } from './creations';
import type { Database } from './database';
import { Files, isPicture } from './files';
import {
  LOG_KEPT,
  LOG_MAX,
  PAGE_MAX,
  RECONNECT_FIRST_MS,
  RECONNECT_MAX_MS,
  TYPING_LASTS_MS,
} from './limits';
import { Marks } from './marks';
import { Outbox } from './outbox';
import { randomId } from './random';
import type { Rest } from './rest';
import type { Session } from './session';
import { keepSnapshot, restoreSnapshot } from './snapshot';
import { Connection } from './socket';
import { Sync } from './sync';
import type { Tabs } from './tabs';
import * as translate from './translate';
import { Uploads } from './uploads';

export interface ChatParts {
  readonly me: Me;
  readonly session: Session;
  readonly rest: Rest;
  readonly database: Database;
  readonly tabs: Tabs;
}

/** A new message, before it is in the outbox. */
export interface Written {
  readonly content: string;
  readonly replyTo: string | null;
  readonly kind?: MessageKind;
  readonly attachments?: readonly Attachment[];
}

export class Chat {
  readonly store: ChatStore;
  readonly files: Files;
  readonly uploads: Uploads;
  readonly #rest: Rest;
  readonly #session: Session;
  readonly #database: Database;
  readonly #connection: Connection;
  readonly #sync: Sync;
  readonly #marks: Marks;
  readonly #outbox: Outbox;
  readonly #creations: Creations;
  readonly #incoming = new Set<(message: Message) => void>();
  readonly #loading = new Map<string, Promise<void>>();
  readonly #ends: (() => void)[] = [];
  #open: string | null = null;
  #turn = 0;

  constructor({ me, session, rest, database, tabs }: ChatParts) {
    this.store = createChatStore(me);
    this.#rest = rest;
    this.#creations = new Creations((body) => rest.createConversation(body));
    this.#session = session;
    this.#database = database;
    this.#connection = new Connection(session, {
      onUp: () => void this.#up(),
      // Who is there, and who types, is not known any more.
      onDown: () => this.store.setState({ connection: 'away', presence: {}, typing: {} }),
    });
    this.files = new Files(rest);
    this.uploads = new Uploads({
      upload: (file, progress, signal) => this.files.upload(file, progress, signal),
      isOnline: () => this.#connection.connected,
      changed: (uploads) => this.store.setState(store.uploadsKnown(uploads)),
      arrived: (id, attachment) => this.#sendFile(id, attachment),
    });
    this.#sync = new Sync(this.store, this.#connection, rest);
    this.#marks = new Marks(this.store, this.#connection);
    this.#outbox = new Outbox(database, tabs, me.id, {
      send: (pending) => this.#send(pending),
      isOnline: () => this.#connection.connected,
      isGone: (id) => !(id in this.store.getState().conversations),
      changed: (pending) => this.store.setState(store.pendingKnown(pending)),
      committed: (message) => this.#arrived(message),
    });
    this.#listen();
  }

  /** Shows what is kept, then connects. */
  async start(): Promise<void> {
    await restoreSnapshot(this.#database, this.store);
    await this.#outbox.load();
    this.#ends.push(keepSnapshot(this.#database, this.store));
    const typing = setInterval(() => this.store.setState(store.typingExpired(Date.now())), 1_000);
    this.#ends.push(() => clearInterval(typing));
    this.#connection.open();
    this.#rest.offersFiles().then(
      (files) => this.store.setState({ features: { files } }),
      () => undefined,
    );
  }

  close(): void {
    this.#connection.close();
    this.#outbox.close();
    this.#marks.close();
    this.uploads.close();
    this.files.close();
    for (const end of this.#ends) end();
  }

  /** Calls back with every message of others as it comes; the answer ends it. */
  onIncoming(heard: (message: Message) => void): () => void {
    this.#incoming.add(heard);
    return () => this.#incoming.delete(heard);
  }

  /** A newer token, for the live socket. */
  authenticate(token: string): void {
    this.#connection.authenticate(token);
  }

  // === what a person does ===

  /**
   * Opens a conversation: loads its newest messages where they are not known as they are now, and
   * those before them back to the first that is new, where the view begins.
   */
  async open(id: string | null): Promise<void> {
    if (this.#open !== null && this.#open !== id) {
      this.store.setState(store.logTrimmed(this.#open, LOG_KEPT));
    }
    this.#open = id;
    if (id === null) return;
    if (!this.store.getState().conversations[id]) await this.#sync.conversation(id);
    const log = this.store.getState().logs[id];
    if (log && (log.stale || (log.hasOlder && log.messages.length < 2))) {
      await this.#once(`newest ${id}`, () => this.#sync.newest(id));
    }
    const isOpen = () => this.#open === id;
    for (let held = 0; isOpen() && !store.reachesNew(id)(this.store.getState());) {
      await this.#once(`older ${id}`, () => this.#sync.older(id, PAGE_MAX));
      const now = this.store.getState().logs[id]?.messages.length ?? 0;
      if (now <= held) return;
      held = now;
    }
  }

  async loadOlder(id: string): Promise<void> {
    await this.#once(`older ${id}`, () => this.#sync.older(id));
  }

  send(conversationId: string, { content, replyTo, kind, attachments }: Written): void {
    this.#marks.typing(conversationId, false);
    void this.#outbox.add({
      clientMsgId: randomId(),
      conversationId,
      kind: kind ?? 'text',
      content,
      attachments: attachments ?? [],
      replyTo,
      writtenAt: Date.now(),
      state: 'waiting',
      reason: null,
    });
  }

  retry(clientMsgId: string): void {
    void this.#outbox.retry(clientMsgId);
  }

  discard(clientMsgId: string): void {
    void this.#outbox.remove(clientMsgId);
  }

  async edit(messageId: string, content: string): Promise<void> {
    const { message } = await this.#connection.request('edit_msg', { messageId, content });
    this.store.setState(store.messageChanged(translate.message(message)));
  }

  async remove(messageId: string): Promise<void> {
    const { message } = await this.#connection.request('delete_msg', { messageId });
    this.store.setState(store.messageChanged(translate.message(message)));
  }

  /** The person has seen this conversation up to `seq`. */
  read(id: string, seq: number): void {
    this.#marks.read(id, seq);
  }

  typing(id: string, typing: boolean): void {
    this.#marks.typing(id, typing);
  }

  async findPeople(text: string, signal: AbortSignal): Promise<readonly Person[]> {
    const users = await this.#rest.findPeople(text, signal);
    return users.map(translate.person).filter(({ id }) => id !== this.store.getState().me.id);
  }

  /** Begins a conversation, or finds the one there is between two people; its id. */
  async create(people: readonly Person[], title: string): Promise<string> {
    const isGroup = people.length > 1 || title !== '';
    const told = await this.#creations.create({
      type: isGroup ? 'group' : 'private',
      participants: people.map(({ id }) => id),
      ...(title === '' ? {} : { title }),
    });
    this.store.setState(store.peopleKnown(people));
    this.store.setState(store.conversationsKnown([translate.conversation(told)]));
    this.#sync.known(told.members ?? []);
    return told.id;
  }

  async rename(id: string, title: string): Promise<void> {
    await this.#rest.rename(id, title);
  }

  async addMembers(id: string, people: readonly Person[]): Promise<void> {
    this.store.setState(store.peopleKnown(people));
    for (const one of people) await this.#rest.addMember(id, one.id);
  }

  async removeMember(id: string, userId: string): Promise<void> {
    await this.#rest.removeMember(id, userId);
    if (userId === this.store.getState().me.id) this.store.setState(store.conversationGone(id));
  }

  // === what the server says ===

  async #up(): Promise<void> {
    this.store.setState(store.allStale);
    this.store.setState({ connection: 'joining' });
    this.#turn += 1;
    const turn = this.#turn;
    // If the connection goes away meanwhile, the next one starts over.
    const isCurrent = () => this.#connection.connected && this.#turn === turn;
    for (let attempt = 0; ; attempt += 1) {
      try {
        await this.#sync.catchUp();
        break;
      } catch {
        if (!isCurrent()) return;
        await sleep(backoff(attempt, { firstMs: RECONNECT_FIRST_MS, maxMs: RECONNECT_MAX_MS }));
      }
    }
    if (!isCurrent()) return;
    this.store.setState({ connection: 'online' });
    this.#outbox.drainAll();
    this.uploads.resume();
    this.#marks.resume();
    if (this.#open !== null) await this.open(this.#open).catch(() => undefined);
  }

  #listen(): void {
    const { socket } = this.#connection;
    socket.on('authenticated', ({ user }) =>
      this.store.setState(store.meKnown(translate.me(user))),
    );
    socket.on('receive_msg', (told) => {
      const message = translate.message(told);
      const known = this.store.getState().logs[message.conversationId];
      this.#arrived(message);
      if (message.sender === this.store.getState().me.id) return;
      if (known && message.seq <= known.to) return;
      for (const heard of this.#incoming) heard(message);
    });
    socket.on('msg_sent', ({ message }) => this.#arrived(translate.message(message)));
    const changed = (told: Parameters<typeof translate.message>[0]) =>
      this.store.setState(store.messageChanged(translate.message(told)));
    socket.on('msg_edited', changed);
    socket.on('msg_deleted', changed);
    socket.on('msg_status', ({ conversationId, userId, status, seq }) =>
      this.store.setState(store.cursorRose(conversationId, userId, status, seq)),
    );
    socket.on('typing', ({ conversationId, userId, typing }) => {
      const until = typing ? Date.now() + TYPING_LASTS_MS : null;
      if (userId !== this.store.getState().me.id)
        this.store.setState(store.typingChanged(conversationId, userId, until));
    });
    socket.on('presence', (told) =>
      this.store.setState(store.presenceChanged([translate.presence(told)])),
    );
    socket.on('conversation_created', ({ conversation }) => {
      this.#sync.known(conversation.members ?? []);
      this.store.setState(store.conversationsKnown([translate.conversation(conversation)]));
      this.#sync.people(conversation.participants);
      void this.#sync.presence().catch(() => undefined);
    });
    socket.on('conversation_updated', ({ conversation: { id, title, participants, rev } }) => {
      this.store.setState(store.conversationChanged(id, { title, participants, rev }));
      this.#sync.people(participants);
    });
    socket.on('member_added', ({ conversationId, userId, rev }) => {
      this.#sync.people([userId]);
      this.#membersChanged(conversationId, rev, (ids) => [...new Set([...ids, userId])]);
    });
    socket.on('member_removed', ({ conversationId, userId, rev }) => {
      if (userId === this.store.getState().me.id) {
        this.store.setState(store.conversationGone(conversationId));
      } else {
        this.#membersChanged(conversationId, rev, (ids) => ids.filter((id) => id !== userId));
      }
    });
    socket.on('token_expiring', () => void this.#session.renewIfDue().catch(() => undefined));
  }

  #membersChanged(
    id: string,
    rev: number | undefined,
    change: (ids: readonly string[]) => readonly string[],
  ): void {
    const known = this.store.getState().conversations[id];
    if (!known) return;
    const participants = change(known.participants);
    this.store.setState(store.conversationChanged(id, { participants, rev: rev ?? known.rev }));
  }

  #arrived(message: Message): void {
    const id = message.conversationId;
    this.store.setState(store.messageArrived(message));
    const held = this.store.getState().logs[id]?.messages.length ?? 0;
    if (id !== this.#open && held > LOG_MAX) this.store.setState(store.logTrimmed(id, LOG_KEPT));
    this.#sync.people([message.sender, message.event?.userId ?? message.sender]);
    this.#sync.watchGap(id);
    const { me } = this.store.getState();
    if (message.sender !== me.id) this.#marks.delivered(id);
    else if (message.clientMsgId !== null) void this.#outbox.remove(message.clientMsgId);
    if (!this.store.getState().conversations[id]) {
      this.#sync.conversation(id).catch(() => undefined);
    }
  }

  #sendFile(id: string, attachment: Attachment): void {
    if (!this.store.getState().conversations[id]) return;
    const kind = isPicture(attachment.contentType) ? 'image' : 'file';
    this.send(id, { content: '', replyTo: null, kind, attachments: [attachment] });
  }

  async #send(pending: Pending): Promise<Message> {
    const { conversationId, content, clientMsgId, kind, attachments, replyTo } = pending;
    const { message } = await this.#connection.request('send_msg', {
      conversationId,
      content,
      clientMsgId,
      ...(kind === 'image' || kind === 'file' ? { type: kind } : {}),
      ...(attachments.length > 0 ? { attachments: attachments.map((one) => one.fileId) } : {}),
      ...(replyTo === null ? {} : { replyTo }),
    });
    return translate.message(message);
  }

  /** Joins a call that is already under way. */
  async #once(name: string, work: () => Promise<void>): Promise<void> {
    let running = this.#loading.get(name);
    if (!running) {
      running = work().finally(() => this.#loading.delete(name));
      this.#loading.set(name, running);
    }
    await running;
  }
}
