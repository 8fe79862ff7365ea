import { expect, logInOn, talked, testWith } from './fixtures';
import { scaled } from './patience';
import { writeMany } from './seed';

const test = testWith('--rate-messages', 'off', '--rate-requests', 'off');

/** Every fifth is long, so that heights differ. */
const line = (index: number) =>
  `line ${index}${index % 5 === 0 ? ' and more words'.repeat(12) : ''}`;

test('history comes back as one scrolls, and what is read does not jump', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  await writeMany(ann.page, 230, line);
  await ben.open(ann.name);
  // It opens where the new ones begin; here, everything is new.
  const end = ben.page.getByRole('button', { name: /^To the new/u });
  // (The newest line may be seen for a moment before the view is placed there.)
  await expect(async () => {
    if (await end.isVisible()) await end.click({ timeout: scaled(1_000) });
    await expect(ann.message('line 230')).toContainText('read', { timeout: scaled(1_000) });
    await expect(ben.message('line 230')).toBeVisible({ timeout: scaled(1_000) });
    await expect(end).toHaveCount(0, { timeout: scaled(1_000) });
  }).toPass({ timeout: scaled(30_000) });
  await ben.page.reload();
  await expect(ben.message('line 230')).toBeVisible();

  // Up, step by step. What is on the screen moves down by a step at the most (a step that meets
  // a page coming in may be lost), and never up.
  const STEP = 300;
  for (let step = 0, top = 1; step < 600; step += 1) {
    const seen = await ben.log.evaluate(async (log, by) => {
      const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
      const edge = log.getBoundingClientRect().top + 40;
      const first = [...log.querySelectorAll('article')].find(
        (one) => one.getBoundingClientRect().bottom > edge,
      );
      const before = first?.getBoundingClientRect().top ?? 0;
      log.scrollBy(0, -by);
      await frame();
      await frame();
      const moved = first?.isConnected ? first.getBoundingClientRect().top - before : 0;
      return { top: log.scrollTop, moved };
    }, STEP);
    expect(seen.moved).toBeGreaterThan(-40);
    expect(seen.moved).toBeLessThan(STEP + 40);
    const isFirst = top === 0 && seen.top === 0;
    if (isFirst && (await ben.log.getByText('This is where your conversation').count()) > 0) break;
    top = seen.top;
  }
  await expect(ben.log.getByText('line 1', { exact: true })).toBeVisible();

  await ben.page.getByRole('button', { name: 'To the newest' }).click();
  await expect(ben.message('line 230')).toBeVisible();
});

test('new messages are counted, marked, and read only when they are seen', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  await writeMany(ann.page, 60, line);
  await expect(ben.conversation(ann.name)).toContainText('60 unread');
  await ben.open(ann.name);
  await expect(ben.log.getByRole('separator', { name: 'New messages' })).toBeVisible();
  await expect(ben.message('line 1')).not.toHaveCount(0);
  await expect(ben.conversation(ann.name)).toContainText('unread');
  await expect(ann.message('line 60')).toContainText('delivered');
  await ben.page.getByRole('button', { name: /^To the new/u }).click();
  await expect(ann.message('line 60')).toContainText('read');
  await expect(ben.conversation(ann.name)).not.toContainText('unread');
});

test('what is more than a page begins at its beginning, and is read as it is seen', async ({
  world,
  browser,
}) => {
  const [ann, ben] = await talked(world, 'before');
  await ben.page.close();
  await writeMany(ann.page, 330, line);
  // On a device that knows nothing yet: the newest page is all that is loaded at first.
  const context = await browser.newContext();
  const page = await context.newPage();
  const there = await logInOn(page, world.node.url, ben.name);
  await there.open(ann.name);
  await expect(there.log.getByRole('separator', { name: 'New messages' })).toBeInViewport();
  await expect(there.message('before')).not.toHaveCount(0);
  const unread = async () => {
    const told = await there.conversation(ann.name).textContent();
    return Number(/(\d+) unread/u.exec(told ?? '')?.[1] ?? 0);
  };
  await expect.poll(unread).toBeLessThan(330);
  expect(await unread()).toBeGreaterThan(300);
  await there.log.hover();
  for (let down = 0; down < 4; down += 1) await page.mouse.wheel(0, 600);
  await expect.poll(unread).toBeLessThan(320);
  expect(await unread()).toBeGreaterThan(200);
  await page.getByRole('button', { name: /^To the new/u }).click();
  await expect(ann.message('line 330')).toContainText('read');
  await expect.poll(unread).toBe(0);
  await context.close();
});

test('who comes back over a slow connection begins where the new ones begin', async ({ world }) => {
  const [ann, ben] = await talked(world, 'before');
  const url = ben.page.url();
  await ben.page.goto('about:blank');
  await writeMany(ann.page, 40, line);
  // Longer than the page waits before it shows what it has.
  await ben.page.routeWebSocket(/socket\.io/u, async (socket) => {
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    socket.connectToServer();
  });
  await ben.page.goto(url);
  await expect(ben.log.getByRole('separator', { name: 'New messages' })).toBeVisible();
  await expect(ben.message('before')).not.toHaveCount(0);
  await expect(ann.message('line 40')).toContainText('delivered');
  await expect(ben.conversation(ann.name)).toContainText('unread');
  await ben.page.getByRole('button', { name: /^To the new/u }).click();
  await expect(ann.message('line 40')).toContainText('read');
});

test('while one reads above, what comes below is hinted at', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  await writeMany(ann.page, 60, line);
  await expect(ann.message('line 60')).toBeVisible();
  await ann.log.hover();
  await ann.page.mouse.wheel(0, -2_000);
  await expect(ann.page.getByRole('button', { name: 'To the newest' })).toBeVisible();
  const before = await ann.log.evaluate((log) => log.scrollTop);
  await ben.open(ann.name);
  await ben.say('are you there?');
  await ann.page.getByRole('button', { name: 'To the new messages' }).waitFor();
  expect(await ann.log.evaluate((log) => log.scrollTop)).toBe(before);
  await ann.page.getByRole('button', { name: 'To the new messages' }).click();
  await expect(ann.message('are you there?')).toBeVisible();
});
