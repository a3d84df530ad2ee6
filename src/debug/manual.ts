/** The man page (man(7)), written from the words of the command. Pure. */

import { debugCommandName, version } from "../version.ts";
import { TOPICS } from "./help-topics.ts";
import type { Flag, VerbWords } from "./program-words.ts";

/** roff of the page. */
export function manualPage(verbs: readonly VerbWords[]): string {
  const name = debugCommandName;
  return [
    `.TH ${name.toUpperCase()} 1 "" "wedge ${version}" "wedge"`,
    ".SH NAME",
    `${name} \\- look into containerd shims, and run bundles without a manager`,
    ".SH SYNOPSIS",
    `.B ${name}\n.I VERB\n[\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...`,
    ".br",
    `.B ${name} \\-\\-id\n.I ID\n.B \\-\\-bundle\n.I DIR\n[\\fIOPTION\\fR]...`,
    ".SH DESCRIPTION",
    roffText(
      "Inspects containerd shims, wedge's and others, and runs bundles without a manager. Shims are found by their processes, sockets and bundles; no manager is asked.",
    ),
    ".PP",
    roffText(
      "Without a verb, run is assumed. Output is coloured only on a terminal, and never when NO_COLOR is set.",
    ),
    ".SH VERBS",
    ...verbs.flatMap(verbSection),
    ...[...TOPICS.values()].flatMap(topicSection),
    ".SH SEE ALSO",
    "\\fBctr\\fR(8), \\fBrunc\\fR(8), \\fBcontainerd\\fR(8)",
    "",
  ].join("\n");
}

function verbSection(verb: VerbWords): readonly string[] {
  const paragraphs = verb.description.split("\n\n");
  return [
    `.SS ${roffText(`${debugCommandName} ${verb.name} ${verb.usage}`)}`,
    ...paragraphs.flatMap((text, index) => [...(index > 0 ? [".PP"] : []), roffText(text)]),
    ...verb.flags.flatMap(flagEntry),
    ...verb.examples.flatMap(({ line, what }) => [
      ".PP",
      `${roffText(capitalized(what))}:`,
      ".PP",
      ".RS",
      ".nf",
      roffText(line),
      ".fi",
      ".RE",
    ]),
  ];
}

function flagEntry({ long, short, value, description, choices }: Flag): readonly string[] {
  const names = [short, long]
    .filter((name) => name !== undefined)
    .map((name) => `\\fB${roffText(name)}\\fR`);
  const taken = value === undefined ? "" : ` \\fI${roffText(value.slice(1, -1))}\\fR`;
  const told = choices.length > 0 ? `${description}: ${choices.join(", ")}` : description;
  return [".TP", names.join(", ") + taken, roffText(told)];
}

/** A topic as it is shown, with its first line as the heading. */
function topicSection(text: string): readonly string[] {
  const [heading = "", ...lines] = text.trimEnd().split("\n");
  return [`.SH ${roffText(heading.toUpperCase())}`, ".nf", ...lines.slice(1).map(roffText), ".fi"];
}

function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Text that roff shows literally: no escapes, no requests, hyphens that can be copied. */
function roffText(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(/^([.'])/gm, "\\&$1");
}
