/**
 * Beginning conversations. Each is asked for under a name of its own, so that the server makes one of it
 * however often it is asked for: an answer that was lost is asked for again, here a few times, later when
 * the person tries the same again.
 */

import { backoff, sleep } from './backoff';
import type { Conversation, NewConversation } from './contract';
import { Refused, Unreachable, isPassing } from './errors';
import {
  CREATE_RETRY_FIRST_MS,
  CREATE_TRIES_MAX,
  SEND_RETRY_MAX_MS,
  SEND_WAIT_MAX_MS,
} from './limits';
import { randomId } from './random';

type Asked = Omit<NewConversation, 'clientConversationId'>;

export class Creations {
  /** The last one whose outcome is not known, or not known yet. */
  #open: { readonly asked: string; readonly id: string } | null = null;

  constructor(
    private readonly post: (body: NewConversation) => Promise<Conversation>,
    private readonly wait = sleep,
  ) {}

  /** Rejects with `Refused` or `Unreachable`; after the latter the same again finds what was made. */
  async create(asked: Asked): Promise<Conversation> {
    const same = JSON.stringify(asked);
    const id = this.#open?.asked === same ? this.#open.id : randomId();
    this.#open = { asked: same, id };
    for (let attempt = 0; ; attempt += 1) {
      try {
        const made = await this.post({ ...asked, clientConversationId: id });
        this.#settle(id);
        return made;
      } catch (error) {
        if (!isPassing(error)) this.#settle(id);
        const wanted = error instanceof Refused ? error.retryAfterMs : null;
        const isOver = attempt + 1 >= CREATE_TRIES_MAX || (wanted ?? 0) > SEND_WAIT_MAX_MS;
        if (!isUnknown(error) || isOver) throw error;
        const grows = { firstMs: CREATE_RETRY_FIRST_MS, maxMs: SEND_RETRY_MAX_MS };
        await this.wait(wanted ?? backoff(attempt, grows));
      }
    }
  }

  #settle(id: string): void {
    if (this.#open?.id === id) this.#open = null;
  }
}

/** Whether it may have been made all the same. */
function isUnknown(error: unknown): boolean {
  return error instanceof Unreachable || (error instanceof Refused && error.code === 'unavailable');
}
