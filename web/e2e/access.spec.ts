import { findings } from './axe';
import { expect, testWith } from './fixtures';
import { scaled } from './patience';
import { attach } from './pictures';

const test = testWith();

for (const colorScheme of ['light', 'dark'] as const) {
  test(`axe finds nothing serious in ${colorScheme}`, async ({ world, browser }) => {
    const out = await browser.newPage({ colorScheme });
    await out.goto(world.node.url);
    expect(await findings(out)).toEqual([]);
    await out.getByRole('button', { name: 'Create an account' }).click();
    await out.getByRole('button', { name: 'Sign up' }).click();
    expect(await findings(out)).toEqual([]);
    await out.close();

    const ann = await world.signUp('ann', { colorScheme });
    expect(await findings(ann.page)).toEqual([]);
    const ben = await world.signUp('ben', { colorScheme });
    await ann.begin([ben], 'Crew');
    await ann.say('see https://example.org/');
    await ben.open('Crew');
    await ben.say('I see');
    await expect(ann.message('I see')).toBeVisible();
    await ann.message('I see').hover();
    expect(await findings(ann.page)).toEqual([]);
    await ann.page.getByRole('button', { name: 'Group details' }).click();
    await expect(ann.page.getByRole('dialog')).toBeVisible();
    expect(await findings(ann.page)).toEqual([]);
    await ann.page.keyboard.press('Escape');
    await ann.page.getByRole('button', { name: 'New conversation' }).click();
    await ann.page.getByRole('searchbox', { name: 'People' }).fill(ben.name);
    await expect(ann.page.getByRole('option', { name: ben.name, exact: true })).toBeVisible();
    expect(await findings(ann.page)).toEqual([]);
  });
}

for (const [device, options] of [
  ['desk, light', { colorScheme: 'light' }],
  ['phone, dark', { colorScheme: 'dark', viewport: { width: 390, height: 844 } }],
] as const) {
  test(`axe finds nothing serious in dialogs and troubles, on a ${device}`, async ({ world }) => {
    const ann = await world.signUp('ann', options);
    const ben = await world.signUp('ben');
    const { page } = ann;
    const dialog = page.getByRole('alertdialog').or(page.getByRole('dialog'));
    const check = async (what: string) => {
      expect({ what, found: await findings(page) }).toEqual({ what, found: [] });
      // Nothing sticks out at the side.
      const widths = await page.evaluate(() => [
        document.documentElement.scrollWidth,
        window.innerWidth,
      ]);
      expect(widths[0]).toBeLessThanOrEqual(widths[1] ?? 0);
    };
    const closed = async () => {
      await page.keyboard.press('Escape');
      await expect(dialog).toHaveCount(0);
    };

    await ann.begin([ben], 'Crew');
    await ann.say('hello');
    await ann.message('hello').focus();
    await ann.message('hello').getByRole('button', { name: 'Delete' }).click();
    await expect(dialog).toBeVisible();
    await check('delete a message');
    await closed();

    await page.getByRole('button', { name: 'Group details' }).click();
    await expect(dialog).toBeVisible();
    await check('details of a group');
    await page.getByRole('button', { name: 'Add people' }).click();
    await page.getByRole('searchbox', { name: 'People' }).fill('nobody of this name');
    await expect(dialog.getByText(/Nobody/u).first()).toBeVisible();
    await check('add people, nobody found');
    await closed();
    await page.getByRole('button', { name: 'Group details' }).click();
    await page.getByRole('button', { name: 'Leave the group' }).click();
    await expect(page.getByRole('button', { name: 'Yes, leave the group' })).toBeVisible();
    await check('leave a group');
    await closed();

    await page.context().setOffline(true);
    await expect(ann.banner).toBeVisible();
    await ann.say('from a tunnel');
    const text = { name: 'a.txt', mimeType: 'text/plain', buffer: Buffer.from('hello') };
    await attach(ann, text);
    await expect(page.getByText('Waiting for the connection', { exact: true })).toBeVisible();
    await check('without a connection');
    if (device.startsWith('phone')) {
      await page.getByRole('button', { name: 'Back to all chats' }).click();
    }
    await page.getByRole('button', { name: 'Log out' }).click();
    await expect(dialog).toContainText('2 messages or files are not sent yet');
    await check('log out with something unsent');
    await closed();
    await page.context().setOffline(false);
    await expect(ann.banner).toHaveCount(0, { timeout: scaled(30_000) });
    await expect(ben.conversation('Crew')).toContainText('a.txt');

    await page.goto(`${world.node.url}/#/c/000000000000000000000000`);
    await expect(ann.list).toBeVisible();
    await check('a conversation that is not here');
  });
}

test('everything can be done from the keyboard', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  const { keyboard } = ann.page;
  const focused = () => ann.page.evaluate(() => document.activeElement?.getAttribute('aria-label'));

  const tabTo = async (name: string) => {
    for (let presses = 0; presses < 20 && (await focused()) !== name; presses += 1) {
      await keyboard.press('Tab');
    }
    expect(await focused()).toBe(name);
  };

  await tabTo('New conversation');
  await keyboard.press('Enter');
  await expect(ann.page.getByRole('searchbox', { name: 'People' })).toBeFocused();
  await keyboard.type(ben.name);
  await expect(ann.page.getByRole('option', { name: ben.name, exact: true })).toBeVisible();
  await keyboard.press('ArrowDown');
  await keyboard.press('Enter');
  await expect(ann.page.getByRole('option', { name: ben.name, exact: true })).toHaveAttribute(
    'aria-selected',
    'true',
  );
  await keyboard.press('Tab');
  await keyboard.press('Tab');
  await keyboard.press('Tab');
  await keyboard.press('Enter');
  await expect(ann.box).toBeFocused();

  await keyboard.type('typed only');
  await keyboard.press('Enter');
  await expect(ann.message('typed only')).toContainText('sent');

  // From the box back to the messages, along them, and to their actions.
  await keyboard.press('Shift+Tab');
  while ((await focused()) !== 'Messages') await keyboard.press('Shift+Tab');
  await keyboard.press('ArrowUp');
  await expect(ann.message('typed only')).toBeFocused();
  await keyboard.press('Tab');
  expect(await focused()).toBe('Reply');
  await keyboard.press('Enter');
  await expect(ann.box).toBeFocused();
  await expect(ann.page.getByRole('button', { name: 'Do not reply' })).toBeVisible();
  await keyboard.press('Escape');
  await expect(ann.page.getByRole('button', { name: 'Do not reply' })).toHaveCount(0);

  // A dialog gives the focus back to where it came from.
  await ann.page.getByRole('button', { name: 'New conversation' }).focus();
  await keyboard.press('Enter');
  await expect(ann.page.getByRole('dialog')).toBeVisible();
  await keyboard.press('Escape');
  await expect(ann.page.getByRole('button', { name: 'New conversation' })).toBeFocused();
});

test('on a phone the list and the conversation take turns', async ({ world }) => {
  const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
  const ann = await world.signUp('ann', phone);
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  await expect(ann.list).toBeHidden();
  await ann.say('from my phone');
  await expect(ann.message('from my phone')).toContainText('delivered');
  const width = await ann.page.evaluate(() => document.documentElement.scrollWidth);
  expect(width).toBe(390);

  await ann.message('from my phone').tap();
  await ann.message('from my phone').getByRole('button', { name: 'Reply' }).tap();
  await expect(ann.page.getByRole('button', { name: 'Do not reply' })).toBeVisible();

  await ann.page.getByRole('button', { name: 'Back to all chats' }).tap();
  await expect(ann.list).toBeVisible();
  await expect(ann.box).toBeHidden();
  await ann.conversation(ben.name).tap();
  await expect(ann.message('from my phone')).toBeVisible();
  await ann.page.goBack();
  await expect(ann.list).toBeVisible();
});

test('a hidden tab says by a notification what came, if that was asked for', async ({ world }) => {
  const ann = await world.signUp('ann', { permissions: ['notifications'] });
  const ben = await world.signUp('ben');
  await ann.page.evaluate(() => {
    const shown: string[] = [];
    class Spy {
      static permission = 'granted';
      static requestPermission = () => Promise.resolve('granted');
      onclick: (() => void) | null = null;
      constructor(title: string, { body }: { body: string }) {
        shown.push(`${title}: ${body}`);
      }
      close() {}
    }
    Object.assign(window, { Notification: Spy, shown });
  });
  await ann.page.getByRole('button', { name: 'Notifications: off' }).click();
  await expect(ann.page.getByRole('button', { name: 'Notifications: on' })).toBeVisible();
  await ben.begin([ann]);
  await ben.say('while you look');
  await expect(ann.conversation(ben.name)).toContainText('while you look');

  await ann.page.evaluate(() => {
    Object.defineProperty(document, 'visibilityState', { value: 'hidden', configurable: true });
    document.dispatchEvent(new Event('visibilitychange'));
  });
  await ben.say('while you do not');
  await expect
    .poll(() => ann.page.evaluate(() => (window as unknown as { shown: string[] }).shown))
    .toEqual([`${ben.name}: while you do not`]);
});
