/** A node for a file's tests, and people who use its page. */

import {
  test as base,
  expect,
  type Browser,
  type BrowserContextOptions,
  type Page,
} from '@playwright/test';

import { Node } from './node';

const PASSWORD = 'correct horse';
let count = 0;

/** A name nobody has yet. */
export const newName = (prefix: string) => `${prefix}${(count += 1)}-${process.pid}`;

/** Somebody at a browser of their own. */
export class Person {
  constructor(
    readonly page: Page,
    readonly name: string,
  ) {}

  get list() {
    return this.page.getByRole('navigation', { name: 'Conversations' });
  }

  get log() {
    return this.page.getByRole('log', { name: 'Messages' });
  }

  get box() {
    return this.page.getByRole('textbox', { name: 'Message' });
  }

  get banner() {
    return this.page.getByRole('status').filter({ hasText: 'Reconnecting…' });
  }

  conversation(name: string) {
    const escaped = name.replace(/[.]/gu, '\\.');
    return this.list.getByRole('link', { name: new RegExp(`^${escaped} `, 'u') });
  }

  message(text: string) {
    return this.log.getByRole('article').filter({ hasText: text });
  }

  async open(name: string): Promise<void> {
    await this.conversation(name).click();
    await expect(this.box).toBeVisible();
  }

  async say(text: string): Promise<void> {
    await this.box.fill(text);
    await this.box.press('Enter');
  }

  /** Begins a conversation: with one person a private one, with several a group. */
  async begin(others: readonly Person[], title?: string): Promise<void> {
    await this.page.getByRole('button', { name: 'New conversation' }).click();
    const dialog = this.page.getByRole('dialog', { name: 'New conversation' });
    for (const { name } of others) {
      await dialog.getByRole('searchbox', { name: 'People' }).fill(name);
      await dialog.getByRole('option', { name, exact: true }).click();
    }
    if (title !== undefined) await dialog.getByRole('textbox', { name: 'Title' }).fill(title);
    await dialog.getByRole('button', { name: 'Create' }).click();
    await expect(this.box).toBeVisible();
  }
}

export interface World {
  readonly node: Node;
  /** A new person, signed up at a browser of their own, under a name that nobody has yet. */
  readonly signUp: (prefix: string, options?: BrowserContextOptions) => Promise<Person>;
  /** The same, under this very name. */
  readonly signUpAs: (name: string, options?: BrowserContextOptions) => Promise<Person>;
  /** Complaints of pages: errors, warnings, refusals by the content security policy. */
  readonly complaints: string[];
}

function watch(page: Page, complaints: string[]): void {
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    // What the network does is the test's doing.
    const network = /net::ERR_|WebSocket connection|Failed to load resource/u.test(message.text());
    if (['error', 'warning'].includes(message.type()) && !network) complaints.push(message.text());
  });
}

export async function signUpOn(page: Page, url: string, name: string): Promise<Person> {
  await page.goto(url);
  await page.getByRole('button', { name: 'Create an account' }).click();
  await page.getByRole('textbox', { name: 'Username' }).fill(name);
  await page.getByRole('textbox', { name: 'Email' }).fill(`${name}@example.org`);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign up' }).click();
  const person = new Person(page, name);
  await expect(person.list).toBeVisible();
  return person;
}

export async function logInOn(page: Page, url: string, name: string): Promise<Person> {
  await page.goto(url);
  await page.getByRole('textbox', { name: 'Username' }).fill(name);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Log in' }).click();
  const person = new Person(page, name);
  await expect(person.list).toBeVisible();
  return person;
}

/** Ann and Ben, who has read what Ann said. */
export async function talked(world: World, text: string): Promise<[Person, Person]> {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  await ann.say(text);
  await ben.open(ann.name);
  await expect(ann.message(text)).toContainText('read');
  return [ann, ben];
}

/** Tests that share a node with these flags. */
export function testWith(...flags: string[]) {
  return base.extend<{ world: World }, { node: Node }>({
    node: [
      // Playwright wants its fixtures named, even where there are none.
      // eslint-disable-next-line no-empty-pattern
      async ({}, provide) => {
        const node = await Node.start(...flags);
        await provide(node);
        await node.stop();
      },
      { scope: 'worker' },
    ],
    world: async ({ node, browser }, provide) => {
      const complaints: string[] = [];
      const contexts: Awaited<ReturnType<Browser['newContext']>>[] = [];
      const signUpAs = async (name: string, options?: BrowserContextOptions) => {
        const context = await browser.newContext(options);
        contexts.push(context);
        context.on('page', (page) => watch(page, complaints));
        return signUpOn(await context.newPage(), node.url, name);
      };
      const signUp = (prefix: string, options?: BrowserContextOptions) =>
        signUpAs(newName(prefix), options);
      await provide({ node, signUp, signUpAs, complaints });
      await Promise.all(contexts.map((context) => context.close()));
      expect(complaints).toEqual([]);
    },
  });
}

export { expect };
