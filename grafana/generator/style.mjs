// How every panel looks: the one place for units, colours, legends and thresholds.

export const datasource = { type: 'prometheus', uid: '${datasource}' };

/** What the variables choose: of an instance, and of its processors. */
export const INSTANCES = 'job=~"$job",instance=~"$instance"';
export const PROCESSORS = `${INSTANCES},processor=~"$processor"`;

/** One query: its expression, and what its series are called. */
export const query = (expr, legend) => ({ expr, legend });

/** How fast a counter grows, summed by some labels. */
export const rate = (metric, by = [], selector = INSTANCES) =>
  `${sum(by)} (rate(${metric}{${selector}}[$__rate_interval]))`;

export const sum = (by) => (by.length ? `sum by (${by.join(', ')})` : 'sum');

/** A quantile of a histogram. */
export const quantile = (share, metric, by = [], selector = INSTANCES) =>
  `histogram_quantile(${share}, ${rate(`${metric}_bucket`, [...by, 'le'], selector)})`;

/** The mean of what a histogram was told. */
export const mean = (metric, by, selector = INSTANCES) =>
  `${rate(`${metric}_sum`, by, selector)} / ${rate(`${metric}_count`, by, selector)}`;

/** Which share of what a histogram was told took longer than one of its bounds. Prometheus 3 writes `1` as `1.0`. */
export const longer = (bound, metric, by, selector = INSTANCES) => {
  const le = bound.includes('.') ? `le="${bound}"` : `le=~"${bound}|${bound}.0"`;
  const within = rate(`${metric}_bucket`, by, `${selector},${le}`);
  return `1 - ${within} / ${rate(`${metric}_count`, by, selector)}`;
};

/** Steps of colour: green, then each value and the colour from there on. */
export const from = (...steps) => [
  { color: 'green', value: null },
  ...steps.map(([value, color]) => ({ color, value })),
];
export const NEUTRAL = [{ color: 'blue', value: null }];

/** So far an axis reaches at least: a rate of nothing is drawn at the bottom, and not in the middle of nowhere. */
const LEAST = { eps: 0.1, cps: 0.1, reqps: 0.1, short: 1, iops: 1, percentunit: 0.01, s: 1e-5, bytes: 1024, Bps: 1024 };

/** What has been zero all the time is drawn, and not named; on top of a pile it is not drawn either. */
const quiet = (stack) => ({
  matcher: { id: 'byValue', options: { reducer: 'allIsZero', op: 'gte', value: 0 } },
  properties: [{ id: 'custom.hideFrom', value: { legend: true, tooltip: true, viz: stack } }],
});

const targets = (queries, shape = {}) =>
  queries.map(({ expr, legend }, index) => ({
    refId: String.fromCharCode(65 + index),
    datasource,
    expr,
    ...(legend === undefined ? {} : { legendFormat: legend }),
    editorMode: 'code',
    ...shape,
  }));

const panel = (type, title, description, queries, shape, rest) => ({
  type,
  title,
  description,
  datasource,
  targets: targets(queries, shape),
  ...rest,
});

/** One number, now. */
export const stat = (title, description, queries, { unit = 'short', thresholds = NEUTRAL, decimals } = {}) =>
  panel('stat', title, description, [queries].flat(), { instant: true, range: false }, {
    fieldConfig: {
      defaults: {
        unit,
        ...(decimals === undefined ? {} : { decimals }),
        color: { mode: 'thresholds' },
        thresholds: { mode: 'absolute', steps: thresholds },
        noValue: '–',
        mappings: [{ type: 'special', options: { match: 'nan', result: { index: 0, text: '–' } } }], // nothing to divide
      },
      overrides: [],
    },
    options: {
      colorMode: 'value',
      graphMode: 'none',
      justifyMode: 'center',
      orientation: 'auto',
      percentChangeColorMode: 'standard',
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
      showPercentChange: false,
      textMode: 'value',
      wideLayout: true,
    },
  });

/** Lines over time. `stack` piles them up; `limit` draws a line from which on it is bad. */
export const series = (
  title,
  description,
  queries,
  { unit = 'short', stack = false, limit, max } = {},
) =>
  panel('timeseries', title, description, [queries].flat(), { instant: false, range: true }, {
    fieldConfig: {
      defaults: {
        unit,
        min: 0,
        ...(max === undefined ? {} : { max }),
        color: { mode: 'palette-classic' },
        thresholds: {
          mode: 'absolute',
          steps: limit === undefined ? NEUTRAL : from([limit, 'red']),
        },
        custom: {
          drawStyle: 'line',
          lineInterpolation: 'linear',
          lineWidth: 1,
          fillOpacity: stack ? 40 : 8,
          gradientMode: 'none',
          showPoints: 'never',
          pointSize: 4,
          spanNulls: false,
          axisPlacement: 'auto',
          axisLabel: '',
          axisSoftMax: LEAST[unit],
          axisColorMode: 'text',
          axisBorderShow: false,
          barAlignment: 0,
          hideFrom: { legend: false, tooltip: false, viz: false },
          scaleDistribution: { type: 'linear' },
          stacking: { group: 'A', mode: stack ? 'normal' : 'none' },
          thresholdsStyle: { mode: limit === undefined ? 'off' : 'dashed' },
        },
      },
      overrides: [quiet(stack)],
    },
    options: {
      legend: { calcs: [], displayMode: 'list', placement: 'bottom', showLegend: true },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
  });

/** States over time: 0 is good, 1 is not. */
export const timeline = (title, description, queries, [good, bad]) =>
  panel('state-timeline', title, description, [queries].flat(), { instant: false, range: true }, {
    fieldConfig: {
      defaults: {
        unit: 'short',
        color: { mode: 'thresholds' },
        thresholds: { mode: 'absolute', steps: from([1, 'red']) },
        mappings: [
          {
            type: 'value',
            options: {
              0: { index: 0, color: 'green', text: good },
              1: { index: 1, color: 'red', text: bad },
            },
          },
        ],
        custom: { fillOpacity: 70, lineWidth: 0, hideFrom: { legend: false, tooltip: false, viz: false } },
      },
      overrides: [],
    },
    options: {
      alignValue: 'left',
      legend: { calcs: [], displayMode: 'list', placement: 'bottom', showLegend: true },
      mergeValues: true,
      rowHeight: 0.8,
      showValue: 'never',
      tooltip: { mode: 'single', sort: 'none' },
    },
  });

/** One line for each value of a label, now; columns are queries, with a name, a unit and steps of colour. */
export const table = (title, description, label, columns, sortBy) =>
  panel(
    'table',
    title,
    description,
    columns.map(({ expr }) => ({ expr })),
    { instant: true, range: false, format: 'table' },
    {
      fieldConfig: {
        defaults: {
          color: { mode: 'thresholds' },
          thresholds: { mode: 'absolute', steps: [{ color: 'text', value: null }] },
          custom: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false },
          noValue: '–',
        },
        overrides: columns.map(({ name, unit = 'short', steps, decimals }) => ({
          matcher: { id: 'byName', options: name },
          properties: [
            { id: 'unit', value: unit },
            ...(decimals === undefined ? [] : [{ id: 'decimals', value: decimals }]),
            ...(steps
              ? [
                  { id: 'thresholds', value: { mode: 'absolute', steps } },
                  { id: 'custom.cellOptions', value: { type: 'color-text' } },
                ]
              : []),
          ],
        })),
      },
      options: {
        cellHeight: 'sm',
        frameIndex: 0,
        showHeader: true,
        sortBy: [{ displayName: sortBy, desc: true }],
      },
      transformations: [
        { id: 'merge', options: {} },
        {
          id: 'organize',
          options: {
            excludeByName: { Time: true },
            indexByName: Object.fromEntries([label, ...columns.map((_, index) => valueOf(index))].map((name, index) => [name, index])),
            renameByName: Object.fromEntries(columns.map(({ name }, index) => [valueOf(index), name])),
          },
        },
      ],
    },
  );

const valueOf = (index) => `Value #${String.fromCharCode(65 + index)}`;
