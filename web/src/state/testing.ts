/** Small makers of messages and conversations, for tests. */

import type { Conversation, Me, Message, Pending } from './model';

export const ME: Me = { id: 'me', username: 'me', email: null, avatar: null };

export function message(seq: number, change: Partial<Message> = {}): Message {
  return {
    id: `m${seq}`,
    conversationId: 'c',
    seq,
    sender: 'you',
    content: `text ${seq}`,
    kind: 'text',
    status: 'sent',
    edited: false,
    deleted: false,
    attachments: [],
    replyTo: null,
    clientMsgId: null,
    event: null,
    createdAt: Date.UTC(2026, 0, 31, 12, 0, seq),
    updatedAt: Date.UTC(2026, 0, 31, 12, 0, seq),
    rev: 1,
    ...change,
  };
}

export const messages = (...seqs: number[]): Message[] => seqs.map((seq) => message(seq));

export function conversation(change: Partial<Conversation> = {}): Conversation {
  return {
    id: 'c',
    kind: 'private',
    title: null,
    participants: ['me', 'you'],
    lastSeq: 0,
    lastMessage: null,
    readSeq: 0,
    deliveredSeq: 0,
    unread: 0,
    updatedAt: 0,
    rev: 1,
    changeSeq: 1,
    ...change,
  };
}

export function pending(clientMsgId: string, change: Partial<Pending> = {}): Pending {
  return {
    clientMsgId,
    conversationId: 'c',
    kind: 'text',
    content: `pending ${clientMsgId}`,
    attachments: [],
    replyTo: null,
    writtenAt: Date.UTC(2026, 0, 31, 13),
    state: 'waiting',
    reason: null,
    ...change,
  };
}
