// A dashboard as Grafana draws it, from recorded data. The state timeline is not among Grafana's published components,
// and is drawn here in its likeness; marks of restarts are left out.

import '@grafana/react-data-grid/lib/styles.css';
import 'uplot/dist/uPlot.min.css';

import { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';

import {
  createTheme,
  dateTime,
  FieldType,
  getDisplayProcessor,
  getFieldDisplayName,
  standardTransformers,
  standardTransformersRegistry,
  ThemeContext,
  toDataFrame,
  transformDataFrame,
} from '@grafana/data';
import { BigValue, GlobalStyles, PanelChrome, TimeSeries } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';


const { board, recorded, mode } = window.DRAWN;
const theme = createTheme({ colors: { mode } });
const [CELL, GAP, WIDTH] = [30, 8, 1600];

standardTransformersRegistry.setInit(() => {
  const each = new Map(Object.values(standardTransformers).map((of) => [of.id, of])); // some are there twice
  return [...each.values()].map((of) => ({ id: of.id, name: of.name, transformation: async () => of, editor: null }));
});

const range = { from: dateTime(recorded.from * 1000), to: dateTime(recorded.to * 1000) };
const timeRange = { ...range, raw: range };

const called = (legend, labels) => legend.replaceAll(/{{(\w+)}}/g, (_, label) => labels[label] ?? '');
const number = (text) => (text === 'NaN' ? null : Number(text));
const last = (values) => values.map(([, value]) => number(value)).findLast((value) => value !== null) ?? null;

/** Every series of a panel, on the same times. */
const seriesOf = (panel) =>
  panel.targets.flatMap(({ expr, legendFormat }) =>
    recorded.queries[expr].map(({ metric, values }) => ({ name: called(legendFormat ?? '', metric), values: new Map(values.map(([time, value]) => [Math.round(time), number(value)])) })),
  );

const framesOf = (panel) => {
  const times = [];
  for (let time = recorded.from; time <= recorded.to; time += recorded.step) times.push(time);
  return seriesOf(panel).map(({ name, values }, seriesIndex) => {
    const isQuiet = [...values.values()].every((value) => !value);
    const quiet = isQuiet ? panel.fieldConfig.overrides.flatMap(({ properties }) => properties)[0].value : undefined;
    const { custom, ...defaults } = panel.fieldConfig.defaults;
    const field = {
      name,
      type: FieldType.number,
      config: { ...defaults, custom: { ...custom, ...(quiet && { hideFrom: quiet }) }, displayNameFromDS: name },
      values: times.map((time) => values.get(Math.round(time)) ?? null),
      state: { seriesIndex, displayName: name },
    };
    field.display = getDisplayProcessor({ field, theme });
    const time = { name: 'Time', type: FieldType.time, config: {}, values: times.map((time) => time * 1000) };
    return { refId: String(seriesIndex), name, length: times.length, fields: [time, field] };
  });
};


const Lines = ({ panel, width, height }) => {
  const frames = framesOf(panel);
  if (frames.length === 0) return <div style={{ textAlign: 'center', paddingTop: height / 2 - 10 }}>No data</div>;
  return <TimeSeries {...{ frames, timeRange, width, height }} timeZone="utc" legend={panel.options.legend} />;
};

const Number_ = ({ panel, width, height }) => {
  const [{ expr }] = panel.targets;
  const field = { name: panel.title, type: FieldType.number, config: panel.fieldConfig.defaults, values: [] };
  const value = recorded.queries[expr].length ? last(recorded.queries[expr][0].values) : null;
  const { colorMode, graphMode, justifyMode, textMode } = panel.options;
  return (
    <BigValue width={width} height={height} theme={theme} value={getDisplayProcessor({ field, theme })(value)} {...{ colorMode, graphMode, justifyMode, textMode }} />
  );
};

const Rows = ({ panel, width, height }) => {
  const [frame, setFrame] = useState();
  const frames = panel.targets.map(({ expr, refId }) => {
    const rows = recorded.queries[expr].map(({ metric, values }) => [metric.processor, last(values)]);
    return toDataFrame({
      refId,
      fields: [
        { name: 'Time', type: FieldType.time, values: rows.map(() => recorded.to * 1000) },
        { name: 'processor', type: FieldType.string, values: rows.map(([processor]) => processor) },
        { name: `Value #${refId}`, type: FieldType.number, values: rows.map(([, value]) => value) },
      ],
    });
  });
  useEffect(() => {
    const subscription = transformDataFrame(panel.transformations, frames).subscribe(([merged]) => setFrame(merged));
    return () => subscription.unsubscribe();
  }, []);
  if (!frame) return null;
  const { defaults, overrides } = panel.fieldConfig;
  frame.fields.forEach((field) => {
    const found = overrides.find(({ matcher }) => matcher.options === getFieldDisplayName(field))?.properties ?? [];
    const config = structuredClone({ ...defaults, custom: { ...defaults.custom } });
    for (const { id, value } of found) {
      if (id === 'custom.cellOptions') config.custom.cellOptions = value;
      else config[id] = value;
    }
    field.config = { ...config, displayName: field.config.displayName };
    field.display = getDisplayProcessor({ field, theme });
  });
  return (
    <TableNG
      data={frame}
      width={width}
      height={height}
      noHeader={false}
      cellHeight="sm"
      sortBy={panel.options.sortBy}
      timeRange={timeRange}
      structureRev={1}
      getActions={() => []}
      fieldConfig={panel.fieldConfig}
    />
  );
};

const States = ({ panel, width, height }) => {
  const all = seriesOf(panel).sort((one, other) => one.name.localeCompare(other.name));
  const [name, legend] = [130, 26];
  const row = (height - legend) / all.length;
  const states = panel.fieldConfig.defaults.mappings[0].options;
  const colour = (value) => theme.visualization.getColorByName(states[value]?.color ?? 'text');
  return (
    <div style={{ fontSize: 12, color: theme.colors.text.secondary }}>
      {all.map(({ name: called, values }) => (
        <div key={called} style={{ display: 'flex', height: row, alignItems: 'center' }}>
          <div style={{ width: name, textAlign: 'right', paddingRight: 8, whiteSpace: 'nowrap' }}>{called}</div>
          <div style={{ display: 'flex', width: width - name, height: row * 0.8 }}>
            {[...values.values()].map((value, index) => (
              <div key={index} style={{ flex: 1, background: value === null ? 'none' : colour(value), opacity: 0.7 }} />
            ))}
          </div>
        </div>
      ))}
      <div style={{ height: legend, paddingTop: 8, display: 'flex', gap: 16 }}>
        {Object.entries(states).map(([value, { text }]) => (
          <span key={value}>
            <span style={{ display: 'inline-block', width: 14, height: 4, marginRight: 6, verticalAlign: 'middle', background: colour(value) }} />
            {text}
          </span>
        ))}
      </div>
    </div>
  );
};

const DRAWERS = { stat: Number_, timeseries: Lines, table: Rows, 'state-timeline': States };

const place = ({ x, y, w, h }) => ({
  position: 'absolute',
  left: (x * (WIDTH + GAP)) / 24,
  top: y * (CELL + GAP),
  width: (w * (WIDTH + GAP)) / 24 - GAP,
  height: h * (CELL + GAP) - GAP,
});

const Panel = ({ panel }) => {
  const where = place(panel.gridPos);
  if (panel.type === 'row') {
    return <div style={{ ...where, fontSize: 16, fontWeight: 500, lineHeight: `${CELL}px` }}>{panel.title}</div>;
  }
  const Drawer = DRAWERS[panel.type];
  return (
    <div style={where}>
      <PanelChrome title={panel.title} description={panel.description} width={where.width} height={where.height}>
        {(width, height) => <Drawer panel={panel} width={width} height={height} />}
      </PanelChrome>
    </div>
  );
};

const Board = () => {
  useEffect(() => {
    document.fonts.ready.then(() => setTimeout(() => document.body.setAttribute('data-drawn', ''), 1500));
  }, []);
  const bottom = Math.max(...board.panels.map(({ gridPos: { y, h } }) => y + h)) * (CELL + GAP);
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <div style={{ background: theme.colors.background.canvas, color: theme.colors.text.primary, padding: 16, width: WIDTH + 32 }}>
        <div style={{ fontSize: 20, fontWeight: 500, marginBottom: 4 }}>{board.title}</div>
        <div style={{ color: theme.colors.text.secondary, marginBottom: 12 }}>
          {board.description}
        </div>
        <div style={{ position: 'relative', height: bottom }}>
          {board.panels.map((panel) => (
            <Panel key={panel.id} panel={panel} />
          ))}
        </div>
      </div>
    </ThemeContext.Provider>
  );
};

createRoot(document.getElementById('board')).render(<Board />);
