/**
 * A trace in Chrome's trace event format, which Perfetto (ui.perfetto.dev) and chrome://tracing open: a
 * lane for the shim, one for its events, and one for each process of the runtime and the container.
 */

import type { Span, Story } from "./story.ts";

const PROCESS = 1;

/** A JSON document. Open spans end at `nowUs`. */
export function toPerfetto(story: Story, nowUs: number): object {
  const lanes = new Map<string, number>();
  const laneOf = (name: string) => {
    const known = lanes.get(name);
    if (known !== undefined) return known;
    lanes.set(name, lanes.size + 1);
    return lanes.size;
  };
  // Calls overlap, and slices of one lane must not: overlapping ones get lanes of their own.
  const events = [
    ...arrange(story.spans, nowUs).map(({ span, lane }) => ({
      ...{ ph: "X", pid: PROCESS, tid: laneOf(lane), ts: span.startUs, cat: span.kind },
      name: span.name,
      dur: (span.endUs ?? nowUs) - span.startUs,
      args: { ...span.details, outcome: span.outcome },
    })),
    ...story.moments.map(({ lane, name, atUs, details }) => ({
      ...{ ph: "i", pid: PROCESS, tid: laneOf(lane), ts: atUs, s: "t", cat: "event", name },
      args: details,
    })),
  ];
  const names = [...lanes].map(([name, tid]) => ({
    ...{ ph: "M", pid: PROCESS, tid, name: "thread_name", args: { name } },
  }));
  return { displayTimeUnit: "ms", traceEvents: [...names, ...events] };
}

/** A span, and the lane that it has to itself while it lasts. */
export interface Arranged {
  readonly span: Span;
  readonly lane: string;
}

/** Puts overlapping spans of a lane into numbered lanes: "shim", "shim 2", ... */
export function arrange(spans: readonly Span[], nowUs: number): readonly Arranged[] {
  const ends = new Map<string, number[]>();
  return spans
    .toSorted((a, b) => a.startUs - b.startUs)
    .map((span) => {
      const taken = ends.get(span.lane) ?? [];
      ends.set(span.lane, taken);
      const free = taken.findIndex((endUs) => endUs <= span.startUs);
      const index = free < 0 ? taken.length : free;
      taken[index] = span.endUs ?? nowUs;
      return { span, lane: index === 0 ? span.lane : `${span.lane} ${index + 1}` };
    });
}
