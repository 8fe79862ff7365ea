// A machine's date that a test sets while a node runs, by libfaketime. The monotonic clock stays true.
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { tempDir } from './process.mjs';

// The loader knows where this machine keeps its libraries.
const library = '/usr/$LIB/faketime/libfaketimeMT.so.1';

/** A clock that shows the true date, or one that is `ahead` of it, such as `+1d`. */
export async function startClock(ahead = '+0') {
  const { dir, remove } = await tempDir('clock');
  const file = path.join(dir, 'ahead');
  await writeFile(file, ahead);
  return {
    /** What a node is started by to have this clock. */
    through: [
      'env',
      `LD_PRELOAD=${library}`,
      `FAKETIME_TIMESTAMP_FILE=${file}`,
      'FAKETIME_NO_CACHE=1',
      'FAKETIME_DONT_FAKE_MONOTONIC=1',
    ],
    set: (offset) => writeFile(file, offset),
    remove,
  };
}
