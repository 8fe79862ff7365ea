/**
 * Where the view of a conversation stands. It is placed once: where the new messages begin, or at
 * the end. At the end it stays there, whatever arrives or turns out higher than was guessed; away
 * from it, it stays on what is being read.
 */

import { useCallback, useEffect, useLayoutEffect, useRef, useState, type RefObject } from 'react';
import type { VirtualizerHandle } from 'virtua';

import type { Row } from '../state/rows';

/** The end counts as reached from this near. */
const AT_END_PX = 40;
/** How long the way to the end may take, while rows are measured. */
const SETTLE_MS = 3_000;
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
  /** A hand on the wheel, the keys or the bar: nothing moves the view against it. */
  readonly onHand: () => void;
}

function isAtEnd({ scrollOffset, viewportSize, scrollSize }: VirtualizerHandle): boolean {
  return scrollOffset + viewportSize >= scrollSize - AT_END_PX;
}

/** `ready`: whether enough is there to place the view. */
export function useListView(rows: readonly Row[], ready: boolean): ListView {
  const list = useRef<VirtualizerHandle>(null);
  const [atEnd, setAtEnd] = useState(true);
  /** `settling`: until when the view is on its way to the end; 0 when it is not. */
  const view = useRef({ placed: false, follows: true, settling: 0, offset: 0 });
  const count = useRef(rows.length);

  useEffect(() => {
    count.current = rows.length;
  }, [rows.length]);

  const toEnd = useCallback(() => {
    view.current.follows = true;
    view.current.settling = performance.now() + SETTLE_MS;
    const step = () => {
      const handle = list.current;
      if (!handle || performance.now() > view.current.settling) return;
      if (isAtEnd(handle)) view.current.settling = 0;
      else handle.scrollToIndex(count.current - 1, { align: 'end' });
    };
    list.current?.scrollToIndex(count.current - 1, { align: 'end' });
    requestAnimationFrame(step);
  }, []);

  useLayoutEffect(() => {
    count.current = rows.length;
    if (rows.length === 0) return;
    if (ready && !view.current.placed) {
      view.current.placed = true;
      const unread = rows.findIndex(({ type }) => type === 'unread');
      if (unread >= 0 && rows.length - unread > NEW_ROWS_MIN) {
        view.current.follows = false;
        view.current.settling = 0;
        list.current?.scrollToIndex(unread, { align: 'start', offset: -24 });
        return;
      }
    }
    if (view.current.follows) toEnd();
  }, [rows, ready, toEnd]);

  const onScroll = useCallback((offset: number) => {
    const handle = list.current;
    if (!handle) return;
    const end = isAtEnd(handle);
    const now = view.current;
    if (end) {
      now.follows = true;
      now.settling = 0;
    } else if (performance.now() < now.settling) {
      // Rows turned out higher on the way, or older ones came in above.
      requestAnimationFrame(() => {
        if (now.settling > 0) handle.scrollToIndex(count.current - 1, { align: 'end' });
      });
    } else if (offset < now.offset - 1) {
      // Only moving up lets go of the end; what grows below does not.
      now.follows = false;
    }
    now.offset = offset;
    setAtEnd(end || now.follows);
  }, []);

  const onResize = useCallback(() => {
    if (view.current.follows) toEnd();
  }, [toEnd]);

  const leaveEnd = useCallback(() => {
    view.current.follows = false;
    view.current.settling = 0;
  }, []);

  const onHand = useCallback(() => {
    view.current.settling = 0;
  }, []);

  const lastInView = useCallback(() => {
    const handle = list.current;
    if (!handle || !view.current.placed) return -1;
    if (view.current.follows) return count.current - 1;
    return handle.findItemIndex(handle.scrollOffset + handle.viewportSize);
  }, []);

  return { list, atEnd, toEnd, leaveEnd, lastInView, onScroll, onResize, onHand };
}
