import { expect, testWith } from './fixtures';
import { scaled } from './patience';

/** Two messages at once, and one more every twenty seconds: far more than it takes to write three. */
const test = testWith('--rate-messages', '3/m:2');

test('a message the server does not take says so, and is sent by Retry', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  for (const text of ['one', 'two', 'three']) await ann.say(text);
  const third = ann.message('three');
  await expect(third).toContainText('failed');
  await expect(third).toContainText('That was too fast');
  await expect(ann.conversation(ben.name)).toContainText('Not sent: three');

  await ann.page.reload();
  await expect(third).toContainText('failed');
  // As a person does: again, until it goes through. Near the end the page waits by itself.
  const retry = third.getByRole('button', { name: 'Retry' });
  await expect(async () => {
    if (await retry.isVisible()) await retry.click();
    await expect(third).toContainText('delivered', { timeout: scaled(2_000) });
  }).toPass({ timeout: scaled(60_000) });
  await ben.open(ann.name);
  await expect(ben.log.getByRole('article')).toHaveText([/one/u, /two/u, /three/u]);
});
