import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

/** The node that `npm run dev` talks to. */
const node = process.env.SYNCCHAT_NODE ?? 'http://127.0.0.1:8080';

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'baseline-widely-available',
    // Inlined assets would be data: addresses, which the content security policy refuses for
    // everything but pictures.
    assetsInlineLimit: 0,
    // The entry imports what it needs; the polyfill for old browsers would be dead weight.
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { main: 'index.html', sw: 'src/sw.ts' },
      output: {
        // The service worker's address must not change from build to build.
        entryFileNames: (chunk) => (chunk.name === 'sw' ? 'sw.js' : 'assets/[name]-[hash].js'),
      },
    },
  },
  server: {
    proxy: {
      '/api': node,
      '/socket.io': { target: node, ws: true },
    },
  },
  test: {
    environment: 'jsdom',
    include: ['src/**/*.test.{ts,tsx}'],
    setupFiles: ['src/test-setup.ts'],
    restoreMocks: true,
  },
});
