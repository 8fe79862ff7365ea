import { defineConfig } from 'vite';

/** The service worker: one plain script, at an address that does not change from build to build. */
export default defineConfig({
  publicDir: false,
  build: {
    target: 'baseline-widely-available',
    emptyOutDir: false,
    modulePreload: false,
    rolldownOptions: {
      input: 'src/sw.ts',
      output: { format: 'iife', entryFileNames: 'sw.js' },
    },
  },
});
