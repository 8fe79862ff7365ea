import {
  useCallback,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
  type KeyboardEvent,
} from 'react';
import { Virtualizer, type VirtualizerHandle } from 'virtua';

import { rove } from '../a11y/rove';
import { statusOf } from '../state/log';
import { prependedRows, rowsOf, type Row } from '../state/rows';
import { useChat, useChatState } from './chat-context';
import { IconButton } from './Button';
import styles from './MessageList.module.css';
import { MessageRow, PendingRow, type MessageActions } from './MessageRow';
import { DayRow, MoreRow, StartRow, SystemRow, UnreadRow } from './other-rows';

/** Older messages are asked for when the top is this near, in pixels. */
const LOAD_AHEAD_PX = 800;
/** The end counts as seen from this near. */
const AT_END_PX = 40;
/** How many pages are loaded to find the message that another one answers. */
const SEARCH_PAGES_MAX = 20;

const NONE: never[] = [];

interface MessageListProps extends MessageActions {
  readonly id: string;
}

/**
 * The messages of a conversation. Only those near the view are in the document. The view stays at
 * the end while it is there, and stays on what is read when older messages come in above.
 */
export function MessageList({ id, onReply, onEdit, onDelete }: MessageListProps) {
  const chat = useChat();
  const me = useChatState((state) => state.me.id);
  const log = useChatState((state) => state.logs[id]);
  const pending = useChatState((state) => state.pending[id] ?? NONE);
  const people = useChatState((state) => state.people);
  const cursors = useChatState((state) => state.cursors[id]);
  const isGroup = useChatState((state) => state.conversations[id]?.kind === 'group');

  // Where the new messages began when the conversation was opened, and stays until it is left.
  const [unreadAfter] = useState(() => {
    const conversation = chat.store.getState().conversations[id];
    return conversation && conversation.unread > 0 ? conversation.readSeq : null;
  });
  const rows = useMemo(
    () => (log ? rowsOf(log, pending, me, unreadAfter) : []),
    [log, pending, me, unreadAfter],
  );
  const byId = useMemo(
    () => new Map((log?.messages ?? []).map((message) => [message.id, message])),
    [log?.messages],
  );

  // Rows put in front must not move what is being read.
  const [known, setKnown] = useState(rows);
  const [shift, setShift] = useState(false);
  if (rows !== known) {
    setKnown(rows);
    setShift(prependedRows(known, rows) > 0);
  }

  const list = useRef<VirtualizerHandle>(null);
  const scroller = useRef<HTMLDivElement>(null);
  const [atEnd, setAtEnd] = useState(true);
  const [missed, setMissed] = useState(false);
  const view = useRef({ follows: true, offset: 0, loading: false, placed: false });
  const [active, setActive] = useState<string | null>(null);
  const [flash, setFlash] = useState<string | null>(null);

  const loadOlder = useCallback(async () => {
    if (view.current.loading) return;
    view.current.loading = true;
    try {
      await chat.loadOlder(id);
    } catch {
      // Scrolling tries again.
    } finally {
      view.current.loading = false;
    }
  }, [chat, id]);

  const toEnd = useCallback(() => {
    view.current.follows = true;
    list.current?.scrollToIndex(rows.length - 1, { align: 'end' });
  }, [rows.length]);

  /** Tells how far the person has read: to the last message in view, while they look. */
  const see = useCallback(() => {
    const handle = list.current;
    if (!handle || document.visibilityState !== 'visible') return;
    const bottom = handle.scrollOffset + handle.viewportSize;
    const last = view.current.follows ? rows.length - 1 : handle.findItemIndex(bottom);
    for (let at = last; at >= 0; at -= 1) {
      const row = rows[at];
      if (row?.type === 'message' || row?.type === 'system') {
        chat.read(id, row.message.seq);
        return;
      }
    }
  }, [chat, id, rows]);

  const onScroll = (offset: number) => {
    const handle = list.current;
    if (!handle) return;
    const end = offset + handle.viewportSize >= handle.scrollSize - AT_END_PX;
    // Only moving up lets go of the end; what grows below does not.
    if (end) view.current.follows = true;
    else if (offset < view.current.offset - 1) view.current.follows = false;
    view.current.offset = offset;
    setAtEnd(end || view.current.follows);
    if (end) setMissed(false);
    see();
    if (offset < LOAD_AHEAD_PX && log?.hasOlder) void loadOlder();
  };

  // The first view: where the new messages begin, or the end. Afterwards: follow the end.
  useLayoutEffect(() => {
    if (rows.length === 0) return;
    if (!view.current.placed) {
      view.current.placed = true;
      const unread = rows.findIndex(({ type }) => type === 'unread');
      if (unread >= 0 && rows.length - unread > 8) {
        view.current.follows = false;
        list.current?.scrollToIndex(unread, { align: 'start', offset: -24 });
        return;
      }
    }
    if (view.current.follows) list.current?.scrollToIndex(rows.length - 1, { align: 'end' });
  }, [rows]);

  // What I write myself brings me back to the end.
  const lastPending = pending.at(-1)?.clientMsgId;
  useEffect(() => {
    if (lastPending !== undefined) toEnd();
    // Only a new one does.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [lastPending]);

  // Messages that arrive below the view are hinted at.
  const lastSeq = log?.messages.at(-1)?.seq ?? 0;
  const [seenSeq, setSeenSeq] = useState(lastSeq);
  if (lastSeq !== seenSeq) {
    setSeenSeq(lastSeq);
    if (!atEnd && lastSeq > seenSeq) setMissed(true);
  }

  useEffect(() => {
    see();
    document.addEventListener('visibilitychange', see);
    return () => document.removeEventListener('visibilitychange', see);
  }, [see]);

  // A short page leaves room: fill it.
  useEffect(() => {
    const handle = list.current;
    if (log?.hasOlder && handle && handle.scrollSize <= handle.viewportSize + LOAD_AHEAD_PX / 2) {
      void loadOlder();
    }
  }, [log?.hasOlder, log?.from, loadOlder]);

  const onResize = () => {
    if (view.current.follows) list.current?.scrollToIndex(rows.length - 1, { align: 'end' });
  };

  const focusRow = (index: number) => {
    const row = rows[index];
    if (!row) return;
    setActive(row.key);
    list.current?.scrollToIndex(index, { align: 'nearest' });
    requestAnimationFrame(() => {
      const found = scroller.current?.querySelector<HTMLElement>(
        `[data-row="${CSS.escape(row.key)}"]`,
      );
      found?.focus({ preventScroll: true });
    });
  };

  const onKeyDown = (event: KeyboardEvent<HTMLElement>) => {
    const target = event.target as HTMLElement;
    if (target !== scroller.current && target.dataset.row === undefined) return;
    const places = rows.flatMap((row, index) =>
      row.type === 'message' || row.type === 'pending' ? [index] : [],
    );
    const at = places.findIndex((index) => rows[index]?.key === target.dataset.row);
    const next = rove(event.key, at, places.length);
    if (next === null) return;
    event.preventDefault();
    focusRow(places[next] ?? 0);
  };

  /** Shows the message that another one answers, loading back to it if need be. */
  const jumpTo = useCallback(
    async (messageId: string) => {
      const find = () =>
        chat.store.getState().logs[id]?.messages.find((message) => message.id === messageId);
      for (let page = 0; !find() && page < SEARCH_PAGES_MAX; page += 1) {
        if (!chat.store.getState().logs[id]?.hasOlder) break;
        await chat.loadOlder(id);
      }
      const found = find();
      if (!found) return;
      view.current.follows = false;
      setFlash(found.id);
      setTimeout(() => setFlash(null), 1_600);
    },
    [chat, id],
  );
  const flashAt =
    flash === null
      ? -1
      : rows.findIndex((row) => row.type === 'message' && row.message.id === flash);
  useEffect(() => {
    if (flashAt >= 0) list.current?.scrollToIndex(flashAt, { align: 'center' });
    // Once for each jump, wherever rows go meanwhile.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [flash]);

  const onJump = useCallback(
    (messageId: string) => void jumpTo(messageId).catch(() => undefined),
    [jumpTo],
  );
  const activeAt = active === null ? -1 : rows.findIndex(({ key }) => key === active);
  const actions = useMemo(() => ({ onReply, onEdit, onDelete }), [onReply, onEdit, onDelete]);

  const quote = (replyTo: string | null) => {
    const quoted = replyTo === null ? undefined : byId.get(replyTo);
    return { quoted, quotedName: quoted && people[quoted.sender]?.username };
  };

  const render = (row: Row) => {
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
            {...quote(row.pending.replyTo)}
            onJump={onJump}
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
            {...quote(row.message.replyTo)}
            onJump={onJump}
            actions={actions}
          />
        );
    }
  };

  return (
    <div className={styles.frame}>
      <div
        ref={scroller}
        className={styles.list}
        role="log"
        aria-label="Messages"
        // Lines that come into view by scrolling back are no news.
        aria-live={atEnd ? 'polite' : 'off'}
        aria-relevant="additions"
        tabIndex={0}
        onKeyDown={onKeyDown}
        onFocus={(event) =>
          setActive(event.target.closest<HTMLElement>('[data-row]')?.dataset.row ?? null)
        }
      >
        <div className={styles.spring} />
        <Virtualizer
          ref={list}
          scrollRef={scroller}
          data={rows}
          shift={shift}
          bufferSize={400}
          keepMounted={activeAt >= 0 ? [activeAt] : NONE}
          onScroll={onScroll}
          onResize={onResize}
        >
          {render}
        </Virtualizer>
      </div>
      {!atEnd && (
        <div className={styles.down} data-news={missed}>
          <IconButton
            icon="down"
            label={missed ? 'To the new messages' : 'To the newest'}
            onClick={toEnd}
          />
        </div>
      )}
    </div>
  );
}
