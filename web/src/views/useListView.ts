/**
 * Where the view of a conversation stands. It is placed once: where the new messages begin, as soon
 * as that is known, or at the end. At the end it stays there, whatever arrives or turns out higher than was guessed; away
 * from it, it stays on what is being read.
 */

import { useCallback, useLayoutEffect, useRef, useState, type RefObject } from 'react';
import type { VirtualizerHandle } from 'virtua';

import type { Row } from '../state/rows';

/** The end counts as reached from this near. */
const AT_END_PX = 40;
/** Further down than any conversation reaches; what is beyond the end is the end. */
const FAR_PX = 1e9;
/** After a hand on it the view is left alone for so long: what the hand does comes first. */
const HAND_MS = 250;
/** Fewer new rows than this fit on a screen with the end: then the view starts at the end. */
const NEW_ROWS_MIN = 8;

export interface ListView {
  /** For the virtualiser. */
  readonly list: RefObject<VirtualizerHandle | null>;
  /** Whether the end is in view, or followed. */
  readonly atEnd: boolean;
  readonly toEnd: () => void;
  /** Lets go of the end, to show something else. */
  readonly leaveEnd: () => void;
  /** The last row in view; -1 while the view is not placed. */
  readonly lastInView: () => number;
  readonly onScroll: (offset: number) => void;
  readonly onResize: () => void;
  /** A hand is on the wheel, the keys, the screen or the bar. */
  readonly onHand: () => void;
}

function isAtEnd({ scrollOffset, viewportSize, scrollSize }: VirtualizerHandle): boolean {
  return scrollOffset + viewportSize >= scrollSize - AT_END_PX;
}

/** Where the new messages begin; -1 where nothing is new. */
const unreadAt = (rows: readonly Row[]) => rows.findIndex(({ type }) => type === 'unread');

/** `scrollerRef` is what scrolls; `ready`: whether enough is there to place the view. */
export function useListView(
  rows: readonly Row[],
  ready: boolean,
  scrollerRef: RefObject<HTMLElement | null>,
): ListView {
  const list = useRef<VirtualizerHandle>(null);
  const [atEnd, setAtEnd] = useState(true);
  const view = useRef({
    placed: false,
    /** Whether it was set where the new messages begin, or left alone when that became known. */
    marked: false,
    /** Whether it was sent there and has not arrived yet: until then it stands nowhere. */
    sent: false,
    follows: true,
    offset: 0,
    hand: -Infinity,
  });
  const current = useRef(rows);

  /** Whether the view has come to where it was sent. The scrolling from before may still be told of. */
  const arrived = useCallback((handle: VirtualizerHandle) => {
    const now = view.current;
    if (!now.sent) return true;
    const past = handle.scrollOffset - handle.getItemOffset(unreadAt(current.current));
    now.sent = past > AT_END_PX || past < -handle.viewportSize;
    return !now.sent;
  }, []);

  const toEnd = useCallback(() => {
    view.current.follows = true;
    view.current.sent = false;
    // Once, without the virtualiser: it would repeat it while heights become known, also when a
    // hand has begun to scroll up. Where it was not the end yet, `follow` comes again.
    scrollerRef.current?.scrollTo({ top: FAR_PX });
  }, [scrollerRef]);

  /** To the end, if that is where the view stood before something changed. */
  const follow = useCallback(() => {
    const now = () => {
      if (view.current.follows) toEnd();
    };
    const wait = view.current.hand + HAND_MS - performance.now();
    if (wait > 0) setTimeout(now, wait);
    else now();
  }, [toEnd]);

  useLayoutEffect(() => {
    current.current = rows;
    if (rows.length === 0) return;
    if (ready) view.current.placed = true;
    // On a slow connection this becomes known when the view stands at the end already.
    const unread = unreadAt(rows);
    if (unread >= 0 && view.current.placed && !view.current.marked) {
      view.current.marked = true;
      if (view.current.follows && rows.length - unread > NEW_ROWS_MIN) {
        view.current.follows = false;
        view.current.sent = true;
        list.current?.scrollToIndex(unread, { align: 'start', offset: -24 });
        return;
      }
    }
    follow();
  }, [rows, ready, follow]);

  const onScroll = useCallback(
    (offset: number) => {
      const handle = list.current;
      if (!handle || !arrived(handle)) return;
      const end = isAtEnd(handle);
      const now = view.current;
      if (end) now.follows = true;
      // Moving up lets go of the end; what grows below, or comes in above, does not.
      else if (offset < now.offset - 1) now.follows = false;
      else if (now.follows) requestAnimationFrame(follow);
      now.offset = offset;
      setAtEnd(end || now.follows);
    },
    [arrived, follow],
  );

  const leaveEnd = useCallback(() => {
    view.current.follows = false;
    view.current.sent = false;
  }, []);

  const onHand = useCallback(() => {
    view.current.hand = performance.now();
    view.current.sent = false;
  }, []);

  const lastInView = useCallback(() => {
    const handle = list.current;
    if (!handle || !view.current.placed || !arrived(handle)) return -1;
    if (view.current.follows) return current.current.length - 1;
    return handle.findItemIndex(handle.scrollOffset + handle.viewportSize);
  }, [arrived]);

  return { list, atEnd, toEnd, leaveEnd, lastInView, onScroll, onResize: follow, onHand };
}
