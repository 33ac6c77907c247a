// Every dashboard is what Grafana's published schema says, and nothing else.

import assert from 'node:assert/strict';
import { fileURLToPath } from 'node:url';
import test from 'node:test';

import Ajv from 'ajv';
import { createGenerator } from 'ts-json-schema-generator';

import { boards } from '../../grafana/generator/main.mjs';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));

const schema = createGenerator({
  path: here('dashboard.ts'),
  tsconfig: here('tsconfig.json'),
  type: 'Board',
  expose: 'none', // several of Grafana's types have one name
  skipTypeCheck: true,
}).createSchema('Board');

const isBoard = new Ajv({ strict: true, allErrors: true, allowUnionTypes: true }).compile(schema);

/** What is wrong, but for what a panel lacks to be one of another type. */
const errors = () => {
  const all = isBoard.errors ?? [];
  const branch = ({ instancePath, schemaPath }) =>
    `${instancePath.match(/^\/panels\/\d+/)} ${schemaPath.match(/^.*?\/anyOf\/\d+/)}`;
  const others = new Set(all.filter(({ instancePath, keyword }) => /\d\/type$/.test(instancePath) && keyword === 'const').map(branch));
  return all
    .filter((error) => !others.has(branch(error)))
    .map(({ instancePath, message, params }) => `${instancePath}: ${message} ${JSON.stringify(params)}`);
};

for (const [name, board] of Object.entries(boards)) {
  test(`${name} is a dashboard`, () => {
    assert.ok(isBoard(board), errors().join('\n'));
  });
}

test('what is wrong is found', () => {
  const broken = (how) => {
    const board = structuredClone(boards.overview);
    how(board, board.panels.find((panel) => panel.type === 'timeseries'));
    return isBoard(board);
  };
  assert.ok(broken(() => {}), 'it is only as broken as it was made');
  assert.ok(!broken((_, panel) => (panel.options.legend.placement = 'left')), 'an option that Grafana does not have');
  assert.ok(!broken((_, panel) => (panel.fieldConfig.defaults.custom.linewidth = 2)), 'a field with another name');
  assert.ok(!broken((_, panel) => delete panel.targets[0].expr), 'a query without an expression');
  assert.ok(!broken((board) => (board.refesh = '5s')), 'a setting with another name');
});
