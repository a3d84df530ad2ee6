/** `shim man`: the man page. */

import type { CommandUnknownOpts } from "@commander-js/extra-typings";
import { manualPage } from "../manual.ts";
import { describeProgram } from "../program-words.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "print the man page",
  description: "Prints the man page, which contains the help of all verbs and topics.",
  examples: [
    { line: "shim man | man -l -", what: "read it" },
    { line: "shim man > /usr/local/share/man/man1/shim.1", what: "install it" },
  ],
};

export function man({ output }: Context): CommandUnknownOpts {
  return newVerb("man", TEXT).action((_flags, command) => {
    const program = command.parent;
    if (program !== null) output.print(manualPage(describeProgram(program)));
  });
}
