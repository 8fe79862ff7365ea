/** Files in a bucket of S3: the page puts them there, and gets them from there, by itself. */

import { readFile } from 'node:fs/promises';

import { Bucket } from './bucket';
import { expect, testWith } from './fixtures';
import { Node } from './node';
import { attach, draw, isDrawn, picture } from './pictures';

const test = testWith().extend<object, { bucket: Bucket }>({
  bucket: [
    // Playwright wants its fixtures named, even where there are none.
    // eslint-disable-next-line no-empty-pattern
    async ({}, provide) => {
      const bucket = await Bucket.start();
      await provide(bucket);
      await bucket.stop();
    },
    { scope: 'worker' },
  ],
  node: [
    async ({ bucket }, provide) => {
      const node = await Node.start(...bucket.flags);
      await provide(node);
      await node.stop();
    },
    { scope: 'worker' },
  ],
});

test('a picture and a file go to the bucket and come from it', async ({ world, bucket }) => {
  await bucket.letIn(world.node.url);
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  bucket.asked.length = 0;
  const sun = await draw(ann.page, 900, 600);
  await attach(ann, { name: 'sun.png', mimeType: 'image/png', buffer: sun });
  await isDrawn(picture(ann, 'sun.png'));
  await ben.open(ann.name);
  await isDrawn(picture(ben, 'sun.png'));
  const source = await picture(ben, 'sun.png').locator('img').getAttribute('src');
  expect(source).toContain(`${bucket.origin}/chat/files/`);

  const words = Buffer.from('all that was said');
  await attach(ann, { name: 'Übersicht 1.txt', mimeType: 'text/plain', buffer: words });
  const download = ben.page.waitForEvent('download');
  await ben.log.getByRole('button', { name: 'Übersicht 1.txt' }).click();
  expect((await download).suggestedFilename()).toBe('Übersicht 1.txt');
  expect((await download).url()).toContain(`${bucket.origin}/chat/files/`);
  expect(await readFile(await (await download).path())).toEqual(words);
  const methods = bucket.asked.map((what) => what.split(' ')[0]);
  expect(methods).toEqual(['PUT', 'GET', 'PUT', 'GET']);

  // After a reload the sender, too, has it from the bucket.
  await ann.page.reload();
  await isDrawn(picture(ann, 'sun.png'));
});

test('a bucket that lets the page in later takes what it refused before', async ({
  world,
  bucket,
}) => {
  bucket.rule = null;
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  // A browser keeps its reason to itself; it is in its console, for whoever runs the bucket.
  const text = { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('hello') };
  await attach(ann, text);
  const uploads = ann.page.getByRole('list', { name: 'Uploads' });
  await expect(uploads.getByRole('alert')).toContainText('cannot be reached');
  expect(world.complaints.splice(0).join()).toContain('blocked by CORS policy');

  await bucket.letIn(world.node.url);
  await uploads.getByRole('button', { name: 'Try again' }).click();
  await expect(ann.log.getByRole('button', { name: 'a.txt' })).toContainText('5 B');
  await expect(uploads).toHaveCount(0);
});
