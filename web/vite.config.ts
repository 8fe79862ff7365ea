import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

/** The node that `npm run dev` and `npm run preview` talk to. */
const node = process.env.SYNCCHAT_NODE ?? 'http://127.0.0.1:8080';

const proxy = {
  '/api': node,
  '/socket.io': { target: node, ws: true },
};

/** What a node sends with the page, so that `npm run preview` is as strict. */
const policy = [
  "default-src 'self'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self' ws: wss:",
  "img-src 'self' data: blob: https:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

export default defineConfig({
  plugins: [react()],
  build: {
    target: 'baseline-widely-available',
    // Inlined assets would be data: addresses, which the content security policy refuses for
    // everything but pictures.
    assetsInlineLimit: 0,
    // The entry imports what it needs; the polyfill for old browsers would be dead weight.
    modulePreload: { polyfill: false },
  },
  server: { proxy },
  preview: { proxy, headers: { 'Content-Security-Policy': policy } },
  test: {
    environment: 'jsdom',
    include: ['src/**/*.test.{ts,tsx}'],
    setupFiles: ['src/test-setup.ts'],
    restoreMocks: true,
    testTimeout: 30_000,
  },
});
