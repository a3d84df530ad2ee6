/** `shim completion`: a script that makes a shell complete the command's words. */

import { Argument, type CommandUnknownOpts } from "@commander-js/extra-typings";
import { completionScript, SHELLS } from "../completion.ts";
import { describeProgram } from "../program-words.ts";
import { type Context, newVerb } from "../verb.ts";

const TEXT = {
  summary: "print a shell completion script",
  description:
    "Prints a script that makes a shell complete verbs, flags and the names of this host's containers.",
  examples: [
    {
      line: "shim completion bash > /usr/share/bash-completion/completions/shim",
      what: "for everybody, from the next shell on",
    },
    { line: 'eval "$(shim completion zsh)"', what: "in ~/.zshrc, after compinit" },
    { line: "shim completion fish > ~/.config/fish/completions/shim.fish", what: "for fish" },
  ],
};

export function completion({ output }: Context): CommandUnknownOpts {
  return newVerb("completion", TEXT)
    .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
    .action((shell, _flags, command) => {
      const program = command.parent;
      if (program !== null) output.print(completionScript(shell, describeProgram(program)));
    });
}
