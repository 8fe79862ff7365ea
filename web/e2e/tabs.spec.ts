import { expect, Person, testWith } from './fixtures';

/** Tokens live so briefly that several end in each test. */
const test = testWith('--access-ttl', '4s');

test('tabs of one browser stay in step, and signed in, as tokens come and go', async ({
  world,
}) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  await ben.open(ann.name);
  const second = new Person(await ann.page.context().newPage(), ann.name);
  await second.page.goto(ann.page.url());
  await expect(second.box).toBeVisible();

  const sockets: string[] = [];
  ann.page.on('websocket', (socket) => sockets.push(socket.url()));
  for (let round = 0; round < 5; round += 1) {
    await ann.say(`one ${round}`);
    await second.say(`two ${round}`);
    for (const person of [ann, second, ben]) {
      await expect(person.message(`one ${round}`)).toHaveCount(1);
      await expect(person.message(`two ${round}`)).toHaveCount(1);
    }
    await ann.page.waitForTimeout(2_000);
  }
  // The live socket was never replaced: it took the newer tokens.
  expect(sockets).toEqual([]);
  await expect(ann.banner).toHaveCount(0);

  await ben.say('read in one, read in both');
  await expect(ann.conversation(ben.name)).not.toContainText('unread');
  await expect(second.conversation(ben.name)).not.toContainText('unread');

  await second.page.getByRole('button', { name: 'Log out' }).click();
  await expect(ann.page.getByRole('button', { name: 'Log in' })).toBeVisible();
});

test('many reloads in a row do not sign anybody out', async ({ world }) => {
  const ann = await world.signUp('ann');
  await ann.page.waitForFunction(() => navigator.serviceWorker.controller !== null);
  for (let round = 0; round < 12; round += 1) {
    await ann.page.reload({ waitUntil: round % 2 === 0 ? 'domcontentloaded' : 'load' });
  }
  await expect(ann.list).toBeVisible();
  await ann.page.waitForTimeout(5_000);
  await ann.page.reload();
  await expect(ann.list).toBeVisible();
});

test('what one tab reads, the other shows as read', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ben.begin([ann]);
  await ben.say('hello');
  await expect(ann.conversation(ben.name)).toContainText('1 unread');
  const second = new Person(await ann.page.context().newPage(), ann.name);
  await second.page.goto(world.node.url);
  await expect(second.conversation(ben.name)).toContainText('1 unread');
  await second.open(ben.name);
  await expect(ann.conversation(ben.name)).not.toContainText('unread');
});
