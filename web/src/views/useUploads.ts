import { useCallback, useEffect, useRef, useState } from 'react';

import { explain } from '../net/errors';
import { isPicture } from '../net/files';
import { useChat } from './chat-context';

/** A file on its way. */
export interface Upload {
  readonly key: number;
  readonly file: File;
  /** From 0 to 1. */
  readonly share: number;
  /** Why it stopped. */
  readonly problem: string | null;
}

/** Files at once; of more the first ones are taken, as a message of its own each. */
const FILES_MAX = 10;

/** Uploads files and sends each as a message of its own when it is there. */
export function useUploads(id: string) {
  const chat = useChat();
  const [uploads, setUploads] = useState<readonly Upload[]>([]);
  const running = useRef(new Map<number, AbortController>());
  const nextKey = useRef(0);

  useEffect(() => {
    const controllers = running.current;
    return () => controllers.forEach((controller) => controller.abort());
  }, []);

  const change = useCallback(
    (key: number, part: Partial<Upload>) =>
      setUploads((all) => all.map((one) => (one.key === key ? { ...one, ...part } : one))),
    [],
  );

  const dismiss = useCallback((key: number) => {
    running.current.get(key)?.abort();
    setUploads((all) => all.filter((one) => one.key !== key));
  }, []);

  const run = useCallback(
    async (key: number, file: File) => {
      const controller = new AbortController();
      running.current.set(key, controller);
      try {
        const progress = (share: number) => change(key, { share });
        const attachment = await chat.files.upload(file, progress, controller.signal);
        const kind = isPicture(attachment.contentType) ? 'image' : 'file';
        chat.send(id, { content: '', replyTo: null, kind, attachments: [attachment] });
        dismiss(key);
      } catch (error) {
        if (!controller.signal.aborted) change(key, { problem: explain(error) });
      } finally {
        running.current.delete(key);
      }
    },
    [chat, id, change, dismiss],
  );

  const attach = useCallback(
    (files: readonly File[]) => {
      for (const file of files.slice(0, FILES_MAX)) {
        const key = (nextKey.current += 1);
        setUploads((all) => [...all, { key, file, share: 0, problem: null }]);
        void run(key, file);
      }
    },
    [run],
  );

  const retry = useCallback(
    ({ key, file }: Upload) => {
      change(key, { share: 0, problem: null });
      void run(key, file);
    },
    [change, run],
  );

  return { uploads, attach, retry, dismiss };
}
