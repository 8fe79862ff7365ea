/** Many messages, quickly: by REST, as the person who is signed in on a page. */

import type { Page } from '@playwright/test';

import { expect } from './fixtures';

/** Requests under way at once; one conversation's messages are committed in batches anyway. */
const AT_ONCE = 50;

/** Writes `count` messages to the conversation that is open, and waits until all are stored. */
export async function writeMany(
  page: Page,
  count: number,
  text: (index: number) => string,
): Promise<void> {
  const asked = page.waitForRequest((request) => request.url().includes('/api/users?'));
  await page.getByRole('button', { name: 'New conversation' }).click();
  await page.getByRole('searchbox', { name: 'People' }).fill('x');
  const { authorization = '' } = await (await asked).allHeaders();
  await page.keyboard.press('Escape');
  const { origin, hash } = new URL(page.url());
  const url = `${origin}/api/conversations/${hash.replace('#/c/', '')}/messages`;

  const write = async (index: number) => {
    const answer = await fetch(url, {
      method: 'POST',
      headers: { authorization, 'content-type': 'application/json' },
      body: JSON.stringify({ content: text(index) }),
    });
    expect(answer.status).toBe(201);
  };
  // A few at first, so that the order of the first and the last is certain.
  for (let from = 1; from <= count; from += AT_ONCE) {
    const upTo = Math.min(count, from + AT_ONCE - 1);
    await Promise.all(
      Array.from({ length: Math.max(0, upTo - from) }, (_, offset) => write(from + offset)),
    );
    await write(upTo);
  }
}
