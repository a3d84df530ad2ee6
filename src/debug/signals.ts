/** Signals on the command line. */

import { constants } from "node:os";
import { InvalidArgumentError } from "@commander-js/extra-typings";

const NUMBERS: ReadonlyMap<string, number> = new Map(Object.entries(constants.signals));
const SIGNAL_MAX = 64;
const SIGRTMIN = 34;

/** "TERM", "SIGTERM", "term", "15", "RTMIN+3". Its number. */
export function parseSignal(text: string): number {
  const name = text.toUpperCase().replace(/^SIG/, "");
  const offset = /^RTMIN(?:\+(\d+))?$/.exec(name);
  const number =
    offset === null
      ? (NUMBERS.get(`SIG${name}`) ?? Number(name))
      : SIGRTMIN + Number(offset[1] ?? 0);
  if (Number.isInteger(number) && number > 0 && number <= SIGNAL_MAX) return number;
  throw new InvalidArgumentError("Give a signal by its name or its number, as kill -l lists them.");
}
