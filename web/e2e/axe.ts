/** The accessibility check. */

import type { Page } from '@playwright/test';
import axe from 'axe-core';

/** Serious findings of axe on the page as it is now. */
export async function findings(page: Page): Promise<string[]> {
  // What is just appearing has less contrast than it will have.
  await page.evaluate(async () => {
    const ends = (one: Animation) => one.effect?.getComputedTiming().endTime !== Infinity;
    const ending = document.getAnimations().filter(ends);
    await Promise.allSettled(ending.map(({ finished }) => finished));
  });
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(async () => {
    const { axe: checker } = window as unknown as { axe: typeof axe };
    return checker.run(document, { resultTypes: ['violations'] });
  });
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
}
