/** A trace as lines for people, one for each thing that begins, ends or happens. */

import type { Style } from "../output/style.ts";
import type { Moment, Span, Step } from "./story.ts";

const MICROSECONDS_PER_MILLISECOND = 1000;

/** One line with its newline. */
export function formatStep(step: Step, style: Style): string {
  switch (step.kind) {
    case "watching":
      return style.faint(`watching shim ${step.shimPid}, namespace ${step.namespace}\n`);
    case "lost":
      return style.warning(
        `${step.count} records were lost here: they came faster than they were read\n`,
      );
    case "began":
      return formatBegan(step.span, style);
    case "ended":
      return formatEnded(step.span, style);
    case "moment":
      return formatMoment(step.moment, style);
  }
}

function formatBegan({ kind, name, startUs, details }: Span, style: Style): string {
  const time = style.faint(formatTime(startUs));
  if (kind === "runtime") return `${time}  + ${name} (pid ${details["pid"]})\n`;
  const from = style.faint(` from ${details["peerPid"]}`);
  return `${time}  > ${style.heading(name)}${formatValue(details["request"])}${from}\n`;
}

function formatEnded(span: Span, style: Style): string {
  const { kind, name, startUs, endUs = startUs, outcome, isFailure, details } = span;
  const time = style.faint(formatTime(endUs));
  const took = formatTook(endUs - startUs);
  const painted = isFailure ? style.bad(outcome) : style.good(outcome);
  if (kind === "runtime") return `${time}  - ${name} (pid ${details["pid"]}) ${took} ${painted}\n`;
  const answer = isFailure ? ` ${painted}` : formatValue(details["response"]);
  return `${time}  < ${style.heading(name)} ${took}${answer}\n`;
}

function formatMoment({ name, atUs, details }: Moment, style: Style): string {
  const time = style.faint(formatTime(atUs));
  return `${time}  * ${style.good(name)}${formatValue(details["event"])}\n`;
}

/** Empty messages are not worth their braces. */
function formatValue(value: unknown): string {
  const text = JSON.stringify(value) ?? "";
  return text === "" || text === "{}" ? "" : ` ${text}`;
}

/** Local time of day with microseconds. */
function formatTime(atUs: number): string {
  const date = new Date(Math.floor(atUs / MICROSECONDS_PER_MILLISECOND));
  const two = (value: number) => String(value).padStart(2, "0");
  const fraction = String(Math.floor(atUs % 1e6)).padStart(6, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${fraction}`;
}

/** "0.3 ms", "1.25 s". */
export function formatTook(us: number): string {
  if (us < 1e6) return `${(us / MICROSECONDS_PER_MILLISECOND).toFixed(us < 1e4 ? 2 : 0)} ms`;
  return `${(us / 1e6).toFixed(2)} s`;
}
