/** Where the page is: a conversation, or none. Kept after the `#`, so that any server can serve it. */

import { useSyncExternalStore } from 'react';

const PREFIX = '#/c/';

export const conversationHref = (id: string) => `${PREFIX}${id}`;

export function currentConversation(): string | null {
  const { hash } = window.location;
  return hash.startsWith(PREFIX) ? hash.slice(PREFIX.length) : null;
}

export function goTo(id: string | null): void {
  window.location.hash = id === null ? '#/' : conversationHref(id);
}

function subscribe(changed: () => void): () => void {
  window.addEventListener('hashchange', changed);
  return () => window.removeEventListener('hashchange', changed);
}

export function useConversationId(): string | null {
  return useSyncExternalStore(subscribe, currentConversation);
}
