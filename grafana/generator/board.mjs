// What every dashboard has: variables, links to the others, marks of restarts, and a layout of rows.

import { datasource, INSTANCES } from './style.mjs';

const WIDTH = 24;

/** A heading, and lines of panels under it: each line shares the width. */
export const section = (title, ...lines) => ({ title, lines });
export const line = (height, ...panels) => ({ height, panels });

const lay = (sections) => {
  const laid = [];
  let [y, id] = [0, 1];
  for (const { title, lines } of sections) {
    laid.push({ id: id++, type: 'row', title, collapsed: false, gridPos: { h: 1, w: WIDTH, x: 0, y }, panels: [] });
    y += 1;
    for (const { height, panels } of lines) {
      const start = (index) => Math.ceil((index * WIDTH) / panels.length);
      panels.forEach((panel, index) => {
        const x = start(index);
        laid.push({ id: id++, gridPos: { h: height, w: start(index + 1) - x, x, y }, ...panel });
      });
      y += height;
    }
  }
  return laid;
};

const labels = (metric, label, selector = '') => `label_values(${metric}${selector && `{${selector}}`}, ${label})`;

const variable = (name, title, definition, more = {}) => ({
  name,
  label: title,
  type: 'query',
  datasource,
  definition,
  query: { query: definition, refId: `variable-${name}` },
  refresh: 2,
  regex: '',
  sort: 1,
  multi: true,
  includeAll: true,
  ...(name === 'job' ? {} : { allValue: '.*' }), // also those that are not there any more
  current: { selected: true, text: ['All'], value: ['$__all'] },
  options: [],
  hide: 0,
  skipUrlSync: false,
  ...more,
});

const HANDLED = 'cueline_events_handled_total';

const variables = [
  {
    name: 'datasource',
    label: 'Prometheus',
    type: 'datasource',
    query: 'prometheus',
    refresh: 1,
    regex: '',
    multi: false,
    includeAll: false,
    current: { selected: false, text: 'default', value: 'default' },
    options: [],
    hide: 0,
    skipUrlSync: false,
  },
  variable('job', 'Job', labels(HANDLED, 'job')),
  variable('instance', 'Instance', labels(HANDLED, 'instance', 'job=~"$job"')),
  variable('processor', 'Processor', labels(HANDLED, 'processor', INSTANCES)),
];

const annotations = [
  {
    builtIn: 1,
    datasource: { type: 'grafana', uid: '-- Grafana --' },
    enable: true,
    hide: true,
    iconColor: 'rgba(0, 211, 255, 1)',
    name: 'Annotations & Alerts',
    type: 'dashboard',
  },
  {
    datasource,
    enable: true,
    hide: false,
    iconColor: 'orange',
    name: 'Restarts',
    expr: `sum by (processor) (increase(cueline_processor_restarts_total{${INSTANCES},processor=~"$processor"}[1m])) > 0`,
    step: '60s',
    titleFormat: 'restarted',
    textFormat: '{{processor}}',
    tagKeys: 'processor',
    useValueForTime: false,
  },
];

const links = [
  {
    type: 'dashboards',
    title: 'cueline',
    tags: ['cueline'],
    asDropdown: false,
    icon: 'external link',
    includeVars: true,
    keepTime: true,
    targetBlank: false,
    tooltip: '',
    url: '',
  },
];

export const dashboard = (uid, title, description, ...sections) => ({
  uid,
  title,
  description,
  tags: ['cueline'],
  editable: true,
  graphTooltip: 1,
  schemaVersion: 42,
  refresh: '10s',
  time: { from: 'now-15m', to: 'now' },
  timezone: 'browser',
  timepicker: {},
  fiscalYearStartMonth: 0,
  weekStart: '',
  annotations: { list: annotations },
  links,
  templating: { list: variables },
  panels: lay(sections),
});
