/** Line icons, 20 by 20; always beside or inside something that has a name. */

const PATHS = {
  add: 'M10 4v12M4 10h12',
  attach:
    'M15.5 9.5 9.8 15.2a3.4 3.4 0 0 1-4.8-4.8l6-6a2.3 2.3 0 0 1 3.2 3.2l-5.7 5.7a1.1 1.1 0 0 1-1.6-1.6l5-5',
  back: 'M12.5 4 6.5 10l6 6',
  bell: 'M10 3a4.5 4.5 0 0 0-4.5 4.5c0 4-1.5 5-1.5 5h12s-1.5-1-1.5-5A4.5 4.5 0 0 0 10 3zM8.5 15.5a1.7 1.7 0 0 0 3 0',
  bellOff:
    'M10 3a4.5 4.5 0 0 0-4.5 4.5c0 4-1.5 5-1.5 5h12s-1.5-1-1.5-5A4.5 4.5 0 0 0 10 3zM8.5 15.5a1.7 1.7 0 0 0 3 0M3.5 3.5l13 13',
  check: 'm5 10.5 3.5 3.5L15.5 6.5',
  checks: 'm1.5 10.5 3.5 3.5 6.5-7M10 13l1 1 6.5-7',
  clock: 'M10 4a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM10 7v3l2 1.5',
  close: 'm5.5 5.5 9 9M14.5 5.5l-9 9',
  down: 'M10 4.5v11M5.5 11l4.5 4.5 4.5-4.5',
  edit: 'm4.5 15.5.7-3 7.6-7.6a1.6 1.6 0 0 1 2.3 2.3l-7.6 7.6zM11.5 6.2l2.3 2.3',
  file: 'M6 3.5h5l3.5 3.5v9a.5.5 0 0 1-.5.5H6a.5.5 0 0 1-.5-.5V4a.5.5 0 0 1 .5-.5zM11 3.5V7h3.5',
  info: 'M10 4a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM10 9.5v3.5M10 7v.1',
  leave: 'M8 4H5a1 1 0 0 0-1 1v10a1 1 0 0 0 1 1h3M12.5 6.5 16 10l-3.5 3.5M16 10H8',
  moon: 'M15.5 11.8A6 6 0 0 1 8.2 4.5a6 6 0 1 0 7.3 7.3z',
  people:
    'M7.5 9.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5zM3 15.5c0-2.5 2-4 4.5-4s4.5 1.5 4.5 4M13 9.5a2.2 2.2 0 0 0 0-4.4M14 11.7c1.8.4 3 1.7 3 3.8',
  reply: 'M8 5 4 9l4 4M4 9h7a5 5 0 0 1 5 5v1',
  send: 'M10 16V4.5M5 9.5l5-5 5 5',
  sun: 'M10 7a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM10 2.5v1.5M10 16v1.5M2.5 10H4M16 10h1.5M4.7 4.7l1 1M14.3 14.3l1 1M4.7 15.3l1-1M14.3 5.7l1-1',
  system:
    'M4 4.5h12a.5.5 0 0 1 .5.5v8a.5.5 0 0 1-.5.5H4a.5.5 0 0 1-.5-.5V5a.5.5 0 0 1 .5-.5zM7.5 16.5h5M10 13.5v3',
  trash: 'M4.5 6h11M8 6V4.5h4V6M6 6l.6 9.5h6.8L14 6M8.7 8.5v4.5M11.3 8.5v4.5',
  warning: 'M10 4a6 6 0 1 0 0 12 6 6 0 0 0 0-12zM10 7v3.5M10 13v.1',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }) {
  return (
    <svg
      aria-hidden="true"
      width={size}
      height={size}
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.6"
      strokeLinecap="round"
      strokeLinejoin="round"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
