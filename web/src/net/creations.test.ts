import { describe, expect, it } from 'vitest';

import type { Conversation, NewConversation } from './contract';
import { Creations } from './creations';
import { Refused, Unreachable } from './errors';
import { CREATE_TRIES_MAX } from './limits';

const asked = (title: string) => ({ type: 'group' as const, participants: ['p'], title });
const made = (title: string) => ({ id: `of ${title}` }) as Conversation;
const refused = (code: 'unavailable' | 'conflict' | 'rate_limited', retryAfterMs?: number) =>
  new Refused({ code, message: 'why', ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });

/** Answers in order, then says that it was made; what was asked under which name. */
function creationsOf(...answers: Error[]) {
  const names: (string | null | undefined)[] = [];
  const waits: number[] = [];
  const post = (body: NewConversation) => {
    names.push(body.clientConversationId);
    const error = answers.shift();
    return error ? Promise.reject(error) : Promise.resolve(made(body.title ?? ''));
  };
  const creations = new Creations(post, (ms) => {
    waits.push(ms);
    return Promise.resolve();
  });
  return { creations, names, waits };
}

describe('creations', () => {
  it('asks again under the same name where no answer came', async () => {
    const { creations, names, waits } = creationsOf(new Unreachable(), refused('unavailable', 70));
    expect(await creations.create(asked('a'))).toEqual(made('a'));
    expect(names).toHaveLength(3);
    expect(new Set(names).size).toBe(1);
    expect(names[0]).toMatch(/^[0-9a-f]{24}$/);
    expect(waits[1]).toBe(70);
  });

  it('keeps the name for when the person tries the same again', async () => {
    const lost = Array.from({ length: CREATE_TRIES_MAX }, () => new Unreachable());
    const { creations, names } = creationsOf(...lost);
    await expect(creations.create(asked('a'))).rejects.toBeInstanceOf(Unreachable);
    expect(names).toHaveLength(CREATE_TRIES_MAX);
    await creations.create(asked('a'));
    expect(new Set(names).size).toBe(1);
    // Once it is known to be made, the same again is another.
    await creations.create(asked('a'));
    expect(new Set(names).size).toBe(2);
  });

  it('gives another conversation another name', async () => {
    const lost = Array.from({ length: CREATE_TRIES_MAX }, () => new Unreachable());
    const { creations, names } = creationsOf(...lost);
    await expect(creations.create(asked('a'))).rejects.toBeInstanceOf(Unreachable);
    await creations.create(asked('b'));
    expect(new Set(names).size).toBe(2);
  });

  it.each([refused('conflict'), refused('rate_limited', 50), refused('unavailable', 60_000)])(
    'does not ask again at once after $code ($retryAfterMs)',
    async (error) => {
      const { creations, names } = creationsOf(error);
      await expect(creations.create(asked('a'))).rejects.toBe(error);
      expect(names).toHaveLength(1);
    },
  );
});
