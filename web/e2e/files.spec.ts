import { readFile } from 'node:fs/promises';

import { findings } from './axe';
import { expect, testWith } from './fixtures';
import { attach, draw, isDrawn, picture } from './pictures';

const test = testWith('--max-file-size', '5MB');

for (const [device, viewport] of [
  ['desk', { width: 1280, height: 800 }],
  ['phone', { width: 390, height: 844 }],
] as const) {
  test(`a picture and a file reach the other, on a ${device}`, async ({ world }) => {
    const ann = await world.signUp('ann', { viewport });
    const ben = await world.signUp('ben', { viewport });
    await ann.begin([ben]);
    const sun = await draw(ann.page, 900, 600);
    await attach(ann, { name: 'sun.png', mimeType: 'image/png', buffer: sun });
    await isDrawn(picture(ann, 'sun.png'));
    await ben.open(ann.name);
    await isDrawn(picture(ben, 'sun.png'));
    // The box has its size before the picture comes, and stays within the screen.
    const box = await picture(ben, 'sun.png').boundingBox();
    expect(box && box.x >= 0 && box.x + box.width <= viewport.width).toBe(true);
    expect(Math.round(((box?.width ?? 0) / (box?.height ?? 1)) * 3)).toBe(4);
    await expect(ann.page.getByRole('list', { name: 'Uploads' })).toHaveCount(0);

    const words = Buffer.from('all that was said');
    await attach(ann, { name: 'Übersicht 1.txt', mimeType: 'text/plain', buffer: words });
    const card = ben.log.getByRole('button', { name: 'Übersicht 1.txt' });
    await expect(card).toContainText('17 B');
    const download = ben.page.waitForEvent('download');
    await card.click();
    expect((await download).suggestedFilename()).toBe('Übersicht 1.txt');
    expect(await readFile(await (await download).path())).toEqual(words);
    expect(await findings(ben.page)).toEqual([]);
    await ben.page.screenshot({ path: `../target/screens/files-${device}.png` });

    // After a reload nothing is left of what was uploaded here: it comes by a link.
    await ann.page.reload();
    await isDrawn(picture(ann, 'sun.png'));
  });
}

test('pictures are pasted and dropped', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  const bytes = [...(await draw(ann.page, 40, 30))];
  await ann.box.evaluate((box, png) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(png)], 'pasted.png', { type: 'image/png' }));
    const paste = new ClipboardEvent('paste', { clipboardData: data, bubbles: true });
    box.dispatchEvent(paste);
  }, bytes);
  await isDrawn(picture(ann, 'pasted.png'));
  await ann.log.evaluate((log, png) => {
    const data = new DataTransfer();
    data.items.add(new File([new Uint8Array(png)], 'dropped.png', { type: 'image/png' }));
    for (const type of ['dragenter', 'dragover', 'drop']) {
      const options = { dataTransfer: data, bubbles: true, cancelable: true };
      log.dispatchEvent(new DragEvent(type, options));
    }
  }, bytes);
  await isDrawn(picture(ann, 'dropped.png'));
  await ben.open(ann.name);
  await isDrawn(picture(ben, 'pasted.png'));
  await isDrawn(picture(ben, 'dropped.png'));
});

test('an upload shows how far it is, can be stopped, and be tried again', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  const big = { name: 'big.bin', mimeType: 'application/octet-stream', buffer: Buffer.alloc(3e6) };

  // The network stands still, then breaks.
  let broken = true;
  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  await ann.page.route('**/files/*?*', async (route) => {
    if (!broken) return route.continue();
    await held;
    return route.abort();
  });
  await attach(ann, big);
  const uploads = ann.page.getByRole('list', { name: 'Uploads' });
  await expect(uploads.getByRole('progressbar', { name: 'Uploading big.bin' })).toBeVisible();
  await expect(uploads).toContainText('3.0 MB');
  await uploads.getByRole('button', { name: 'Stop the upload' }).click();
  await expect(uploads).toHaveCount(0);
  await attach(ann, big);
  await expect(uploads).toBeVisible();
  release();
  await expect(uploads.getByRole('alert')).toContainText('cannot be reached');
  broken = false;
  await uploads.getByRole('button', { name: 'Try again' }).click();
  await expect(ann.log.getByRole('button', { name: 'big.bin' })).toContainText('3.0 MB');
  await expect(uploads).toHaveCount(0);
  await expect(ann.log.getByRole('article')).toHaveCount(1);

  await attach(ann, { ...big, name: 'bigger.bin', buffer: Buffer.alloc(6e6) });
  await expect(uploads.getByRole('alert')).toContainText('at most 5000000 bytes');
  expect(await findings(ann.page)).toEqual([]);
  await uploads.getByRole('button', { name: 'Dismiss' }).click();
  await expect(uploads).toHaveCount(0);
});

test('an upload goes on while another conversation is open, and waits for the network', async ({
  world,
}) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  const cat = await world.signUp('cat');
  await ann.begin([cat]);
  await ann.begin([ben]);
  const uploads = ann.page.getByRole('list', { name: 'Uploads' });
  const text = { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('hello') };

  let release = () => {};
  const held = new Promise<void>((resolve) => (release = resolve));
  await ann.page.route('**/files/*?*', async (route) => {
    await held;
    return route.continue();
  });
  await attach(ann, text);
  await expect(uploads.getByRole('progressbar', { name: 'Uploading a.txt' })).toBeVisible();
  await ann.open(cat.name);
  await expect(uploads).toHaveCount(0);
  release();
  await expect(ben.conversation(ann.name)).toContainText('a.txt');

  await ann.page.context().setOffline(true);
  await expect(ann.banner).toBeVisible();
  await attach(ann, { ...text, name: 'b.txt' });
  await expect(uploads).toContainText('Waiting for the connection');
  await ann.page.context().setOffline(false);
  await expect(ann.log.getByRole('button', { name: 'b.txt' })).toBeVisible();
  await expect(uploads).toHaveCount(0);
  await expect(cat.conversation(ann.name)).toContainText('b.txt');
});

test('what could run is a file like any other', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>';
  await attach(ann, { name: 'x.svg', mimeType: 'image/svg+xml', buffer: Buffer.from(svg) });
  await ben.open(ann.name);
  const download = ben.page.waitForEvent('download');
  await ben.log.getByRole('button', { name: 'x.svg' }).click();
  expect((await download).suggestedFilename()).toBe('x.svg');
  // A picture that is none is shown as the file it is.
  const none = { name: 'none.png', mimeType: 'image/png', buffer: Buffer.from('no picture') };
  await attach(ann, none);
  await expect(ben.log.getByRole('button', { name: 'none.png' })).toContainText(
    'The picture cannot be shown',
  );
});
