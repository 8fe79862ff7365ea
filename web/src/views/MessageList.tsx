import { useCallback, useEffect, useMemo, useRef, useState, type RefObject } from 'react';
import { Virtualizer, type VirtualizerHandle } from 'virtua';

import { reachesBack, statusOf } from '../state/log';
import type { Message } from '../state/model';
import { prependedRows, rowsOf, type Row } from '../state/rows';
import * as store from '../state/store';
import { IconButton } from './Button';
import { useChat, useChatState } from './chat-context';
import styles from './MessageList.module.css';
import { MessageRow, PendingRow, type MessageActions } from './MessageRow';
import { DayRow, MoreRow, StartRow, SystemRow, UnreadRow } from './other-rows';
import { useJump } from './useJump';
import { useListView } from './useListView';
import { useRowFocus } from './useRowFocus';

/** Older messages are asked for when the top is this near, in pixels. */
const LOAD_AHEAD_PX = 800;

/** What the server has not said by then is not waited for: the view is placed by what is known. */
const PLACE_WITHIN_MS = 2_000;

const NONE: never[] = [];

interface MessageListProps extends MessageActions {
  readonly id: string;
}

/**
 * The messages of a conversation. Only those near the view are in the document. The view stays at
 * the end while it is there, and stays on what is read when older messages come in above.
 */
export function MessageList({ id, ...actions }: MessageListProps) {
  const { rows, shift, ready, whole } = useRows(id);
  const scroller = useRef<HTMLDivElement>(null);
  const { list, ...view } = useListView(rows, ready, scroller);
  const { active, onKeyDown, onFocus } = useRowFocus(rows, list, scroller);
  const { flash, jumpTo } = useJump(id, rows, list, view.leaveEnd);
  const loadNear = useOlder(id, list);
  const see = useReading(id, rows, whole, view.lastInView);
  const missed = useMissed(id, view.atEnd);
  useOwnToEnd(id, view.toEnd);
  const render = useRender(id, { active, flash, jumpTo, ...actions });
  const activeAt = active === null ? -1 : rows.findIndex(({ key }) => key === active);

  return (
    <div className={styles.frame}>
      <div
        ref={scroller}
        className={styles.list}
        role="log"
        aria-label="Messages"
        // Lines that come into view by scrolling back are no news.
        aria-live={view.atEnd ? 'polite' : 'off'}
        aria-relevant="additions"
        tabIndex={0}
        onWheel={view.onHand}
        onTouchMove={view.onHand}
        onPointerDown={view.onHand}
        onKeyDown={(event) => {
          view.onHand();
          onKeyDown(event);
        }}
        onFocus={onFocus}
      >
        <div className={styles.spring} />
        <Virtualizer
          ref={list}
          scrollRef={scroller}
          data={rows}
          shift={shift}
          bufferSize={400}
          keepMounted={activeAt >= 0 ? [activeAt] : NONE}
          onScroll={(offset) => {
            view.onScroll(offset);
            see();
            loadNear(offset);
          }}
          onResize={view.onResize}
        >
          {render}
        </Virtualizer>
      </div>
      {!view.atEnd && (
        <div className={styles.down} data-news={missed}>
          <IconButton
            icon="down"
            label={missed ? 'To the new messages' : 'To the newest'}
            onClick={view.toEnd}
          />
        </div>
      )}
    </div>
  );
}

/**
 * The rows, whether the last change put some in front, whether the view can be placed, and whether
 * all that is new is there, as the server has it now.
 */
function useRows(id: string) {
  const chat = useChat();
  const me = useChatState((state) => state.me.id);
  const log = useChatState((state) => state.logs[id]);
  const pending = useChatState((state) => state.pending[id] ?? NONE);
  const online = useChatState((state) => state.connection === 'online');
  const reached = useChatState(store.reachesNew(id));
  const late = useLate(PLACE_WITHIN_MS);

  // Where the new messages begin when the conversation is opened, and stays until it is left. What
  // was kept from the last visit does not know what has been read, or said, since: it serves until
  // the server has told.
  const [opened, setOpened] = useState<Opened | null>(null);
  if (opened === null ? online || late : online && !opened.current) {
    const conversation = chat.store.getState().conversations[id];
    const hasNew = conversation !== undefined && conversation.unread > 0;
    const unreadAfter = opened?.unreadAfter ?? (hasNew ? conversation.readSeq : null);
    setOpened({ unreadAfter, current: online });
  }
  const known = opened?.unreadAfter ?? null;
  const unreadAfter = log && known !== null && reachesBack(log, known) ? known : null;
  const rows = useMemo(
    () => (log ? rowsOf(log, pending, me, unreadAfter) : NONE),
    [log, pending, me, unreadAfter],
  );

  const [before, setBefore] = useState(rows);
  const [shift, setShift] = useState(false);
  if (rows !== before) {
    setBefore(rows);
    setShift(prependedRows(before, rows) > 0);
  }

  // Of a conversation that was not open before only the newest message is there at first.
  const filled = reached && log !== undefined && (log.messages.length > 1 || !log.hasOlder);
  const whole = reached && opened?.current === true;
  return { rows, shift, ready: opened !== null && (filled || late), whole };
}

/** What was known when a conversation was opened. */
interface Opened {
  /** My read cursor, if there was something new. */
  readonly unreadAfter: number | null;
  /** Whether the server had told what happened since the last visit. */
  readonly current: boolean;
}

/** Whether this much time has passed since the first view. */
function useLate(ms: number): boolean {
  const [late, setLate] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setLate(true), ms);
    return () => clearTimeout(timer);
  }, [ms]);
  return late;
}

/** Loads older messages as the top comes near, and where a short page leaves room. */
function useOlder(id: string, list: RefObject<VirtualizerHandle | null>) {
  const chat = useChat();
  const hasOlder = useChatState((state) => state.logs[id]?.hasOlder === true);
  const from = useChatState((state) => state.logs[id]?.from);

  const load = useCallback(() => {
    // Scrolling tries again.
    if (hasOlder) chat.loadOlder(id).catch(() => undefined);
  }, [chat, id, hasOlder]);

  useEffect(() => {
    const handle = list.current;
    if (handle && handle.scrollSize <= handle.viewportSize + LOAD_AHEAD_PX / 2) load();
  }, [list, from, load]);

  return useCallback(
    (offset: number) => {
      if (offset < LOAD_AHEAD_PX) load();
    },
    [load],
  );
}

/**
 * Tells how far the person has read: to the last message in view, while they look. Not before all
 * that is new is there: it would count as seen just by coming in, or by standing above what is seen.
 */
function useReading(id: string, rows: readonly Row[], whole: boolean, lastInView: () => number) {
  const chat = useChat();
  const see = useCallback(() => {
    if (!whole || document.visibilityState !== 'visible') return;
    for (let at = lastInView(); at >= 0; at -= 1) {
      const row = rows[at];
      if (row?.type === 'message' || row?.type === 'system') {
        chat.read(id, row.message.seq);
        return;
      }
    }
  }, [chat, id, rows, whole, lastInView]);

  useEffect(() => {
    see();
    document.addEventListener('visibilitychange', see);
    return () => document.removeEventListener('visibilitychange', see);
  }, [see]);
  return see;
}

/** What I write myself brings me back to the end. */
function useOwnToEnd(id: string, toEnd: () => void): void {
  const last = useChatState((state) => state.pending[id]?.at(-1)?.clientMsgId);
  useEffect(() => {
    if (last !== undefined) toEnd();
  }, [last, toEnd]);
}

/** Whether messages have come below the view since it left the end. */
function useMissed(id: string, atEnd: boolean): boolean {
  const lastSeq = useChatState((state) => state.logs[id]?.messages.at(-1)?.seq ?? 0);
  const [seen, setSeen] = useState(lastSeq);
  if (atEnd && seen !== lastSeq) setSeen(lastSeq);
  return !atEnd && lastSeq > seen;
}

interface Rendering extends MessageActions {
  readonly active: string | null;
  readonly flash: string | null;
  readonly jumpTo: (messageId: string) => void;
}

/** How a row is drawn. */
function useRender(id: string, rendering: Rendering) {
  const { active, flash, jumpTo, onReply, onEdit, onDelete } = rendering;
  const me = useChatState((state) => state.me.id);
  const people = useChatState((state) => state.people);
  const cursors = useChatState((state) => state.cursors[id]);
  const isGroup = useChatState((state) => state.conversations[id]?.kind === 'group');
  const messages = useChatState((state) => state.logs[id]?.messages);
  const byId = useMemo(
    () => new Map((messages ?? NONE).map((message: Message) => [message.id, message])),
    [messages],
  );
  const actions = useMemo(() => ({ onReply, onEdit, onDelete }), [onReply, onEdit, onDelete]);

  const quote = (replyTo: string | null) => {
    const quoted = replyTo === null ? undefined : byId.get(replyTo);
    return { quoted, quotedName: quoted && people[quoted.sender]?.username };
  };

  return (row: Row) => {
    switch (row.type) {
      case 'start':
        return <StartRow key={row.key} id={id} />;
      case 'more':
        return <MoreRow key={row.key} />;
      case 'day':
        return <DayRow key={row.key} at={row.at} />;
      case 'unread':
        return <UnreadRow key={row.key} />;
      case 'system':
        return <SystemRow key={row.key} message={row.message} />;
      case 'pending':
        return (
          <PendingRow
            key={row.key}
            rowKey={row.key}
            pending={row.pending}
            first={row.first}
            last={row.last}
            active={row.key === active}
            onJump={jumpTo}
            {...quote(row.pending.replyTo)}
          />
        );
      case 'message':
        return (
          <MessageRow
            key={row.key}
            rowKey={row.key}
            message={row.message}
            sender={people[row.message.sender]}
            mine={row.message.sender === me}
            status={statusOf(row.message, cursors)}
            first={row.first}
            last={row.last}
            inGroup={isGroup}
            active={row.key === active}
            flash={row.message.id === flash}
            onJump={jumpTo}
            actions={actions}
            {...quote(row.message.replyTo)}
          />
        );
    }
  };
}
