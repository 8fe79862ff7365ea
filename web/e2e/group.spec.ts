import { expect, testWith } from './fixtures';

const test = testWith();

test('a group is made, renamed, grows and shrinks', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  const cat = await world.signUp('cat');
  await ann.begin([ben], 'Tea');
  await ann.say('who brings cake?');
  await ben.open('Tea');
  await expect(ben.message('who brings cake?')).toContainText(ann.name);

  await ann.page.getByRole('button', { name: 'Group details' }).click();
  const details = ann.page.getByRole('dialog');
  await details.getByRole('textbox', { name: 'Name of the group' }).fill('Cake');
  await details.getByRole('button', { name: 'Rename' }).click();
  await expect(ben.page.getByRole('heading', { name: 'Cake' })).toBeVisible();
  await expect(ben.log.getByText(`${ann.name} named the group “Cake”`)).toBeVisible();

  await details.getByRole('button', { name: 'Add people' }).click();
  await details.getByRole('searchbox', { name: 'People' }).fill(cat.name);
  await details.getByRole('option', { name: cat.name, exact: true }).click();
  await details.getByRole('button', { name: 'Add to the group' }).click();
  await expect(details.getByRole('heading', { name: '3 people' })).toBeVisible();
  await ann.page.keyboard.press('Escape');
  await cat.open('Cake');
  await expect(cat.message('who brings cake?')).toBeVisible();
  await cat.say('me');
  await expect(ben.message('me')).toContainText(cat.name);

  await cat.page.getByRole('button', { name: 'Group details' }).click();
  await cat.page.getByRole('button', { name: 'Leave the group' }).click();
  await cat.page.getByRole('button', { name: 'Yes, leave the group' }).click();
  await expect(cat.conversation('Cake')).toHaveCount(0);
  await expect(ben.log.getByText(`${cat.name} left`)).toBeVisible();
  await ben.say('more for us');
  await expect(ann.message('more for us')).toContainText(ben.name);
});

test('a message in a group is read when one of the others has read it', async ({ world }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  const cat = await world.signUp('cat');
  await ann.begin([ben, cat], 'Three');
  await ann.say('seen by one');
  await expect(ann.message('seen by one')).toContainText('delivered');
  await cat.open('Three');
  await expect(ann.message('seen by one')).toContainText('read');
  await expect(ben.conversation('Three')).toContainText('1 unread');
});
