/**
 * What goes over the wire, as the server's contract spells it. The JSON of REST is `openapi.ts`,
 * generated from the server's OpenAPI document; the socket's events carry the same things. Nothing
 * outside `net/` sees these; `translate.ts` turns them into the page's own nouns.
 */

import type {
  Conversation,
  ErrorBody,
  Message,
  SendableType,
  SharedConversation,
  User,
} from './openapi';

export type {
  Conversation,
  ConversationAnswer,
  ConversationsAnswer,
  ErrorAnswer,
  ErrorBody,
  ErrorCode,
  FileAnswer,
  LinkAnswer,
  Login,
  Message,
  MessagesAnswer,
  NewConversation,
  Register,
  SessionAnswer,
  SharedConversation,
  User,
  UserAnswer,
  UsersAnswer,
} from './openapi';

// === the socket ===

/** What an ack says: done, with what came of it, or refused. */
export type Ack<T = unknown> = ({ ok: true } & T) | { ok: false; error: ErrorBody };

export interface SendMsg {
  conversationId: string;
  content: string;
  type?: SendableType;
  clientMsgId?: string;
  attachments?: string[];
  replyTo?: string;
}

export interface Synced {
  id: string;
  /** What is held of this conversation is not what the server has: this is all of it. */
  reset?: true;
  messages: Message[];
  more: boolean;
  lastSeq: number;
  readSeq: number;
  deliveredSeq: number;
  unread: number;
  changes: Message[];
  changeSeq: number;
}

export interface PresenceOf {
  userId: string;
  status: 'online' | 'offline';
  lastSeen: string | null;
}

export interface MsgStatus {
  conversationId: string;
  userId: string;
  status: 'delivered' | 'read';
  seq: number;
}

export interface TypingOf {
  conversationId: string;
  userId: string;
  typing: boolean;
}

export interface MemberChange {
  conversationId: string;
  userId: string;
  by: string;
  seq?: number;
  rev?: number;
}

export interface ServerClosing {
  reason: 'draining' | 'slow_consumer' | 'token_expired' | 'replaced' | 'kicked';
  reconnectInMs: number;
}

/** What a client may ask, with what its ack carries. */
export interface Requests {
  authenticate: [{ token: string }, { user: User; expiresAt: string }];
  send_msg: [SendMsg, { message: Message }];
  edit_msg: [{ messageId: string; content: string }, { message: Message }];
  delete_msg: [{ messageId: string }, { message: Message }];
  mark_delivered: [{ conversationId: string; seq: number }, object];
  mark_read: [{ conversationId: string; seq: number }, { unread: number }];
  typing: [{ conversationId: string; typing: boolean }, object];
  sync: [
    {
      cursors: Record<string, number>;
      all?: boolean;
      changes?: Record<string, number>;
      epoch?: string;
    },
    { epoch: string; reset?: true; conversations: Synced[] },
  ];
  presence: [{ userIds: string[] }, { presence: PresenceOf[] }];
}

export type ClientEvents = {
  [Name in keyof Requests]: (
    payload: Requests[Name][0],
    ack?: (answer: Ack<Requests[Name][1]>) => void,
  ) => void;
};

export interface ServerEvents {
  authenticated: (event: { user: User; node: string; epoch: string; expiresAt: string }) => void;
  token_expiring: (event: { expiresAt: string }) => void;
  error_msg: (event: { error: ErrorBody; event: string; clientMsgId?: string }) => void;
  receive_msg: (message: Message) => void;
  msg_sent: (event: { clientMsgId: string | null; message: Message }) => void;
  msg_edited: (message: Message) => void;
  msg_deleted: (message: Message) => void;
  msg_status: (event: MsgStatus) => void;
  typing: (event: TypingOf) => void;
  presence: (event: PresenceOf) => void;
  conversation_created: (event: { conversation: Conversation }) => void;
  conversation_updated: (event: { conversation: SharedConversation }) => void;
  member_added: (event: MemberChange) => void;
  member_removed: (event: MemberChange) => void;
  server_closing: (event: ServerClosing) => void;
}
