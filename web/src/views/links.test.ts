import { describe, expect, it } from 'vitest';

import { GROWTH_MAX, growth } from '../test-growth';
import { pieces } from './links';

const links = (text: string) => pieces(text).flatMap(({ href }) => (href ? [href] : []));
const shown = (text: string) =>
  pieces(text)
    .map((piece) => piece.text)
    .join('');

describe('links', () => {
  it.each([
    ['see https://example.org/a?b=c#d now', ['https://example.org/a?b=c#d']],
    ['HTTP://EXAMPLE.ORG', ['http://example.org/']],
    ['(https://example.org/a_(b))', ['https://example.org/a_(b)']],
    ['is it https://example.org/x?', ['https://example.org/x']],
    [
      'https://example.org/x, https://example.org/y.',
      ['https://example.org/x', 'https://example.org/y'],
    ],
    ['"https://example.org/q"', ['https://example.org/q']],
    ['http://localhost:8080/', ['http://localhost:8080/']],
    ['https://пример.рф/путь', ['https://xn--e1afmkfd.xn--p1ai/%D0%BF%D1%83%D1%82%D1%8C']],
  ])('are found in %s', (text, expected) => {
    expect(links(text)).toEqual(expected);
    expect(shown(text)).toBe(text);
  });

  it.each([
    'javascript:alert(1)',
    'data:text/html,<script>alert(1)</script>',
    'vbscript:x',
    'java\nscript:alert(1)',
    'https://',
    'https:// example.org',
    'https://bank.example@evil.example/',
    'ftp://example.org/',
    'example.org',
    'xhttps://example.org',
    '<a href="javascript:alert(1)">x</a>',
  ])('are not made of %s', (text) => {
    expect(links(text)).toEqual([]);
    expect(shown(text)).toBe(text);
  });

  it('never take long to find', () => {
    const work = (size: number) => () => {
      pieces(`https://${'('.repeat(5 * size)}${')'.repeat(5 * size - 100)}`);
      pieces('https://a'.repeat(size));
    };
    expect(growth(work(100), work(1_000))).toBeLessThan(GROWTH_MAX);
  });
});
