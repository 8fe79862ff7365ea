/** Files and pictures in the page, as a person handles them. */

import { expect, type Locator, type Page } from '@playwright/test';

import type { Person } from './fixtures';

/** A picture as a browser draws one. */
export async function draw(page: Page, width: number, height: number): Promise<Buffer> {
  const base64 = await page.evaluate(
    ([across, down]) => {
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [across, down];
      const paint = canvas.getContext('2d');
      if (!paint) throw new Error('no canvas');
      const shade = paint.createLinearGradient(0, 0, across, down);
      shade.addColorStop(0, '#3554c8');
      shade.addColorStop(1, '#f0d88a');
      paint.fillStyle = shade;
      paint.fillRect(0, 0, across, down);
      return canvas.toDataURL('image/png').split(',')[1] ?? '';
    },
    [width, height] as const,
  );
  return Buffer.from(base64, 'base64');
}

export interface Picked {
  readonly name: string;
  readonly mimeType: string;
  readonly buffer: Buffer;
}

export async function attach(person: Person, ...files: Picked[]): Promise<void> {
  const chooser = person.page.waitForEvent('filechooser');
  await person.page.getByRole('button', { name: 'Attach a file' }).click();
  await (await chooser).setFiles(files);
}

export const picture = (person: Person, name: string) =>
  person.log.getByRole('button', { name: `Picture ${name}` });

/** Whether the picture is there, not only its box. */
export const isDrawn = (box: Locator) =>
  expect
    .poll(() => box.locator('img').evaluate((image: HTMLImageElement) => image.naturalWidth))
    .toBeGreaterThan(0);
