/** Arrow keys along the messages. One of them at a time has the focus, and stays in the document. */

import { useCallback, useState, type FocusEvent, type KeyboardEvent, type RefObject } from 'react';
import type { VirtualizerHandle } from 'virtua';

import { rove } from '../a11y/rove';
import type { Row } from '../state/rows';

interface RowFocus {
  /** The key of the row that has the focus, or had it last. */
  readonly active: string | null;
  readonly onKeyDown: (event: KeyboardEvent<HTMLElement>) => void;
  readonly onFocus: (event: FocusEvent<HTMLElement>) => void;
}

export function useRowFocus(
  rows: readonly Row[],
  list: RefObject<VirtualizerHandle | null>,
  scroller: RefObject<HTMLElement | null>,
): RowFocus {
  const [active, setActive] = useState<string | null>(null);

  const onKeyDown = (event: KeyboardEvent<HTMLElement>) => {
    const target = event.target as HTMLElement;
    const from = target.dataset.row;
    if (target !== scroller.current && from === undefined) return;
    const places = rows.flatMap((row, index) =>
      row.type === 'message' || row.type === 'pending' ? [index] : [],
    );
    const at = places.findIndex((index) => rows[index]?.key === from);
    const next = rove(event.key, at, places.length);
    const index = next === null ? undefined : places[next];
    const row = index === undefined ? undefined : rows[index];
    if (index === undefined || !row) return;
    event.preventDefault();
    setActive(row.key);
    list.current?.scrollToIndex(index, { align: 'nearest' });
    requestAnimationFrame(() => {
      const selector = `[data-row="${CSS.escape(row.key)}"]`;
      scroller.current?.querySelector<HTMLElement>(selector)?.focus({ preventScroll: true });
    });
  };

  const onFocus = useCallback((event: FocusEvent<HTMLElement>) => {
    setActive(event.target.closest<HTMLElement>('[data-row]')?.dataset.row ?? null);
  }, []);

  return { active, onKeyDown, onFocus };
}
