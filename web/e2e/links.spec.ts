/** Links to files: they end, and they are for members only. */

import { readFile } from 'node:fs/promises';

import type { Page } from '@playwright/test';

import { expect, testWith, type Person } from './fixtures';
import { scaled } from './patience';
import { attach, draw, isDrawn, picture } from './pictures';

const LINK_TTL_MS = scaled(2_000);
const test = testWith('--file-link-ttl', `${LINK_TTL_MS}ms`);

const words = Buffer.from('all that was said');

async function sendBoth(ann: Person): Promise<void> {
  const sun = await draw(ann.page, 90, 60);
  await attach(ann, { name: 'sun.png', mimeType: 'image/png', buffer: sun });
  await isDrawn(picture(ann, 'sun.png'));
  await attach(ann, { name: 'notes.txt', mimeType: 'text/plain', buffer: words });
  await expect(ann.log.getByRole('button', { name: 'notes.txt' })).toContainText('17 B');
}

/** What the page is answered when it asks for this address by itself. */
const statusOf = (page: Page, address: string) =>
  page.evaluate(async (url) => (await fetch(url)).status, address);

test('a link ends, and the page asks for another', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  await sendBoth(ann);
  await ben.open(ann.name);
  await isDrawn(picture(ben, 'sun.png'));
  const source = await picture(ben, 'sun.png').locator('img').getAttribute('src');
  if (source === null) throw new Error('no picture');
  await expect.poll(() => statusOf(ben.page, source), { timeout: 10 * LINK_TTL_MS }).toBe(403);
  // It was not asked for again by what is on the screen, which has it already.
  await isDrawn(picture(ben, 'sun.png'));

  // What is got now comes by a new link.
  const download = ben.page.waitForEvent('download');
  await ben.log.getByRole('button', { name: 'notes.txt' }).click();
  expect(await readFile(await (await download).path())).toEqual(words);
  const opened = ben.page.context().waitForEvent('page');
  await picture(ben, 'sun.png').click();
  const large = await opened;
  await expect(large.locator('img')).toBeVisible();
  expect(large.url()).not.toBe(source);
  await large.close();
});

test('a picture whose link ended on the way is asked for once more', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  await sendBoth(ann);
  // As if it had taken longer to use the link than it lives.
  let refused = 0;
  await ben.page.route('**/files/*?*', async (route) => {
    if (refused > 0) return route.continue();
    refused += 1;
    return route.fulfill({ status: 403 });
  });
  await ben.open(ann.name);
  await isDrawn(picture(ben, 'sun.png'));
  expect(refused).toBe(1);
});

test('who is not a member sees neither conversation nor file', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  const eve = await world.signUp('eve');
  await ann.begin([ben, eve], 'Crew');
  await sendBoth(ann);
  const place = ann.page.url();
  const asked = eve.page.waitForRequest((request) => request.url().endsWith('/link'));
  await eve.open('Crew');
  await isDrawn(picture(eve, 'sun.png'));
  const address = (await asked).url();
  const { authorization = '' } = await (await asked).allHeaders();
  const status = async () =>
    (await fetch(address, { headers: { authorization }, redirect: 'manual' })).status;
  expect(await status()).toBe(200);

  await ann.page.getByRole('button', { name: 'Group details' }).click();
  await ann.page.getByRole('button', { name: `Remove ${eve.name}` }).click();
  await ann.page.keyboard.press('Escape');
  await expect(eve.conversation('Crew')).toHaveCount(0);
  await expect(eve.page.getByText('This conversation is not here')).toBeVisible();
  expect(await status()).toBe(404);

  // Nor by its address, for somebody who was never in it.
  const fay = await world.signUp('fay');
  await fay.page.goto(place);
  await expect(fay.page.getByText('This conversation is not here')).toBeVisible();
  await expect(fay.log).toHaveCount(0);
});
