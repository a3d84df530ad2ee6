/** Colours, for people at a terminal; none on a pipe, with NO_COLOR, or on a terminal that has none. */

import type { Variables } from "../../base/variables.ts";

type Paint = (text: string) => string;

/** The meaning of a text; how that looks is decided only here. */
export interface Style {
  readonly heading: Paint;
  readonly faint: Paint;
  readonly good: Paint;
  readonly warning: Paint;
  readonly bad: Paint;
}

const RESET = "\x1b[0m";

/** Text as it is. */
export const plainStyle: Style = {
  heading: (text) => text,
  faint: (text) => text,
  good: (text) => text,
  warning: (text) => text,
  bad: (text) => text,
};

const colours: Style = {
  heading: paint("1"),
  faint: paint("2"),
  good: paint("32"),
  warning: paint("33"),
  bad: paint("31"),
};

/** The style for a stream. NO_COLOR counts when it is set to anything but "" (no-color.org). */
export function styleFor(isTerminal: boolean, variables: Variables): Style {
  const isPlain = !isTerminal || Boolean(variables["NO_COLOR"]) || variables["TERM"] === "dumb";
  return isPlain ? plainStyle : colours;
}

function paint(code: string): Paint {
  return (text) => (text === "" ? text : `\x1b[${code}m${text}${RESET}`);
}
