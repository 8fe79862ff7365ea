/** What stands in a conversation, line by line: messages, days, and where the new ones begin. */

import type { Log } from './log';
import type { Message, Pending } from './model';

export type Row =
  | { readonly type: 'start'; readonly key: string }
  /** There is more above, and it is on its way. */
  | { readonly type: 'more'; readonly key: string }
  | { readonly type: 'day'; readonly key: string; readonly at: number }
  | { readonly type: 'unread'; readonly key: string }
  | { readonly type: 'system'; readonly key: string; readonly message: Message }
  | ({ readonly type: 'message'; readonly message: Message } & Grouped)
  | ({ readonly type: 'pending'; readonly pending: Pending } & Grouped);

interface Grouped {
  readonly key: string;
  /** Whether it opens, or closes, a run of messages by one person. */
  readonly first: boolean;
  readonly last: boolean;
}

/** Messages of one person further apart than this do not belong together. */
const RUN_MS = 5 * 60_000;

/** The same for a message while it waits and when it has arrived, so that its line stays. */
const keyOf = (sender: string, clientMsgId: string | null, id: string) =>
  clientMsgId === null ? id : `${sender}/${clientMsgId}`;

function dayOf(at: number): string {
  const date = new Date(at);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}

/** One message or pending message, before it is known what stands around it. */
interface Line {
  readonly at: number;
  readonly sender: string;
  readonly message?: Message;
  readonly pending?: Pending;
}

/**
 * The rows of a conversation. `unreadAfter` is my read cursor when I opened it, or null where no
 * line should be drawn.
 */
export function rowsOf(
  log: Log,
  pending: readonly Pending[],
  me: string,
  unreadAfter: number | null,
): readonly Row[] {
  const rows: Row[] = [];
  rows.push(log.hasOlder ? { type: 'more', key: 'more' } : { type: 'start', key: 'start' });
  const arrived = new Set<string>();
  const lines: Line[] = log.messages.map((message) => {
    if (message.sender === me && message.clientMsgId !== null) arrived.add(message.clientMsgId);
    return { at: message.createdAt, sender: message.sender, message };
  });
  for (const one of pending) {
    if (!arrived.has(one.clientMsgId)) lines.push({ at: one.writtenAt, sender: me, pending: one });
  }

  let day = '';
  let opened = unreadAfter === null;
  let run: { sender: string; at: number } | null = null;
  lines.forEach((line, index) => {
    const today = dayOf(line.at);
    if (today !== day) {
      day = today;
      run = null;
      rows.push({ type: 'day', key: `day ${today}`, at: line.at });
    }
    if (!opened && isNewTo(line, me, unreadAfter ?? 0)) {
      opened = true;
      run = null;
      rows.push({ type: 'unread', key: 'unread' });
    }
    if (line.message?.kind === 'system') {
      run = null;
      rows.push({ type: 'system', key: line.message.id, message: line.message });
      return;
    }
    const first = run?.sender !== line.sender || line.at - run.at > RUN_MS;
    run = { sender: line.sender, at: line.at };
    const grouped = { first, last: !continues(line, lines[index + 1]) };
    if (line.message) {
      const { message } = line;
      const key = keyOf(message.sender, message.clientMsgId, message.id);
      rows.push({ type: 'message', key, message, ...grouped });
    } else if (line.pending) {
      const key = keyOf(me, line.pending.clientMsgId, '');
      rows.push({ type: 'pending', key, pending: line.pending, ...grouped });
    }
  });
  return rows;
}

function isNewTo({ message, sender }: Line, me: string, readSeq: number): boolean {
  return (
    message !== undefined && message.seq > readSeq && sender !== me && message.kind !== 'system'
  );
}

function continues(line: Line, next: Line | undefined): boolean {
  return (
    next !== undefined &&
    next.sender === line.sender &&
    next.message?.kind !== 'system' &&
    next.at - line.at <= RUN_MS &&
    dayOf(next.at) === dayOf(line.at)
  );
}

/** How many rows were put in front since `before`: more than 0 only if nothing else changed there. */
export function prependedRows(before: readonly Row[], now: readonly Row[]): number {
  const anchor = before.find(({ type }) => type === 'message' || type === 'system');
  if (anchor === undefined) return 0;
  const [was, is] = [before.indexOf(anchor), now.findIndex(({ key }) => key === anchor.key)];
  return is > was ? is - was : 0;
}
