/** Pictures of the page as people see it, for people to look at: `target/screens/`. */

import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';

import { expect, testWith } from './fixtures';
import { attach, draw, isDrawn, picture } from './pictures';

const test = testWith();
const FOLDER = resolve('../target/screens');

/** Names by size and theme: all four share a node. */
const NAMES: Record<string, [string, string, string]> = {
  '1280 light': ['Anna', 'ben.ortiz', 'Catherine'],
  '1280 dark': ['Ada', 'bo.lind', 'Clara'],
  '390 light': ['Amira', 'boris.k', 'Chiara'],
  '390 dark': ['Aino', 'bela.t', 'Cosima'],
};

const SIZES = [
  { width: 1280, height: 800, phone: false },
  { width: 390, height: 844, phone: true },
];

for (const { width, height, phone } of SIZES) {
  for (const colorScheme of ['light', 'dark'] as const) {
    test(`at ${width} pixels, ${colorScheme}`, async ({ world, browser }) => {
      await mkdir(FOLDER, { recursive: true });
      const options = {
        viewport: { width, height },
        colorScheme,
        hasTouch: phone,
        isMobile: phone,
        deviceScaleFactor: phone ? 2 : 1,
      };
      const names = NAMES[`${width} ${colorScheme}`] ?? ['a', 'b', 'c'];
      const ann = await world.signUpAs(names[0], options);
      const shoot = async (name: string) => {
        await ann.page.evaluate(() => document.fonts.ready);
        await ann.page.screenshot({
          path: `${FOLDER}/${width}-${colorScheme}-${name}.png`,
          animations: 'disabled',
        });
      };
      const back = async () => {
        if (phone) await ann.page.getByRole('button', { name: 'Back to all chats' }).click();
      };

      const out = await browser.newPage(options);
      await out.goto(world.node.url);
      await out.screenshot({ path: `${FOLDER}/${width}-${colorScheme}-welcome.png` });
      await out.getByRole('button', { name: 'Create an account' }).click();
      await out.getByRole('textbox', { name: 'Username' }).fill('a');
      await out.getByRole('textbox', { name: 'Email' }).fill('somebody');
      await out.getByRole('button', { name: 'Sign up' }).click();
      await expect(out.locator('[aria-invalid="true"]').first()).toBeVisible();
      await out.screenshot({ path: `${FOLDER}/${width}-${colorScheme}-sign-up.png` });
      await out.close();

      await shoot('nothing-yet');
      const ben = await world.signUpAs(names[1]);
      const cat = await world.signUpAs(names[2]);
      await ann.begin([cat]);
      await ann.say('Are you coming on Thursday?');
      await cat.open(ann.name);
      await cat.say('Yes, with cake.');
      await expect(ann.message('with cake')).toBeVisible();
      await back();

      await ann.begin([ben, cat], 'Launch crew');
      await ben.open('Launch crew');
      await ben.say('The load test is through: 100,000 sockets on one box.');
      await cat.open('Launch crew');
      await cat.say('And nobody noticed the restart in the middle of it.');
      await expect(ann.message('nobody noticed')).toBeVisible();
      await ann.say('That goes on the first slide.');
      await expect(ann.message('first slide')).toContainText('read');
      await shoot('group');
      await ann.page.getByRole('button', { name: 'Group details' }).click();
      await expect(ann.page.getByRole('dialog')).toBeVisible();
      await shoot('details');
      await ann.page.keyboard.press('Escape');
      await back();

      await ann.begin([ben]);
      await ben.open(ann.name);
      await ben.say('Morning! Did the deploy go through last night?');
      await ann.say('It did. Two nodes drained while people were talking.');
      await ann.say('The graphs: https://grafana.example.org/d/chat (the p99 barely moved)');
      await ben.say('<b>Nice.</b> Shall we write it up?');
      const asked = ann.message('write it up');
      await expect(asked).toBeVisible();
      if (phone) await asked.tap();
      else await asked.hover();
      await asked.getByRole('button', { name: 'Reply' }).click();
      await ann.say('I will draft something today.');
      await expect(ann.message('draft something')).toContainText('read');
      await ben.box.pressSequentially('Gre');
      await expect(ann.page.getByText('is typing')).toBeVisible();
      await shoot('conversation');

      await back();
      await cat.open(ann.name);
      await cat.say('Which cake, though?');
      await expect(ann.conversation(cat.name).filter({ hasText: 'Which cake' })).toBeVisible();
      if (phone) await shoot('list');
      await ann.page.getByRole('button', { name: 'New conversation' }).click();
      await ann.page.getByRole('searchbox', { name: 'People' }).fill(ben.name);
      await ann.page.getByRole('option', { name: ben.name, exact: true }).click();
      await shoot('new-conversation');
      await ann.page.keyboard.press('Escape');

      await ann.open(cat.name);
      const sun = await draw(ann.page, 900, 600);
      await attach(ann, { name: 'cake.png', mimeType: 'image/png', buffer: sun });
      await isDrawn(picture(ann, 'cake.png'));
      const recipe = { mimeType: 'application/pdf', buffer: Buffer.alloc(184_320) };
      await attach(ann, {
        ...recipe,
        name: 'A recipe with a rather long name, second edition.pdf',
      });
      await expect(ann.log.getByRole('button', { name: 'second edition' })).toBeVisible();
      await cat.say('That looks good!');
      await expect(ann.message('looks good')).toBeVisible();
      await shoot('files');
      await ann.page.route('**/files/*?*', (route) => route.abort());
      await attach(ann, { ...recipe, name: 'broken-off.pdf' });
      const uploads = ann.page.getByRole('list', { name: 'Uploads' });
      await expect(uploads.getByRole('alert')).toBeVisible();
      // Held for good: a picture of something on its way.
      await ann.page.unroute('**/files/*?*');
      await ann.page.route('**/files/*?*', () => new Promise<void>(() => undefined));
      await attach(ann, { ...recipe, name: 'under-way.pdf' });
      await expect(uploads.getByRole('progressbar')).toBeVisible();
      await shoot('uploads');
      await uploads.getByRole('button', { name: 'Dismiss' }).click();
      await uploads.getByRole('button', { name: 'Stop the upload' }).click();

      const mine = ann.message('Are you coming');
      if (phone) await mine.tap();
      else await mine.hover();
      await mine.getByRole('button', { name: 'Delete' }).click();
      await expect(ann.page.getByRole('alertdialog')).toBeVisible();
      await shoot('confirm');
      await ann.page.keyboard.press('Escape');

      await ann.page.context().setOffline(true);
      await expect(ann.banner).toBeVisible();
      await ann.say('Lemon. Sent from a tunnel.');
      await expect(ann.message('tunnel')).toContainText('waiting');
      await shoot('offline');
    });
  }
}
