/** The product's mark. */
export function Mark({ size }: { size: number }) {
  return (
    <svg aria-hidden="true" width={size} height={size} viewBox="0 0 32 32">
      <rect width="32" height="32" rx="8" fill="#3a5bd0" />
      <path
        d="M8 12.5A3.5 3.5 0 0 1 11.5 9h9a3.5 3.5 0 0 1 3.5 3.5v4a3.5 3.5 0 0 1-3.5 3.5H16l-4.6 3.6c-.5.4-1.2 0-1.2-.6V19.7A3.5 3.5 0 0 1 8 16.5z"
        fill="#fff"
      />
    </svg>
  );
}
