import { expect, talked, testWith } from './fixtures';

const test = testWith();

test('two people sign up and talk', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');

  await ann.begin([ben]);
  await ann.say('Hello Ben');
  await expect(ann.message('Hello Ben')).toContainText('delivered');

  const link = ben.conversation(ann.name);
  await expect(link).toContainText('Hello Ben');
  await expect(link).toContainText('1 unread');
  await expect(link).toContainText('online');
  await ben.open(ann.name);
  await expect(ben.message('Hello Ben')).toContainText(ann.name);
  await expect(ann.message('Hello Ben')).toContainText('read');
  await expect(link).not.toContainText('unread');

  await ben.box.pressSequentially('typ');
  await expect(ann.page.getByText(`${ben.name} is typing`)).toBeVisible();
  await ben.say('Hello Ann\nand a second line');
  await expect(ann.message('and a second line')).toBeVisible();
  await expect(ann.page.getByText('is typing')).toHaveCount(0);
});

test('Enter sends, Shift+Enter breaks the line, the button sends too', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  await ann.box.pressSequentially('one');
  await ann.box.press('Shift+Enter');
  await ann.box.pressSequentially('two');
  await expect(ann.box).toHaveValue('one\ntwo');
  await ann.page.getByRole('button', { name: 'Send' }).click();
  await expect(ann.message('one')).toContainText('sent');
  await expect(ann.box).toHaveValue('');
  await expect(ann.box).toBeFocused();
});

test('markup in a message is text, and addresses become safe links', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  const attack = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>';
  await ann.say(attack);
  await ann.say('javascript:alert(1) and https://example.org/a_(b).');
  await ben.open(ann.name);
  await expect(ben.message('onerror')).toContainText(attack);
  await expect(ben.log.locator('img, script')).toHaveCount(0);
  expect(await ben.page.evaluate(() => 'hit' in window)).toBe(false);
  const link = ben.log.getByRole('link');
  await expect(link).toHaveCount(1);
  await expect(link).toHaveAttribute('href', 'https://example.org/a_(b)');
  await expect(link).toHaveAttribute('rel', /noopener/u);
});

test('a message is edited, answered and deleted', async ({ world }) => {
  const [ann, ben] = await talked(world, 'Hello Bne');

  // Arrow up in an empty box edits what was said last.
  await ann.box.press('ArrowUp');
  await expect(ann.box).toHaveValue('Hello Bne');
  await ann.say('Hello Ben');
  await expect(ben.message('Hello Ben')).toContainText('edited');
  await expect(ben.message('Hello Bne')).toHaveCount(0);

  const theirs = ben.message('Hello Ben');
  await theirs.hover();
  await theirs.getByRole('button', { name: 'Reply' }).click();
  await ben.say('Hello yourself');
  const answer = ann.message('Hello yourself');
  await expect(answer.getByRole('button').first()).toContainText('Hello Ben');

  const mine = ann.log.getByRole('article').first();
  await mine.hover();
  await mine.getByRole('button', { name: 'Delete' }).click();
  await ann.page.getByRole('button', { name: 'Delete message' }).click();
  await expect(ben.log.getByText('This message was deleted')).toBeVisible();
  await expect(answer).toContainText('a deleted message');
});

test('a draft is kept for its conversation', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  const cat = await world.signUp('cat');
  await ann.begin([ben]);
  await ann.box.fill('for ben, not yet');
  await ann.begin([cat]);
  await expect(ann.box).toHaveValue('');
  await ann.page.reload();
  await ann.open(ben.name);
  await expect(ann.box).toHaveValue('for ben, not yet');
});

test('logging out and in again', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  await ann.say('Still here later');
  await expect(ann.message('Still here later')).toContainText('sent');
  await ann.page.getByRole('button', { name: 'Log out' }).click();
  await expect(ann.page.getByRole('button', { name: 'Log in' })).toBeVisible();
  await ann.page.reload();
  await ann.page.getByRole('textbox', { name: 'Username' }).fill(`${ann.name}@example.org`);
  await ann.page.getByLabel('Password').fill('wrong horse');
  await ann.page.getByRole('button', { name: 'Log in' }).click();
  await expect(ann.page.getByText('Wrong name or password')).toBeVisible();
  await ann.page.getByLabel('Password').fill('correct horse');
  await ann.page.getByRole('button', { name: 'Log in' }).click();
  await ann.open(ben.name);
  await expect(ann.message('Still here later')).toBeVisible();
});

test('a name that is taken is said beside the field', async ({ world }) => {
  const ann = await world.signUp('ann');
  await ann.page.getByRole('button', { name: 'Log out' }).click();
  await ann.page.getByRole('button', { name: 'Create an account' }).click();
  await ann.page.getByRole('textbox', { name: 'Username' }).fill(ann.name);
  await ann.page.getByRole('textbox', { name: 'Email' }).fill('other@example.org');
  await ann.page.getByLabel('Password').fill('correct horse');
  await ann.page.getByRole('button', { name: 'Sign up' }).click();
  await expect(ann.page.getByRole('textbox', { name: 'Username' })).toHaveAttribute(
    'aria-invalid',
    'true',
  );
});
