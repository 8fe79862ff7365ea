import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import './app/base.css';
import { App } from './app/App';
import { Runtime } from './app/runtime';
import { applyTheme } from './app/theme';

/** After the list is on the screen. */
const KEEP_PAGE_AFTER_MS = 1_500;

/** Where the browser allows it, a worker keeps the page, and renews tokens: `sw.ts`. */
async function startWorker(): Promise<void> {
  const workers = (navigator as Partial<Navigator>).serviceWorker;
  if (!import.meta.env.PROD || !workers) return;
  await workers.register('/sw.js');
  const { active } = await workers.ready;
  setTimeout(() => {
    const loaded = performance.getEntriesByType('resource').map(({ name }) => name);
    active?.postMessage(loaded.filter((url) => url.startsWith(`${location.origin}/assets/`)));
  }, KEEP_PAGE_AFTER_MS);
}

applyTheme();
startWorker().catch(() => undefined);

const root = document.getElementById('root');
if (root) {
  const runtime = await Runtime.start();
  createRoot(root).render(
    <StrictMode>
      <App runtime={runtime} />
    </StrictMode>,
  );
}
