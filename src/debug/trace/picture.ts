/** A trace as a picture: time from left to right, a row for each lane, a bar for each span. */

import { formatTook } from "./lines.ts";
import { arrange } from "./perfetto.ts";
import type { Moment, Span, Story } from "./story.ts";

const WIDTH = 1200;
const LABEL_WIDTH = 150;
const MARGIN = 20;
const ROW_HEIGHT = 24;
const BAR_HEIGHT = 16;
const TOP = 60;
const TICKS = 8;
/** Below this many pixels a bar has no room for its name. */
const NAME_PIXELS = 7;
const COLOURS = { call: "#4c78a8", runtime: "#f58518", process: "#54a24b" } as const;
const FAILURE = "#e45756";

/** An SVG document. Open spans end at `nowUs`. */
export function toSvg(story: Story, title: string, nowUs: number): string {
  const arranged = arrange(story.spans, nowUs);
  const lanes = [...new Set(arranged.map(({ lane }) => lane))];
  const starts = [
    ...story.spans.map((span) => span.startUs),
    ...story.moments.map((moment) => moment.atUs),
  ];
  const startUs = Math.min(...starts, nowUs);
  const scale = (WIDTH - LABEL_WIDTH - 2 * MARGIN) / Math.max(nowUs - startUs, 1);
  const x = (atUs: number) => LABEL_WIDTH + MARGIN + (atUs - startUs) * scale;
  const y = (row: number) => TOP + row * ROW_HEIGHT;
  const height = y(lanes.length + 1) + MARGIN;
  const rows = lanes.map((lane, row) => label(lane, y(row)));
  const bars = arranged.map(({ span, lane }) =>
    bar(span, {
      left: x(span.startUs),
      right: x(span.endUs ?? nowUs),
      top: y(lanes.indexOf(lane)),
    }),
  );
  const marks = story.moments.map((moment) => mark(moment, x(moment.atUs), y(lanes.length)));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="11">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    `<text x="${MARGIN}" y="24" font-size="15" font-weight="bold">${escaped(title)}</text>`,
    ...ticks(nowUs - startUs, (offset) => x(startUs + offset), height - MARGIN),
    ...rows,
    story.moments.length > 0 ? label("events", y(lanes.length)) : "",
    ...bars,
    ...marks,
    "</svg>",
  ].join("\n");
}

function label(text: string, top: number): string {
  return `<text x="${MARGIN}" y="${top + 12}" fill="#444">${escaped(text)}</text>`;
}

function bar(
  span: Span,
  { left, right, top }: { readonly left: number; readonly right: number; readonly top: number },
): string {
  const width = Math.max(right - left, 1);
  const fill = span.isFailure ? FAILURE : COLOURS[span.kind];
  const took = span.endUs === undefined ? "goes on" : formatTook(span.endUs - span.startUs);
  const tip = [span.name, took, span.outcome].filter((part) => part !== "").join(", ");
  const name =
    width < span.name.length * NAME_PIXELS
      ? ""
      : `<text x="${left + 4}" y="${top + 12}" fill="white">${escaped(span.name)}</text>`;
  return `<g><title>${escaped(tip)}</title><rect x="${left}" y="${top}" width="${width}" height="${BAR_HEIGHT}" rx="2" fill="${fill}"/>${name}</g>`;
}

function mark({ name }: Moment, left: number, top: number): string {
  const middle = top + BAR_HEIGHT / 2;
  return `<g><title>${escaped(name)}</title><circle cx="${left}" cy="${middle}" r="4" fill="#b279a2"/></g>`;
}

/** Lines at round times. */
function ticks(lengthUs: number, x: (offsetUs: number) => number, bottom: number): string[] {
  const stepUs = roundStep(lengthUs / TICKS);
  return Array.from({ length: Math.floor(lengthUs / stepUs) + 1 }, (_, index) => {
    const left = x(index * stepUs);
    const line = `<line x1="${left}" y1="${TOP - 12}" x2="${left}" y2="${bottom}" stroke="#ddd"/>`;
    return `${line}<text x="${left}" y="${TOP - 16}" fill="#888" text-anchor="middle">${formatTook(index * stepUs)}</text>`;
  });
}

/** The next 1, 2 or 5 times a power of ten. */
function roundStep(us: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(us, 1)));
  return [1, 2, 5].map((factor) => factor * power).find((step) => step >= us) ?? 10 * power;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
