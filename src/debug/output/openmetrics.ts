/**
 * OpenMetrics text (openmetrics.io), limited to what Prometheus's older text format has too, which
 * node_exporter's textfile collector reads: gauges and counters.
 */

type Labels = Readonly<Record<string, string | undefined>>;

/** One value. Undefined labels are left out. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** Samples of one name. */
export interface Family {
  /** Without the "_total" of a counter. With a unit it ends with that. */
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly unit?: "bytes" | "seconds";
  /** A sentence. */
  readonly help: string;
  readonly samples: readonly Sample[];
}

/** The whole exposition. Families without a sample are left out. */
export function formatMetrics(families: readonly Family[]): string {
  const lines = families.flatMap((family) => {
    const { name, type, unit, help, samples } = family;
    if (samples.length === 0) return [];
    return [
      `# TYPE ${name} ${type}`,
      ...(unit === undefined ? [] : [`# UNIT ${name} ${unit}`]),
      `# HELP ${name} ${escapeText(help)}`,
      ...samples.map((sample) => formatSample(type === "counter" ? `${name}_total` : name, sample)),
    ];
  });
  return `${[...lines, "# EOF"].join("\n")}\n`;
}

function formatSample(name: string, { labels, value }: Sample): string {
  const pairs = Object.entries(labels).flatMap(([label, text]) =>
    text === undefined ? [] : [`${label}="${escapeText(text)}"`],
  );
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${value}`;
}

function escapeText(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
}
