import { expect, talked, testWith } from './fixtures';
import { scaled } from './patience';

const test = testWith('--drain', '2s');

test('what is written while the node is down survives a reload and arrives once', async ({
  world,
}) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  await ann.say('before');
  await expect(ann.message('before')).toContainText('sent');
  await ben.open(ann.name);
  await expect(ben.message('before')).toBeVisible();
  // The page itself has to be kept before the node goes.
  await ann.page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  await ann.page.waitForFunction(async () => {
    const kept = await (await caches.open('syncchat-page')).keys();
    return kept.some(({ url }) => url.includes('/assets/dialogs'));
  });

  await world.node.kill();
  await expect(ann.banner).toBeVisible();
  await ann.say('first offline');
  await ann.say('second offline');
  await expect(ann.message('first offline')).toContainText('sending, waiting');

  await ann.page.reload();
  await expect(ann.banner).toBeVisible();
  await expect(ann.conversation(ben.name)).toContainText('second offline');
  await expect(ann.message('before')).toBeVisible();
  await expect(ann.message('first offline')).toContainText('sending, waiting');
  await ann.say('third offline');

  await world.node.start();
  await expect(ann.banner).toHaveCount(0, { timeout: scaled(30_000) });
  for (const text of ['first offline', 'second offline', 'third offline']) {
    await expect(ben.message(text)).toHaveCount(1, { timeout: scaled(30_000) });
    await expect(ann.message(text)).toHaveCount(1);
    await expect(ann.message(text)).toContainText('read');
  }
  await expect(ben.log.getByRole('article')).toHaveText([
    /before/u,
    /first offline/u,
    /second offline/u,
    /third offline/u,
  ]);
  await ben.page.reload();
  await expect(ben.log.getByRole('article')).toHaveCount(4);
});

test('what was missed comes in order, edits and receipts too', async ({ world }) => {
  const [ann, ben] = await talked(world, 'one');
  const cat = await world.signUp('cat');
  await ben.say('twwo');
  await expect(ann.message('twwo')).toBeVisible();

  await ann.page.context().setOffline(true);
  await expect(ann.banner).toBeVisible();
  await ben.box.press('ArrowUp');
  await ben.say('two');
  await ben.say('three');
  await cat.begin([ann]);
  await cat.say('hello from cat');
  await expect(cat.message('hello from cat')).toContainText('sent');
  await ann.say('four');
  await expect(ann.message('four')).toContainText('waiting');
  await expect(ben.message('four')).toHaveCount(0);

  await ann.page.context().setOffline(false);
  await expect(ann.banner).toHaveCount(0, { timeout: scaled(30_000) });
  await expect(ann.log.getByRole('article')).toHaveText([
    /one/u,
    /two.*edited/u,
    /three/u,
    /four/u,
  ]);
  await expect(ann.message('four')).toContainText('read');
  await expect(ann.conversation(cat.name)).toContainText('hello from cat');
  await expect(ann.conversation(cat.name)).toContainText('1 unread');
});

test('who was removed while away sees it on return, and sends nothing there', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  const cat = await world.signUp('cat');
  await ann.begin([ben, cat], 'Crew');
  await ann.say('hello all');
  await ben.open('Crew');
  await expect(ben.message('hello all')).toBeVisible();

  // Ben writes while he is away, and is removed meanwhile.
  await ben.page.context().setOffline(true);
  await expect(ben.banner).toBeVisible();
  await ben.say('am I still here?');
  await ann.page.getByRole('button', { name: 'Group details' }).click();
  await ann.page.getByRole('button', { name: `Remove ${ben.name}` }).click();
  await ann.page.keyboard.press('Escape');
  await expect(ann.log.getByText(`You removed ${ben.name}`)).toBeVisible();
  await ben.page.context().setOffline(false);
  await expect(ben.banner).toHaveCount(0, { timeout: scaled(30_000) });
  await expect(ben.conversation('Crew')).toHaveCount(0);
  await expect(cat.conversation('Crew')).not.toContainText('am I still here?');
});

test('a node that is restarted in good order loses nothing on the way', async ({ world }) => {
  const [ann, ben] = await talked(world, 'before');

  const drained = world.node.drain();
  for (let at = 1; at <= 5; at += 1) await ann.say(`meanwhile ${at}`);
  await drained;
  await world.node.start();
  const expected = ['before', ...[1, 2, 3, 4, 5].map((at) => `meanwhile ${at}`)];
  for (const person of [ann, ben]) {
    await expect(person.log.getByRole('article')).toHaveText(
      expected.map((text) => new RegExp(text, 'u')),
      { timeout: scaled(30_000) },
    );
  }
  await expect(ann.message('meanwhile 5')).toContainText('read');
});
