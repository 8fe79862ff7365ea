/** Desktop notifications: for messages that come while nobody looks. Asked for on a click only. */

import { useEffect, useSyncExternalStore } from 'react';

import type { Chat } from '../net/client';
import type { Message } from '../state/model';
import { nameOf } from '../state/select';
import { goTo } from './route';

export type NotifyState = 'on' | 'off' | 'blocked' | 'unsupported';

const KEY = 'syncchat.notify';
const listeners = new Set<() => void>();

function wanted(): boolean {
  try {
    return localStorage.getItem(KEY) === 'on';
  } catch {
    return false;
  }
}

export function notifyState(): NotifyState {
  if (typeof Notification === 'undefined') return 'unsupported';
  if (Notification.permission === 'denied') return 'blocked';
  return Notification.permission === 'granted' && wanted() ? 'on' : 'off';
}

/** Turns them on or off; must be called from a click, because the browser may ask the person. */
export async function toggleNotify(): Promise<void> {
  const turnOn = notifyState() === 'off';
  if (turnOn && Notification.permission === 'default') await Notification.requestPermission();
  try {
    localStorage.setItem(KEY, turnOn ? 'on' : 'off');
  } catch {
    // Then they stay off.
  }
  for (const listener of listeners) listener();
}

export function useNotifyState(): NotifyState {
  return useSyncExternalStore((changed) => {
    listeners.add(changed);
    return () => listeners.delete(changed);
  }, notifyState);
}

/** Whether some tab of this browser is looked at. Each visible tab holds the lock, shared. */
const LOOKING = 'syncchat:looking';

function holdWhileVisible(): () => void {
  const locks = (navigator as Partial<Navigator>).locks;
  let release: (() => void) | null = null;
  const changed = () => {
    if (document.visibilityState === 'visible' && !release && locks) {
      const held = new Promise<void>((resolve) => (release = resolve));
      void locks.request(LOOKING, { mode: 'shared' }, () => held);
    } else if (document.visibilityState === 'hidden') {
      release?.();
      release = null;
    }
  };
  changed();
  document.addEventListener('visibilitychange', changed);
  return () => {
    document.removeEventListener('visibilitychange', changed);
    release?.();
  };
}

async function somebodyLooks(): Promise<boolean> {
  const locks = (navigator as Partial<Navigator>).locks;
  const held = (await locks?.query())?.held ?? [];
  return held.some(({ name }) => name === LOOKING);
}

/** How much of a message a notification shows. */
const PREVIEW_CHARS = 140;

async function notify(chat: Chat, message: Message): Promise<void> {
  if (message.kind === 'system' || document.visibilityState === 'visible') return;
  if (notifyState() !== 'on' || (await somebodyLooks())) return;
  const { conversations, people, me } = chat.store.getState();
  const conversation = conversations[message.conversationId];
  if (!conversation) return;
  const sender = people[message.sender]?.username ?? 'Somebody';
  const title =
    conversation.kind === 'group' ? `${sender} in ${nameOf(conversation, people, me.id)}` : sender;
  const shown = new Notification(title, {
    body: message.content.slice(0, PREVIEW_CHARS) || 'sent a file',
    icon: '/favicon.svg',
    // Several tabs may say it; the browser shows it once.
    tag: message.id,
  });
  shown.onclick = () => {
    window.focus();
    goTo(message.conversationId);
    shown.close();
  };
}

export function useNotifications(chat: Chat): void {
  useEffect(() => {
    const release = holdWhileVisible();
    const stop = chat.onIncoming((message) => void notify(chat, message));
    return () => {
      stop();
      release();
    };
  }, [chat]);
}
