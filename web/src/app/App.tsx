import { useSyncExternalStore } from 'react';

import { ChatPage } from '../views/ChatPage';
import { Welcome } from '../views/Welcome';
import type { Runtime } from './runtime';

export function App({ runtime }: { runtime: Runtime }) {
  const stage = useSyncExternalStore(runtime.subscribe, () => runtime.stage);
  switch (stage.name) {
    case 'starting':
      return null;
    case 'signed-out':
      return <Welcome notice={stage.notice} signUp={runtime.signUp} logIn={runtime.logIn} />;
    case 'signed-in':
      return <ChatPage chat={stage.chat} logOut={runtime.logOut} />;
  }
}
