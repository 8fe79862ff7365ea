/** From the wire's words to the page's. */

import type * as model from '../state/model';
import type { Missed } from '../state/store';
import type * as wire from './contract';

/** Only a picture that comes over TLS is shown; anything else falls back to initials. */
const safePicture = (address: string | null) =>
  address?.startsWith('https://') === true ? address : null;

const time = (text: string) => Date.parse(text);

export function person(user: wire.User): model.Person {
  return { id: user.id, username: user.username, avatar: safePicture(user.avatar) };
}

export function me(user: wire.User): model.Me {
  return { ...person(user), email: user.email ?? null };
}

export function presence(of: wire.PresenceOf): model.Presence & { userId: string } {
  return {
    userId: of.userId,
    online: of.status === 'online',
    lastSeen: of.lastSeen === null ? null : time(of.lastSeen),
  };
}

export function message(told: wire.Message): model.Message {
  const { type, event, createdAt, updatedAt } = told;
  return {
    id: told.id,
    conversationId: told.conversationId,
    seq: told.seq,
    sender: told.sender,
    content: told.content,
    kind: type,
    status: told.status,
    edited: told.edited,
    deleted: told.deleted,
    attachments: told.attachments,
    replyTo: told.replyTo,
    clientMsgId: told.clientMsgId,
    event: event
      ? { kind: event.kind, by: event.by, userId: event.userId ?? null, title: event.title ?? null }
      : null,
    createdAt: time(createdAt),
    updatedAt: time(updatedAt),
    rev: told.rev,
  };
}

export function conversation(told: wire.Conversation): model.Conversation {
  return {
    id: told.id,
    kind: told.type,
    title: told.title,
    participants: told.participants,
    lastSeq: told.lastSeq,
    lastMessage: told.lastMessage ? message(told.lastMessage) : null,
    readSeq: told.readSeq,
    deliveredSeq: told.deliveredSeq,
    unread: told.unread,
    updatedAt: time(told.updatedAt),
    rev: told.rev,
    changeSeq: told.changeSeq,
  };
}

export function missed(told: wire.Synced): Missed {
  return {
    ...told,
    messages: told.messages.map(message),
    changes: told.changes.map(message),
  };
}
