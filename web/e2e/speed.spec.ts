import { expect, testWith } from './fixtures';
import { scaled } from './patience';
import { writeMany } from './seed';

const test = testWith('--rate-messages', 'off', '--rate-requests', 'off');

/** Kibibytes of script, compressed, before the list is there. */
const SCRIPT_KIB_MAX = 150;
/** A person notices a page that does not answer for longer. */
const LONG_TASK_MS_MAX = 100;
const MESSAGES = 10_000;

test('the first load is small and quick', async ({ world, browser }) => {
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  await ann.say('hello');
  await expect(ann.message('hello')).toContainText('delivered');

  const context = await browser.newContext({ serviceWorkers: 'block' });
  const page = await context.newPage();
  await page.goto(world.node.url);
  const script = await page.evaluate(() =>
    performance
      .getEntriesByType('resource')
      .filter(({ name }) => name.endsWith('.js'))
      .reduce((sum, entry) => sum + (entry as PerformanceResourceTiming).encodedBodySize, 0),
  );
  console.log(`script of the first load: ${(script / 1024).toFixed(1)} KiB`);
  expect(script).toBeLessThan(SCRIPT_KIB_MAX * 1024);
  await context.close();

  const times: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    await ann.page.goto('about:blank');
    await ann.page.goto(world.node.url);
    await expect(ann.conversation(ben.name)).toBeVisible();
    times.push(
      await ann.page.evaluate(
        () => performance.getEntriesByName('syncchat:list')[0]?.startTime ?? NaN,
      ),
    );
  }
  console.log(`from navigation to a usable list: ${times.map(Math.round).join(', ')} ms`);
});

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly tdur?: number;
  readonly args?: { readonly name?: string };
}

/**
 * The longest tasks of the page's main thread, in milliseconds of its own processor time: what
 * else runs on this machine is not the page's fault.
 */
function longestTasks(trace: Buffer): number[] {
  const { traceEvents } = JSON.parse(trace.toString()) as { traceEvents: TraceEvent[] };
  const main = new Set(
    traceEvents
      .filter(({ name, args }) => name === 'thread_name' && args?.name === 'CrRendererMain')
      .map(({ pid, tid }) => `${pid}/${tid}`),
  );
  return traceEvents
    .filter(
      ({ ph, name, pid, tid }) => ph === 'X' && /RunTask$/u.test(name) && main.has(`${pid}/${tid}`),
    )
    .map(({ tdur = 0 }) => tdur / 1_000)
    .toSorted((a, b) => b - a)
    .slice(0, 5);
}

test(`${MESSAGES} messages scroll without a stop`, async ({ world, browser }) => {
  test.setTimeout(scaled(400_000));
  const ann = await world.signUp('ann');
  const ben = await world.signUp('ben');
  await ann.begin([ben]);
  await ben.page.goto('about:blank');
  await writeMany(
    ann.page,
    MESSAGES,
    (index) => `line ${index}${' and more words'.repeat(index % 7)}`,
  );
  await ben.page.goto(world.node.url);
  await ben.open(ann.name);
  await expect(ben.log.getByRole('article').first()).toBeVisible();
  await browser.startTracing(ben.page, { categories: ['toplevel'] });
  const frames = await ben.log.evaluate(async (log) => {
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    let count = 0;
    // Up, as far as there is anything: every page of history is loaded on the way.
    for (let still = 0; still < 120; count += 1) {
      still = log.scrollTop === 0 ? still + 1 : 0;
      log.scrollBy(0, -1_500);
      await frame();
    }
    // And down again.
    while (log.scrollTop + log.clientHeight < log.scrollHeight - 2) {
      log.scrollBy(0, 4_000);
      count += 1;
      await frame();
    }
    return count;
  });
  const tasks = longestTasks(await browser.stopTracing());
  console.log(`${frames} frames; the longest tasks: ${tasks.map(Math.round).join(', ')} ms`);
  expect(tasks).toHaveLength(5);
  expect(tasks[0]).toBeLessThan(LONG_TASK_MS_MAX);
  await expect(ben.message(`line ${MESSAGES}`)).toBeVisible();
  await ben.log.evaluate((log) => log.scrollTo(0, 0));
  await expect(ben.log.getByText('This is where your conversation')).toBeVisible();
});
