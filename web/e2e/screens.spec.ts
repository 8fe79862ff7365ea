/** Pictures of the page as people see it, for people to look at: `target/screens/`. */

import { mkdir } from 'node:fs/promises';
import { resolve } from 'node:path';

import { expect, testWith } from './fixtures';

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
      await ann.page.context().setOffline(true);
      await expect(ann.banner).toBeVisible();
      await ann.say('Lemon. Sent from a tunnel.');
      await expect(ann.message('tunnel')).toContainText('waiting');
      await shoot('offline');
    });
  }
}
