// The shape that every dashboard must have: Grafana's own types, made strict. `Panel` of `@grafana/schema` leaves
// open what is in `options`, in `fieldConfig.defaults.custom` and in `targets`; here each panel type says it.
//
// Exceptions, because the package has no type for them:
// - queries and annotations of the Prometheus data source (its types are not in `@grafana/schema`);
// - `definition` of a query variable (Grafana itself writes it);
// - `color: 'text'` and such are strings there too.

import type {
  AnnotationQuery,
  Dashboard,
  DataSourceRef,
  FieldConfig,
  FieldConfigSource,
  Panel,
  RowPanel,
  ThresholdsConfig,
  VariableModel,
} from '@grafana/schema/dist/types/raw/dashboard/x/types.gen';
import type { Options as StatOptions } from '@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen';
import type { FieldConfig as TableField, Options as TableOptions } from '@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen';
import type { FieldConfig as TimelineField, Options as TimelineOptions } from '@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen';
import type { FieldConfig as SeriesField, Options as SeriesOptions } from '@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen';

interface PrometheusQuery {
  refId: string;
  datasource: DataSourceRef;
  expr: string;
  legendFormat?: string;
  editorMode: 'code';
  instant: boolean;
  range: boolean;
  format?: 'table' | 'time_series' | 'heatmap';
}

interface PrometheusAnnotation extends Omit<AnnotationQuery, 'type' | 'target'> {
  expr: string;
  step: string;
  titleFormat: string;
  textFormat: string;
  tagKeys: string;
  useValueForTime: boolean;
}

interface QueryVariable extends VariableModel {
  definition?: string;
}

type Has<Type extends string, Options, Custom> = Omit<
  Panel,
  'type' | 'options' | 'fieldConfig' | 'targets' | 'description' | 'title'
> & {
  type: Type;
  title: string;
  description: string;
  options: Options;
  targets: PrometheusQuery[];
  fieldConfig: Omit<FieldConfigSource, 'defaults'> & {
    defaults: Omit<FieldConfig, 'custom' | 'unit' | 'thresholds'> & {
      custom?: Custom;
      unit?: string;
      thresholds: ThresholdsConfig;
    };
  };
};

type OneOf =
  | Has<'stat', StatOptions, never>
  | Has<'timeseries', SeriesOptions, SeriesField>
  | Has<'state-timeline', TimelineOptions, TimelineField>
  | Has<'table', TableOptions, TableField>
  | RowPanel;

export interface Board extends Omit<Dashboard, 'panels' | 'annotations' | 'templating'> {
  uid: string;
  title: string;
  description: string;
  panels: OneOf[];
  annotations: { list: (AnnotationQuery | PrometheusAnnotation)[] };
  templating: { list: QueryVariable[] };
}
