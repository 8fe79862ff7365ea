import js from '@eslint/js';
import { defineConfig } from 'eslint/config';
import hooks from 'eslint-plugin-react-hooks';
import globals from 'globals';
import ts from 'typescript-eslint';

/** Markup that is text today and code tomorrow: nothing in the page may make elements from strings. */
const noMarkupFromStrings = [
  {
    selector: 'JSXAttribute[name.name="dangerouslySetInnerHTML"]',
    message: 'messages are text; React text nodes keep their markup inert',
  },
  {
    selector: 'MemberExpression[property.name=/^(innerHTML|outerHTML|insertAdjacentHTML|srcdoc)$/]',
    message: 'make elements, not markup',
  },
];

export default defineConfig(
  { ignores: ['dist', 'node_modules', 'playwright-report', 'test-results', 'src/net/openapi.ts'] },
  js.configs.recommended,
  ts.configs.strictTypeChecked,
  hooks.configs.flat.recommended,
  {
    languageOptions: {
      globals: globals.browser,
      parserOptions: {
        projectService: { allowDefaultProject: ['eslint.config.js'] },
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      'no-restricted-syntax': ['error', ...noMarkupFromStrings],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
    },
  },
  // Who knows what: views and state never see the protocol.
  {
    files: ['src/state/**', 'src/a11y/**'],
    rules: {
      'no-restricted-imports': ['error', { patterns: ['**/net/*', '**/views/*', '**/app/*'] }],
    },
  },
  {
    files: ['src/net/**'],
    rules: { 'no-restricted-imports': ['error', { patterns: ['**/views/*', '**/app/*'] }] },
  },
  {
    files: ['src/views/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            '**/net/contract',
            '**/net/openapi',
            '**/net/socket',
            '**/net/rest',
            'axios',
            'socket.io-client',
          ],
        },
      ],
    },
  },
);
