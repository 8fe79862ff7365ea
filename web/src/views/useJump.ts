/** Goes to the message that another one answers, loading back to it if need be. */

import { useCallback, useEffect, useState, type RefObject } from 'react';
import type { VirtualizerHandle } from 'virtua';

import type { Row } from '../state/rows';
import { useChat } from './chat-context';

/** How many pages are loaded to find it. */
const PAGES_MAX = 20;
/** How long it is marked. */
const FLASH_MS = 1_600;

interface Jump {
  /** The message that is marked just now. */
  readonly flash: string | null;
  readonly jumpTo: (messageId: string) => void;
}

export function useJump(
  id: string,
  rows: readonly Row[],
  list: RefObject<VirtualizerHandle | null>,
  leaveEnd: () => void,
): Jump {
  const chat = useChat();
  const [flash, setFlash] = useState<string | null>(null);

  const find = useCallback(
    async (messageId: string) => {
      const log = () => chat.store.getState().logs[id];
      const isHere = () => log()?.messages.some((message) => message.id === messageId) === true;
      for (let page = 0; !isHere() && log()?.hasOlder && page < PAGES_MAX; page += 1) {
        await chat.loadOlder(id);
      }
      if (!isHere()) return;
      leaveEnd();
      setFlash(messageId);
    },
    [chat, id, leaveEnd],
  );

  const at = flash === null ? -1 : rows.findIndex((row) => isMessage(row, flash));
  useEffect(() => {
    if (at < 0) return;
    list.current?.scrollToIndex(at, { align: 'center' });
    const timer = setTimeout(() => setFlash(null), FLASH_MS);
    return () => clearTimeout(timer);
    // Once for each jump, wherever its row goes meanwhile.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [flash]);

  const jumpTo = useCallback(
    (messageId: string) => void find(messageId).catch(() => undefined),
    [find],
  );
  return { flash, jumpTo };
}

const isMessage = (row: Row, id: string) => row.type === 'message' && row.message.id === id;
