/**
 * What was on the page last time, so that it can be shown before the server answers, or while it
 * is away. Deleted when its person signs out.
 */

import type { ChatState, ChatStore } from '../state/store';
import type { Database } from './database';
import { SNAPSHOT_CONVERSATIONS, SNAPSHOT_DELAY_MS, SNAPSHOT_MESSAGES } from './limits';

type Kept = Pick<ChatState, 'epoch' | 'conversations' | 'logs' | 'people' | 'cursors'>;

/** Read back only by the same shape of state; an older one is ignored. */
const SHAPE = 2;

function keep(state: ChatState): Kept {
  const recent = Object.values(state.conversations)
    .toSorted((a, b) => b.updatedAt - a.updatedAt)
    .slice(0, SNAPSHOT_CONVERSATIONS);
  const logs: Record<string, ChatState['logs'][string]> = {};
  const people: Record<string, ChatState['people'][string]> = {};
  for (const { id, participants } of recent) {
    const log = state.logs[id];
    if (log) {
      const messages = log.messages.slice(-SNAPSHOT_MESSAGES);
      const cut = messages.length < log.messages.length;
      logs[id] = {
        ...log,
        messages,
        from: cut ? (messages[0]?.seq ?? log.from) : log.from,
        hasOlder: cut || log.hasOlder,
        stale: true,
      };
      for (const { sender } of messages) note(people, state, sender);
    }
    for (const participant of participants) note(people, state, participant);
  }
  return {
    epoch: state.epoch,
    conversations: Object.fromEntries(recent.map((one) => [one.id, one])),
    logs,
    people,
    cursors: Object.fromEntries(
      recent.flatMap(({ id }) => (state.cursors[id] ? [[id, state.cursors[id]]] : [])),
    ),
  };
}

function note(
  people: Record<string, ChatState['people'][string]>,
  state: ChatState,
  id: string,
): void {
  const person = state.people[id];
  if (person) people[id] = person;
}

export async function restoreSnapshot(database: Database, chat: ChatStore): Promise<void> {
  const { me } = chat.getState();
  const kept = (await database.get('snapshot', me.id).catch(() => undefined)) as
    (Omit<Kept, 'epoch'> & Partial<Pick<Kept, 'epoch'>> & { shape: number }) | undefined;
  if (kept?.shape !== SHAPE) return;
  const { conversations, logs, people, cursors, epoch = null } = kept;
  chat.setState((state) => ({
    epoch,
    conversations,
    logs,
    cursors,
    people: { ...people, ...state.people },
    loaded: true,
  }));
}

/**
 * Follows the state until the answer is called, which stops it. What changed is saved a moment
 * later, and at once when the connection goes away: the next page may have nothing else to show.
 */
export function keepSnapshot(database: Database, chat: ChatStore): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const save = () => {
    clearTimeout(timer);
    timer = undefined;
    const state = chat.getState();
    if (!state.loaded) return;
    const kept = { shape: SHAPE, ...keep(state) };
    database.put('snapshot', state.me.id, kept).catch(() => undefined);
  };
  const saveWhatWaits = () => {
    if (timer !== undefined) save();
  };
  const unsubscribe = chat.subscribe((now, before) => {
    if (now.logs !== before.logs || now.conversations !== before.conversations) {
      timer ??= setTimeout(save, SNAPSHOT_DELAY_MS);
    }
    if (now.connection === 'away' && before.connection !== 'away') saveWhatWaits();
  });
  // A page that is hidden may be ended without a further word.
  document.addEventListener('visibilitychange', saveWhatWaits);
  window.addEventListener('pagehide', saveWhatWaits);
  return () => {
    clearTimeout(timer);
    unsubscribe();
    document.removeEventListener('visibilitychange', saveWhatWaits);
    window.removeEventListener('pagehide', saveWhatWaits);
  };
}
