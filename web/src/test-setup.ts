import 'fake-indexeddb/auto';

import { configure } from '@testing-library/react';

/** What is awaited comes at once, but on a machine that is busy with other things, late. */
configure({ asyncUtilTimeout: 15_000 });
