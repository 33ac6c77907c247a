// The rules are well-formed, and each alert fires when it has to, is silent when all is well, and says what to do.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

import { parse } from 'yaml';

import { alerts, read, root } from './project.mjs';

const rules = join(root, 'grafana/rules');
const promtool = (folder, ...args) => execFileSync('promtool', args, { cwd: folder, encoding: 'utf8', stdio: 'pipe' });
const { tests, ...settings } = parse(read('grafana/rules/alerts.test.yml'));
const all = alerts.map(({ alert }) => alert);

/** Runs something in a copy of the rules. JSON is YAML. */
const inCopy = (run) => {
  const folder = mkdtempSync(join(tmpdir(), 'cueline-rules-'));
  try {
    cpSync(rules, folder, { recursive: true });
    run(folder, (name, content) => writeFileSync(join(folder, name), JSON.stringify(content)));
  } finally {
    rmSync(folder, { recursive: true });
  }
};

/** What `promtool` says of a rule's cases when it is not as it is. */
const changed = (which, change) => {
  const rules = parse(read('grafana/rules/alerts.yml'));
  change(rules.groups.flatMap((group) => group.rules).find(({ alert }) => alert === which));
  inCopy((folder, write) => {
    write('alerts.yml', rules);
    write('alerts.test.yml', { ...settings, tests: tests.filter(({ name }) => name.startsWith(which)) });
    promtool(folder, 'check', 'rules', 'alerts.yml');
    promtool(folder, 'test', 'rules', 'alerts.test.yml');
  });
};

test('promtool finds nothing to say of them', () => {
  promtool(rules, 'check', 'rules', '--lint=all', '--lint-fatal', 'recording.yml', 'alerts.yml');
});

test('each fires when it has to, and not before', () => {
  promtool(rules, 'test', 'rules', 'alerts.test.yml');
  const checks = tests.flatMap((one) => one.alert_rule_test);
  const fires = new Set(checks.filter(({ exp_alerts }) => exp_alerts.length > 0).map(({ alertname }) => alertname));
  assert.ok(all.length >= 12);
  assert.deepEqual([...fires].sort(), [...all].sort(), 'each has a case in which it fires');
});

test('a healthy system keeps all silent, in each of its minutes', () => {
  const healthy = tests.filter(({ name }) => name.startsWith('a healthy system'));
  assert.equal(healthy.length, 1);
  const minutes = Array.from({ length: 60 }, (_, minute) => `${minute + 1}m`);
  const alert_rule_test = all.flatMap((alertname) => minutes.map((eval_time) => ({ eval_time, alertname, exp_alerts: [] })));
  inCopy((folder, write) => {
    write('healthy.yml', { ...settings, tests: [{ ...healthy[0], alert_rule_test }] });
    promtool(folder, 'test', 'rules', 'healthy.yml');
  });
});

test('one that can never fire is found, whichever it is', () => {
  for (const alert of all) {
    // Valid, and without a match for ever: no series has such labels.
    const never = (rule) => (rule.expr = `(${rule.expr}) and count by (job) (up)`);
    assert.throws(() => changed(alert, never), new RegExp(`alertname: ?${alert}`), alert);
  }
});

test('one that does not wait as long as it says is found, whichever it is', () => {
  for (const { alert } of alerts.filter((rule) => rule.for)) {
    assert.throws(() => changed(alert, (rule) => delete rule.for), new RegExp(`alertname: ?${alert}`), alert);
  }
});

test('each says how bad it is, what it is in words, and where it is written what to do', () => {
  const readme = read('grafana/README.md');
  for (const { alert, labels, annotations } of alerts) {
    assert.match(labels.severity, /^(critical|warning)$/, alert);
    assert.ok(annotations.summary.length > 20 && annotations.description.length > 40, alert);
    assert.equal(annotations.runbook, `grafana/README.md#${alert.toLowerCase()}`);
    const [, section] = readme.match(new RegExp(`^### ${alert}\\n([^#]+)`, 'm')) ?? [];
    for (const part of ['**Means**', '**Look at**', '**Do**']) assert.ok(section?.includes(part), `${alert}: ${part}`);
  }
});
