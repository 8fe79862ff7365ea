import { useRef, useState, type DragEvent } from 'react';

import { useChatState } from './chat-context';

const holdsFiles = (event: DragEvent) => event.dataTransfer.types.includes('Files');

/** Lets files be dropped on an element, and says while some are held above it. */
export function useDrop(onFiles: (files: readonly File[]) => void) {
  const takesFiles = useChatState((state) => state.features.files);
  const [dropping, setDropping] = useState(false);
  // Entering a child comes before leaving its parent.
  const depth = useRef(0);
  const count = (change: number) => {
    depth.current = Math.max(0, depth.current + change);
    setDropping(depth.current > 0);
  };
  const drop = {
    onDragEnter: (event: DragEvent) => {
      if (holdsFiles(event)) count(1);
    },
    onDragLeave: (event: DragEvent) => {
      if (holdsFiles(event)) count(-1);
    },
    onDragOver: (event: DragEvent) => {
      if (holdsFiles(event)) event.preventDefault();
    },
    onDrop: (event: DragEvent) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      depth.current = 0;
      setDropping(false);
      onFiles(Array.from(event.dataTransfer.files));
    },
  };
  return { dropping, drop: takesFiles ? drop : {} };
}
