/**
 * The nouns of the page. `net/` translates what a server says into these; everything else speaks
 * only of these. Times are milliseconds since 1970, `seq` is a message's place in its conversation.
 */

export interface Person {
  readonly id: string;
  readonly username: string;
  readonly avatar: string | null;
}

/** The person who is signed in. */
export interface Me extends Person {
  readonly email: string | null;
}

export interface Presence {
  readonly online: boolean;
  /** When the last device went away; null while that is unknown. */
  readonly lastSeen: number | null;
}

export type ConversationKind = 'private' | 'group';

export interface Conversation {
  readonly id: string;
  readonly kind: ConversationKind;
  /** Of a group, if it was given one. */
  readonly title: string | null;
  /** Ids of everybody in it now, me too. */
  readonly participants: readonly string[];
  /** `seq` of the newest message; 0 while there is none. */
  readonly lastSeq: number;
  readonly lastMessage: Message | null;
  /** I have read up to here. */
  readonly readSeq: number;
  /** My devices have it up to here. */
  readonly deliveredSeq: number;
  readonly unread: number;
  readonly updatedAt: number;
  /** The version of the title and the participants. */
  readonly rev: number;
  /** The newest edit or deletion in it when the server told of it; 0 if that is not known. */
  readonly changeSeq: number;
}

export type MessageKind = 'text' | 'image' | 'file' | 'system';
/** How far a committed message has come: the furthest of the other members. */
export type MessageStatus = 'sent' | 'delivered' | 'read';

export interface Attachment {
  readonly fileId: string;
  readonly name: string;
  readonly size: number;
  readonly contentType: string;
}

/** What a system message tells. */
export interface Happening {
  readonly kind: 'added' | 'removed' | 'left' | 'renamed';
  readonly by: string;
  readonly userId: string | null;
  readonly title: string | null;
}

/** A committed message. */
export interface Message {
  readonly id: string;
  readonly conversationId: string;
  readonly seq: number;
  readonly sender: string;
  readonly content: string;
  readonly kind: MessageKind;
  readonly status: MessageStatus;
  readonly edited: boolean;
  readonly deleted: boolean;
  readonly attachments: readonly Attachment[];
  readonly replyTo: string | null;
  readonly clientMsgId: string | null;
  readonly event: Happening | null;
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Its version: 1 as it was committed, higher after each change. */
  readonly rev: number;
}

/** A message that is written but not yet known to be committed. */
export interface Pending {
  readonly clientMsgId: string;
  readonly conversationId: string;
  readonly kind: MessageKind;
  readonly content: string;
  readonly attachments: readonly Attachment[];
  readonly replyTo: string | null;
  readonly writtenAt: number;
  /** `waiting` for its turn or for the connection, `sending`, or `failed` for good unless retried. */
  readonly state: 'waiting' | 'sending' | 'failed';
  /** Why it failed, for the person who wrote it. */
  readonly reason: string | null;
}

/** A file on its way into a conversation. It lives as long as the page does. */
export interface Upload {
  readonly key: number;
  readonly conversationId: string;
  readonly file: File;
  /** `waiting` for its turn or for the connection, `running`, or `failed` unless tried again. */
  readonly state: 'waiting' | 'running' | 'failed';
  /** How much of it is there, from 0 to 1. */
  readonly share: number;
  /** Why it failed, for the person who sends it. */
  readonly reason: string | null;
}

/** `away`: there is no connection. `joining`: there is one, and what was missed is on its way. */
export type Connection = 'away' | 'joining' | 'online';
