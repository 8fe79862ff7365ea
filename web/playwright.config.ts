import { defineConfig } from '@playwright/test';

import { scaled } from './e2e/patience';

export default defineConfig({
  testDir: 'e2e',
  // Each file starts a node of its own; two at a time is what a small machine bears.
  workers: 2,
  // On a shared machine one may come too late; what passed only then is listed as flaky.
  retries: process.env.CI ? 1 : 0,
  timeout: scaled(120_000),
  expect: { timeout: scaled(15_000) },
  reporter: [['list']],
  use: {
    launchOptions: {
      executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    },
    locale: 'en-US',
    viewport: { width: 1280, height: 800 },
    trace: 'off',
  },
});
