import { useRef } from 'react';

import { IconButton } from './Button';

/** Picks files; on a phone, photos too. */
export function AttachButton({ onFiles }: { onFiles: (files: readonly File[]) => void }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <IconButton icon="attach" label="Attach a file" onClick={() => input.current?.click()} />
      <input
        ref={input}
        type="file"
        multiple
        hidden
        aria-label="File"
        onChange={(event) => {
          const files = Array.from(event.target.files ?? []);
          // So that the same one can be picked again.
          event.target.value = '';
          onFiles(files);
        }}
      />
    </>
  );
}
