/** Tables for people: columns aligned by visible width, truncated to the terminal, whole on a pipe. */

import type { Style } from "./style.ts";

const GAP = "  ";
const ELLIPSIS = "…";
/** A column is not truncated below this. */
const CUT_WIDTH_MIN = 8;

/** One column of a table of `Row`s. */
export interface Column<Row> {
  readonly title: string;
  readonly text: (row: Row) => string;
  readonly align?: "left" | "right";
  /** May be truncated if the terminal is too narrow. */
  readonly isCuttable?: boolean;
  /** How a cell looks; does not count as width. */
  readonly paint?: (row: Row, style: Style) => (text: string) => string;
}

export interface TableOptions {
  readonly style: Style;
  /** The terminal's; undefined for a pipe, where nothing is truncated. */
  readonly width: number | undefined;
}

/** The table with its line of titles, ended by a newline. */
export function formatTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  options: TableOptions,
): string {
  const cells = rows.map((row) => columns.map(({ text }) => text(row)));
  const widths = fitWidths(
    columns,
    columns.map(({ title }, index) =>
      Math.max(widthOf(title), ...cells.map((texts) => widthOf(texts[index] ?? ""))),
    ),
    options.width,
  );
  const { style } = options;
  const line = (texts: readonly string[], paintOf: (index: number) => (text: string) => string) =>
    columns
      .map(({ align }, index) => {
        const isLast = index === columns.length - 1 && align !== "right";
        const width = widths[index] ?? 0;
        const cut = cutTo(texts[index] ?? "", width);
        const space = " ".repeat(width - widthOf(cut));
        const painted = paintOf(index)(cut);
        if (isLast) return painted;
        return align === "right" ? space + painted : painted + space;
      })
      .join(GAP)
      .trimEnd();
  const titles = line(
    columns.map(({ title }) => title),
    () => style.heading,
  );
  const lines = rows.map((row, at) =>
    line(cells[at] ?? [], (index) => columns[index]?.paint?.(row, style) ?? ((text) => text)),
  );
  return `${[titles, ...lines].join("\n")}\n`;
}

/** Takes the excess from the columns that may be truncated, the widest first. */
function fitWidths<Row>(
  columns: readonly Column<Row>[],
  widths: readonly number[],
  available: number | undefined,
): readonly number[] {
  if (available === undefined) return widths;
  const fitted = [...widths];
  const total = () =>
    fitted.reduce((sum, width) => sum + width, 0) + GAP.length * (columns.length - 1);
  for (let excess = total() - available; excess > 0; excess = total() - available) {
    const candidates = columns.flatMap(({ isCuttable }, index) =>
      isCuttable && (fitted[index] ?? 0) > CUT_WIDTH_MIN ? [index] : [],
    );
    const [widest] = candidates.sort((a, b) => (fitted[b] ?? 0) - (fitted[a] ?? 0));
    if (widest === undefined) break;
    fitted[widest] = (fitted[widest] ?? 0) - 1;
  }
  return fitted;
}

function cutTo(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let cut = text;
  while (widthOf(cut) > width - 1) cut = [...cut].slice(0, -1).join("");
  return cut + ELLIPSIS;
}

/** The number of terminal columns that it occupies. */
function widthOf(text: string): number {
  return Bun.stringWidth(text);
}
