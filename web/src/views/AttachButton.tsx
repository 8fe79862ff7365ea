import { useEffect, useRef, useState } from 'react';

import { explain } from '../net/errors';
import styles from './AttachButton.module.css';
import { IconButton } from './Button';
import { useChat } from './chat-context';

interface Upload {
  readonly name: string;
  readonly share: number;
  readonly problem: string | null;
}

/** Picks a file, uploads it with progress, and sends it as a message of its own. */
export function AttachButton({ id }: { id: string }) {
  const chat = useChat();
  const input = useRef<HTMLInputElement>(null);
  const [upload, setUpload] = useState<Upload | null>(null);
  const stop = useRef<AbortController | null>(null);

  useEffect(() => () => stop.current?.abort(), []);

  const attach = async (file: File) => {
    const controller = new AbortController();
    stop.current = controller;
    const show = (share: number, problem: string | null = null) =>
      setUpload({ name: file.name, share, problem });
    show(0);
    try {
      const attachment = await chat.attach(file, show, controller.signal);
      const kind = attachment.contentType.startsWith('image/') ? 'image' : 'file';
      chat.send(id, { content: '', replyTo: null, kind, attachments: [attachment] });
      setUpload(null);
    } catch (error) {
      if (controller.signal.aborted) setUpload(null);
      else show(0, explain(error));
    }
  };

  return (
    <>
      <IconButton
        icon="attach"
        label="Attach a file"
        disabled={upload !== null && upload.problem === null}
        onClick={() => input.current?.click()}
      />
      <input
        ref={input}
        type="file"
        hidden
        aria-label="File"
        onChange={(event) => {
          const file = event.target.files?.[0];
          event.target.value = '';
          if (file) void attach(file);
        }}
      />
      {upload && (
        <div className={styles.upload}>
          <span className={styles.name}>{upload.problem ?? upload.name}</span>
          {upload.problem === null && (
            <progress max={1} value={upload.share} aria-label={`Uploading ${upload.name}`} />
          )}
          <IconButton
            icon="close"
            label={upload.problem === null ? 'Stop the upload' : 'Dismiss'}
            size="small"
            onClick={() => {
              stop.current?.abort();
              setUpload(null);
            }}
          />
        </div>
      )}
    </>
  );
}
