/** What was begun and not yet sent, by conversation, kept across reloads. */

export interface Draft {
  readonly text: string;
  /** The message it answers. */
  readonly replyTo: string | null;
}

const EMPTY: Draft = { text: '', replyTo: null };
const keyOf = (me: string, conversation: string) => `syncchat.draft.${me}.${conversation}`;

export function readDraft(me: string, conversation: string): Draft {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(keyOf(me, conversation)) ?? 'null');
    if (typeof kept !== 'object' || kept === null) return EMPTY;
    const { text, replyTo } = kept as Partial<Record<keyof Draft, unknown>>;
    return {
      text: typeof text === 'string' ? text : '',
      replyTo: typeof replyTo === 'string' ? replyTo : null,
    };
  } catch {
    return EMPTY;
  }
}

export function keepDraft(me: string, conversation: string, draft: Draft): void {
  try {
    const key = keyOf(me, conversation);
    if (draft.text === '' && draft.replyTo === null) localStorage.removeItem(key);
    else localStorage.setItem(key, JSON.stringify(draft));
  } catch {
    // A full or forbidden storage loses drafts across reloads, nothing else.
  }
}

export function forgetDrafts(): void {
  try {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith('syncchat.draft.'));
    for (const key of keys) localStorage.removeItem(key);
  } catch {
    // As above.
  }
}
