/**
 * A group's figures as an SVG chart: one row of bars per figure, one bar per peer.
 *
 * Written by hand, as a bar is a rectangle: a charting library would be many times this file. Each row
 * has its own scale, from zero, since its bars are only compared with each other.
 */

import {
  type Figure,
  formatValue,
  isMoreBetter,
  ratioOf,
  type Summary,
  summarize,
} from "./figure.ts";
import type { GroupName } from "./options.ts";
import type { Peer } from "./peer.ts";

const TITLES: Readonly<Record<GroupName, string>> = {
  life: "A container's life, step by step",
  exec: "A further process in a running container",
  kill: "Signals, and cleaning up after a crash",
  rpc: "Questions about a running container",
  io: "Bytes through stdout, stdin and a terminal",
  mem: "What an idle shim holds",
  leak: "Private memory after much work",
  e2e: "Through a real containerd",
  sleep: "Containers with nothing to do",
  growth: "Many containers",
};

const WIDTH = 960;
const MARGIN = 24;
const LABEL_WIDTH = 262;
/** Right of the longest bar: its value and ratio. */
const VALUE_WIDTH = 190;
const HEAD_HEIGHT = 104;
const BAR_HEIGHT = 13;
const BAR_GAP = 3;
const ROW_GAP = 14;
const FONT = "system-ui, 'DejaVu Sans', sans-serif";
/** The first is wedge's; the baseline and the bare runtime are grey, as the background for the others. */
const COLORS = ["#0f766e", "#b45309", "#7c3aed", "#be185d", "#1d4ed8"];
const BASELINE_COLOR = "#94a3b8";
const RUNTIME_COLOR = "#cbd5e1";
const INK = "#0f172a";
const FAINT = "#64748b";

export interface Drawing {
  readonly group: GroupName;
  readonly subtitle: string;
  readonly peers: readonly Peer[];
  readonly baseline: Peer;
  readonly figures: readonly Figure[];
}

/** Draws the chart; the result is a whole SVG document. */
export function drawGroup(drawing: Drawing): string {
  const parts: string[] = [...drawHead(drawing)];
  let y = HEAD_HEIGHT;
  for (const figure of drawing.figures) {
    const row = drawRow(drawing, figure, y);
    parts.push(...row.parts);
    y += row.height + ROW_GAP;
  }
  const height = y + MARGIN - ROW_GAP;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="${FONT}">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    ...parts,
    "</svg>\n",
  ].join("\n");
}

function drawHead({ group, subtitle, peers, baseline }: Drawing): readonly string[] {
  const parts = [
    text(MARGIN, 36, TITLES[group], { size: 20, weight: 600 }),
    text(MARGIN, 56, subtitle, { size: 10.5, color: FAINT }),
  ];
  let x = MARGIN;
  for (const peer of peers) {
    const role = peer === baseline ? " = 1" : "";
    parts.push(rect(x, 73, 12, 12, colorOf(peer, peers, baseline)));
    parts.push(text(x + 18, 83, `${peer.label}${role}`, { size: 12 }));
    x += 18 + (peer.label.length + role.length) * 7 + 24;
  }
  const note = "bar: median · line: 95th percentile";
  parts.push(text(WIDTH - MARGIN, 83, note, { size: 10.5, color: FAINT, anchor: "end" }));
  return parts;
}

function drawRow(
  { peers, baseline }: Drawing,
  figure: Figure,
  top: number,
): { readonly parts: readonly string[]; readonly height: number } {
  const bars = peers.flatMap((peer) => {
    const summary = summarize(figure, peer.name);
    return summary === undefined ? [] : [{ peer, summary }];
  });
  const longest = Math.max(...bars.map(({ summary }) => summary.median), Number.MIN_VALUE);
  const room = WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH;
  const left = MARGIN + LABEL_WIDTH;
  const height = bars.length * (BAR_HEIGHT + BAR_GAP) - BAR_GAP;
  const direction = isMoreBetter(figure) ? "more is better" : "less is better";
  const parts = [
    text(left - 14, top + 11, figure.name, { size: 12.5, anchor: "end" }),
    text(left - 14, top + 25, direction, { size: 9.5, color: FAINT, anchor: "end" }),
  ];
  bars.forEach(({ peer, summary }, index) => {
    const y = top + index * (BAR_HEIGHT + BAR_GAP);
    const scale = (value: number) => Math.max(0, (value / longest) * room);
    const color = colorOf(peer, peers, baseline);
    parts.push(rect(left, y, Math.max(scale(summary.median), 1), BAR_HEIGHT, color));
    // Next to the values there is no room for a busy machine's outliers.
    const end = Math.min(scale(summary.p95), room * 1.06);
    parts.push(...whisker(left + scale(summary.median), left + end, y + BAR_HEIGHT / 2));
    const valueAt = left + Math.max(scale(summary.median), end) + 8;
    const label = labelOfBar(figure, peer, baseline, summary);
    parts.push(text(valueAt, y + 10.5, label, { size: 11, weight: peer === peers[0] ? 600 : 400 }));
  });
  return { parts, height: Math.max(height, 28) };
}

function labelOfBar(figure: Figure, peer: Peer, baseline: Peer, { median }: Summary): string {
  const value = formatValue(median, figure.unit);
  const ratio = ratioOf(figure, peer.name, baseline.name);
  return peer === baseline || ratio === undefined ? value : `${value}  ×${ratio.toFixed(2)}`;
}

function colorOf(peer: Peer, peers: readonly Peer[], baseline: Peer): string {
  if (peer === baseline) return BASELINE_COLOR;
  if (peer.kind === "runtime") return RUNTIME_COLOR;
  const colored = peers.filter((one) => one !== baseline && one.kind === "shim");
  return COLORS[colored.indexOf(peer) % COLORS.length] ?? INK;
}

function whisker(from: number, to: number, y: number): readonly string[] {
  if (Math.abs(to - from) < 1) return [];
  const line = (x1: number, y1: number, x2: number, y2: number) =>
    `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke="${FAINT}"/>`;
  return [line(from, y, to, y), line(to, y - 3, to, y + 3)];
}

function rect(x: number, y: number, width: number, height: number, color: string): string {
  return `<rect x="${round(x)}" y="${round(y)}" width="${round(width)}" height="${height}" rx="2" fill="${color}"/>`;
}

interface TextStyle {
  readonly size: number;
  readonly weight?: number;
  readonly color?: string;
  readonly anchor?: "start" | "end";
}

function text(x: number, y: number, content: string, style: TextStyle): string {
  const { size, weight = 400, color = INK, anchor = "start" } = style;
  const escaped = content.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
  return `<text x="${round(x)}" y="${round(y)}" font-size="${size}" font-weight="${weight}" fill="${color}" text-anchor="${anchor}">${escaped}</text>`;
}

function round(value: number): string {
  return String(Math.round(value * 10) / 10);
}
