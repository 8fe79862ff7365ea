import { createContext, useContext } from 'react';
import { useStore } from 'zustand';

import type { Chat } from '../net/client';
import type { ChatState } from '../state/store';

export const ChatContext = createContext<Chat | null>(null);

export function useChat(): Chat {
  const chat = useContext(ChatContext);
  if (!chat) throw new Error('useChat outside of a signed-in page');
  return chat;
}

/** A part of the state. `select` must give the same object while nothing in it changed. */
export function useChatState<T>(select: (state: ChatState) => T): T {
  return useStore(useChat().store, select);
}
