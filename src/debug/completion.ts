/** Completion of the command's words in a shell, written from the words themselves. Pure. */

import { debugCommandName } from "../version.ts";
import type { Flag, VerbWords } from "./program-words.ts";

const COMMAND = debugCommandName;
/** The command by which a shell gets the containers of this host. */
const CONTAINERS = `${COMMAND} ps --quiet 2>/dev/null`;
/** Values that are paths. */
const PATH_VALUE = /<(dir|file)>/;

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** The script for the shell to source. */
export function completionScript(shell: Shell, verbs: readonly VerbWords[]): string {
  switch (shell) {
    case "bash":
      return bashScript(verbs);
    case "zsh":
      return zshScript(verbs);
    case "fish":
      return fishScript(verbs);
  }
}

function bashScript(verbs: readonly VerbWords[]): string {
  const cases = verbs.map(({ name, flags, takesContainer }) => {
    const words = flags.flatMap(({ long, short }) =>
      short === undefined ? [long] : [long, short],
    );
    return `    ${name}) flags="${words.join(" ")}"; container=${takesContainer ? 1 : 0} ;;`;
  });
  const choices = allFlags(verbs)
    .filter((flag) => flag.choices.length > 0)
    .map(
      ({ long, choices: words }) =>
        `    ${long}) COMPREPLY=($(compgen -W "${words.join(" ")}" -- "$cur")); return ;;`,
    );
  const paths = namesOf(allFlags(verbs).filter(({ value }) => PATH_VALUE.test(value ?? "")));
  const names = verbs.map(({ name }) => name).join(" ");
  return `# bash completion for ${COMMAND}

_${COMMAND}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]} verb=\${COMP_WORDS[1]}
  local flags container=0
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "${names}" -- "$cur"))
    return
  fi
  case $prev in
${choices.join("\n")}
    ${paths.join("|")}) COMPREPLY=($(compgen -f -- "$cur")); return ;;
  esac
  case $verb in
${cases.join("\n")}
    *) return ;;
  esac
  if [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
  elif ((container)); then
    COMPREPLY=($(compgen -W "$(${CONTAINERS})" -- "$cur"))
  elif [[ $verb == help ]]; then
    COMPREPLY=($(compgen -W "${names} exit-codes names" -- "$cur"))
  fi
}
complete -o default -F _${COMMAND} ${COMMAND}
`;
}

function zshScript(verbs: readonly VerbWords[]): string {
  const summaries = verbs.map(({ name, summary }) => `    ${zshQuoted(`${name}:${summary}`)}`);
  const cases = verbs.map(({ name, flags, takesContainer }) => {
    const specs = flags.map(zshFlag);
    const rest = takesContainer
      ? ["'1:container:_shim_containers'", "'*: :_default'"]
      : ["'*: :_default'"];
    return `    ${name})\n      _arguments ${[...specs, ...rest].join(" \\\n        ")} ;;`;
  });
  return `#compdef ${COMMAND}

_shim_containers() {
  local -a containers
  containers=(\${(f)"$(${CONTAINERS})"})
  compadd -a containers
}

_${COMMAND}() {
  local -a verbs
  verbs=(
${summaries.join("\n")}
  )
  if ((CURRENT == 2)); then
    _describe verb verbs
    return
  fi
  shift words
  ((CURRENT--))
  case $words[1] in
${cases.join("\n")}
  esac
}

# Read by the completion system as a function, or by a person with eval.
if [[ $funcstack[1] == _${COMMAND} ]]; then _${COMMAND} "$@"; else compdef _${COMMAND} ${COMMAND}; fi
`;
}

function zshFlag({ long, short, value, choices, description }: Flag): string {
  const told = `[${description.replace(/[[\]:\\]/g, (character) => `\\${character}`)}]`;
  const taken = value === undefined ? "" : `:${value.slice(1, -1).replaceAll(":", "\\:")}:`;
  const action = zshAction(value, choices);
  if (short === undefined) return zshQuoted(long + told + taken + action);
  return `${zshQuoted(`(${short} ${long})`)}{${short},${long}}${zshQuoted(told + taken + action)}`;
}

function zshAction(value: string | undefined, choices: readonly string[]): string {
  if (choices.length > 0) return `(${choices.join(" ")})`;
  return PATH_VALUE.test(value ?? "") ? "_files" : "";
}

function zshQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function fishScript(verbs: readonly VerbWords[]): string {
  const lines = verbs.flatMap(({ name, summary, flags, takesContainer }) => {
    const here = `complete -c ${COMMAND} -n '__fish_seen_subcommand_from ${name}'`;
    return [
      `complete -c ${COMMAND} -n __fish_use_subcommand -f -a ${name} -d ${fishQuoted(summary)}`,
      ...(takesContainer ? [`${here} -f -a '(${CONTAINERS})'`] : []),
      ...flags.map((flag) => `${here} ${fishFlag(flag)}`),
    ];
  });
  return `# fish completion for ${COMMAND}\n\n${lines.join("\n")}\n`;
}

function fishFlag({ long, short, value, choices, description }: Flag): string {
  const words = [`-l ${long.slice(2)}`];
  if (short !== undefined) words.push(`-s ${short.slice(1)}`);
  if (choices.length > 0) words.push(`-x -a ${fishQuoted(choices.join(" "))}`);
  else if (PATH_VALUE.test(value ?? "")) words.push("-r -F");
  else if (value !== undefined) words.push("-x");
  words.push(`-d ${fishQuoted(description)}`);
  return words.join(" ");
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

function allFlags(verbs: readonly VerbWords[]): readonly Flag[] {
  return verbs.flatMap(({ flags }) => flags);
}

function namesOf(flags: readonly Flag[]): readonly string[] {
  return [
    ...new Set(flags.flatMap(({ long, short }) => (short === undefined ? [long] : [long, short]))),
  ];
}
