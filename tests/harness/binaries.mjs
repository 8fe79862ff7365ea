// Where the programs are that the tests start: in cargo's folder of the profile that PROFILE names.
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/** The profile that tests build with; the Makefile has the same default. */
export const profile = process.env.PROFILE ?? 'dev';

/** Cargo's folder of that profile: `dev` is built in `debug`. */
export const built = path.join(root, 'target', profile === 'dev' ? 'debug' : profile);

export const nodeBinary = process.env.SYNCCHAT_BIN ?? path.join(built, 'syncchat');
export const loadtestBinary = process.env.SYNCCHAT_LOADTEST_BIN ?? path.join(built, 'syncchat-loadtest');
